//! What one idle connection takes, from the sizes of this kernel's objects.

use c10k_kernel::counters::ProcRoot;
use c10k_kernel::memory::{Slab, SlabNames, SlabReader};

/// A slot of the server's table, bytes, and of the swarm's.
pub(crate) const USER_BYTES: (f64, f64) = (16.0, 40.0);
/// A descriptor's place in its table: a pointer and its bits.
const DESCRIPTOR_BYTES: f64 = 8.25;
/// Objects of the kernel that each end of a connection has one of.
const EACH_END: [&str; 9] = [
    "TCP",
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
pub(crate) fn object_bytes() -> Option<(u64, u64)> {
    let root = ProcRoot::default();
    let slabs = SlabReader::open(&root).read().ok()?;
    let names = SlabNames::read(&root).unwrap_or_default();
    let size = |name: &str| names.find(&slabs, name).map(Slab::bytes_per_object);
    size("TCP")?;
    let end: f64 = EACH_END.iter().filter_map(|name| size(name)).sum::<f64>() + DESCRIPTOR_BYTES;
    let client = size(CLIENTS).unwrap_or(0.0);
    Some(((end + USER_BYTES.0) as u64, (end + client + USER_BYTES.1) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_this_kernels_objects_are_about_four_kilobytes_an_end() {
        // Root only: others fall back on the sizes of the walls.
        let Some((server, client)) = object_bytes() else { return };
        assert!((3_000..6_000).contains(&server) && client >= server, "{server} {client}");
    }
}
