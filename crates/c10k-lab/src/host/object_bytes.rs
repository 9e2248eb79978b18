//! What one idle connection takes, from the sizes of this kernel's objects.

use c10k_kernel::counters::ProcRoot;
use c10k_kernel::memory::{Slab, SlabNames, SlabReader};

/// A slot of the server's table, bytes, and of the swarm's.
pub(crate) const USER_BYTES: (f64, f64) = (16.0, 40.0);
/// A descriptor's place in its table: a pointer and its bits.
const DESCRIPTOR_BYTES: f64 = 8.25;
/// Objects of the kernel that each end of a connection has one of beside its socket.
const EACH_END: [&str; 8] = [
    "sock_inode_cache",
    "filp",
    "dentry",
    "eventpoll_epi",
    "eventpoll_pwq",
    "ep_head",
    "lsm_inode_cache",
    "lsm_file_cache",
];
/// And one that the client's end has beside them: its address and port.
const CLIENTS: &str = "tcp_bind2_bucket";

/// Kernel and user memory of one idle connection at the server's end and at the client's, bytes, from the sizes of
/// this kernel's objects; `None` where they may not be read.
pub(crate) fn object_bytes(ipv6: bool) -> Option<(u64, u64)> {
    object_bytes_at(&ProcRoot::default(), ipv6)
}

fn object_bytes_at(root: &ProcRoot, ipv6: bool) -> Option<(u64, u64)> {
    let slabs = SlabReader::open(root).read().ok()?;
    let names = SlabNames::read(root).unwrap_or_default();
    let size = |name: &str| names.find(&slabs, name).map(Slab::bytes_per_object);
    // Each family has sockets of its own size (net/ipv4/tcp_ipv4.c and net/ipv6/tcp_ipv6.c, `struct proto`).
    let socket = size(if ipv6 { "TCPv6" } else { "TCP" })?;
    let end = socket + EACH_END.iter().filter_map(|name| size(name)).sum::<f64>() + DESCRIPTOR_BYTES;
    let client = size(CLIENTS).unwrap_or(0.0);
    Some(((end + USER_BYTES.0) as u64, (end + client + USER_BYTES.1) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_this_kernels_objects_are_about_four_kilobytes_an_end() {
        // Root only: others fall back on the sizes of the walls.
        let Some((server, client)) = object_bytes(false) else { return };
        assert!((3_000..6_000).contains(&server) && client >= server, "{server} {client}");
    }

    #[test]
    fn a_socket_of_either_family_has_the_size_of_its_own_cache() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("proc")).expect("made");
        // So many objects in each slab of eight pages.
        let slab =
            |name: &str, each: u64| format!("{name} 0 100 2368 {each} 8 : tunables 0 0 0 : slabdata 9 9 0\n");
        let write = |slabs: &str| {
            let text = format!("slabinfo - version: 2.1\n# name\n{slabs}");
            std::fs::write(folder.path().join("proc/slabinfo"), text).expect("written");
        };
        write(&format!("{}{}", slab("TCP", 13), slab("TCPv6", 12)));
        let root = ProcRoot::recorded(folder.path());
        let [ipv4, ipv6] = [false, true].map(|ipv6| object_bytes_at(&root, ipv6).expect("both are there").0);
        assert_eq!(ipv6 - ipv4, 32_768 / 12 - 32_768 / 13);
        // A kernel without IPv6 has no such sockets.
        write(&slab("TCP", 13));
        assert_eq!(object_bytes_at(&root, true), None);
    }
}
