use std::fs;
use std::os::unix::fs::symlink;

use c10k_kernel::counters::ProcRoot;
use c10k_kernel::memory::{SlabNames, SlabReader};

use super::*;

const HELD: u64 = 4000;

/// slabinfo as it was read on Linux 6.18 around 4,000 pairs of one process, each end with one epoll registration; the
/// numbers of slabs are what the account goes by. While they were opened another process read 2,000 files.
const SLABS_BEFORE: &[(&str, u64, u64, u64, u64)] = &[
    ("TCP", 2368, 13, 8, 9),
    ("sock_inode_cache", 832, 19, 4, 8),
    ("filp", 192, 21, 1, 30),
    ("dentry", 192, 21, 1, 2500),
    ("lsm_inode_cache", 32, 128, 1, 400),
    ("eventpoll_epi", 128, 32, 1, 16),
    ("anon_vma_chain", 64, 64, 1, 12),
    ("ext4_inode_cache", 1184, 27, 8, 600),
    ("kmalloc-64", 64, 64, 1, 100),
];
const SLABS_AFTER: &[(&str, u64, u64, u64, u64)] = &[
    ("TCP", 2368, 13, 8, 9 + 616),
    ("sock_inode_cache", 832, 19, 4, 8 + 422),
    ("filp", 192, 21, 1, 30 + 381),
    ("dentry", 192, 21, 1, 2500 + 477),
    ("lsm_inode_cache", 32, 128, 1, 400 + 63),
    ("eventpoll_epi", 128, 32, 1, 16 + 500),
    ("anon_vma_chain", 64, 64, 1, 12 + 125),
    ("ext4_inode_cache", 1184, 27, 8, 600 + 75),
    ("kmalloc-64", 64, 64, 1, 100 + 10),
];
/// Σ slabs × pages of the differences above: 4096 B × (616·8 + 422·4 + 381 + 477 + 63 + 500 + 125 + 75·8 + 10).
const SLAB_GROWTH: u64 = 4096 * (616 * 8 + 422 * 4 + 381 + 477 + 63 + 500 + 125 + 75 * 8 + 10);
const ANON_GROWTH: u64 = 3 << 20;

/// A host with these slabs, read through the kernel room's own readers.
fn host(slabs: &[(&str, u64, u64, u64, u64)]) -> MemorySnapshot {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "slabinfo - version: 2.1\n# name\n".to_owned();
    for (name, size, per_slab, pages, count) in slabs {
        let objects = per_slab * count;
        text += &format!(
            "{name} {objects} {objects} {size} {per_slab} {pages} : tunables 0 0 0 : slabdata {count} {count} 0\n"
        );
    }
    fs::create_dir_all(folder.path().join("proc")).unwrap();
    fs::write(folder.path().join("proc/slabinfo"), text).unwrap();
    let links = folder.path().join("sys/kernel/slab");
    fs::create_dir_all(&links).unwrap();
    for (name, cache) in [
        ("eventpoll_epi", ":A-0000128"),
        ("tcp_bind_bucket", ":A-0000128"),
        ("tcp_bind2_bucket", ":A-0000128"),
        ("eventpoll_pwq", ":A-0000064"),
        ("anon_vma_chain", ":A-0000064"),
    ] {
        symlink(cache, links.join(name)).unwrap();
    }
    let root = ProcRoot::recorded(folder.path());
    MemorySnapshot {
        slabs: Some(SlabReader::open(&root).read().unwrap()),
        slab_names: SlabNames::read(&root).unwrap(),
        percpu_free_bytes: Some(5 << 20),
        socket_buffer_bytes: Some(76 * 4096),
        socket_buffer_slack_bytes: 2 << 20,
        meminfo: Some(MemInfo {
            free_bytes: Some(20 << 30),
            cached_bytes: Some(1 << 30),
            buffers_bytes: Some(0),
            shmem_bytes: Some(0),
            slab_bytes: Some(90 << 20),
            anon_bytes: Some(50 << 20),
            page_tables_bytes: Some(2 << 20),
            vmalloc_bytes: Some(14 << 20),
            kernel_stack_bytes: Some(1 << 20),
            percpu_bytes: Some(640 << 10),
            ..MemInfo::default()
        }),
        server: Some(process(10 << 20, 8 << 20).into()),
        swarm: Some(process(12 << 20, 9 << 20)),
    }
}

fn process(rss: u64, anon: u64) -> ProcessSnapshot {
    ProcessSnapshot {
        rss_bytes: Some(rss),
        anon_bytes: Some(anon),
        page_table_bytes: Some(80 << 10),
        descriptor_slots: vec![64],
        ..ProcessSnapshot::default()
    }
}

/// The same host with the pairs, 200 KiB of the server's and 2 MiB of the swarm's memory more, and 100 MiB more page cache.
fn before_and_after() -> (MemorySnapshot, MemorySnapshot) {
    let (before, mut after) = (host(SLABS_BEFORE), host(SLABS_AFTER));
    let memory = after.meminfo.as_mut().unwrap();
    memory.slab_bytes = Some((90 << 20) + SLAB_GROWTH);
    memory.anon_bytes = Some((50 << 20) + ANON_GROWTH);
    memory.cached_bytes = Some((1 << 30) + (100 << 20));
    memory.free_bytes = Some((20 << 30) - (100 << 20) - SLAB_GROWTH - ANON_GROWTH - (1 << 20));
    after.percpu_free_bytes = Some(6 << 20);
    after.server = Some(process((10 << 20) + (200 << 10), (8 << 20) + (200 << 10)).into());
    after.swarm = Some(process((12 << 20) + (2 << 20), (9 << 20) + (2 << 20)));
    (before, after)
}

#[track_caller]
fn near(value: Option<f64>, wanted: f64) {
    let value = value.expect("a known number");
    assert!((value - wanted).abs() <= wanted.abs() * 0.02 + 0.01, "{value} is not near {wanted}");
}

#[test]
fn the_parts_of_a_connection_are_those_of_its_objects() {
    let (before, after) = before_and_after();
    let account = account(&before, &after, HELD, true);
    let part = |name: &str| account.parts[name];
    near(part("socket").server_bytes, 2523.0);
    near(part("inode").client_bytes, 864.0);
    near(part("file").server_bytes, 195.0);
    near(part("epoll").server_bytes, 192.0);
    assert_eq!(part("bind_bucket").server_bytes, Some(0.0));
    near(part("bind_bucket").client_bytes, 256.0);
    near(part("heap").server_bytes, (200 << 10) as f64 / HELD as f64);
    assert!(account.parts.values().filter(|part| part.server_bytes.is_some()).count() >= 9);
    assert!(!account.estimated);
}

#[test]
fn what_is_open_at_the_client_alone_costs_nothing_at_the_server() {
    let (before, after) = before_and_after();
    let both = account(&before, &after, HELD, true);
    let alone = account_of_ends(&before, &after, EndsHere { server: 0, client: 2 * HELD });
    assert_eq!((alone.server_kernel_bytes, alone.server_user_bytes), (None, None));
    assert!(alone.parts.values().all(|part| part.server_bytes.is_none()), "{:?}", alone.parts);
    near(alone.parts["socket"].client_bytes, both.parts["socket"].client_bytes.unwrap());
    // Three in four are at the server too: each socket costs what it costs.
    let some = account_of_ends(&before, &after, EndsHere { server: 3 * HELD / 2, client: HELD / 2 });
    near(some.parts["socket"].server_bytes, both.parts["socket"].server_bytes.unwrap());
}

#[test]
fn names_and_inodes_of_files_are_not_put_on_the_connections_account() {
    let (before, after) = before_and_after();
    let account = account(&before, &after, HELD, true);
    near(account.parts["dentry"].server_bytes, 195.0);
    near(account.parts["other"].server_bytes, 10.0 * 4096.0 / 8000.0);
    let kernel = account.server_kernel_bytes.unwrap() + account.client_kernel_bytes.unwrap();
    assert!(kernel * HELD as f64 + 75.0 * 8.0 * 4096.0 < SLAB_GROWTH as f64, "{kernel} a pair");
}

#[test]
fn the_ends_differ_by_what_only_the_client_has_and_add_up_to_the_whole() {
    let (before, after) = before_and_after();
    let account = account(&before, &after, HELD, true);
    let (server, client) = (account.server_kernel_bytes.unwrap(), account.client_kernel_bytes.unwrap());
    near(Some(client - server), 256.0);
    near(Some(server), 3990.0);
    let parts = account.parts.iter().filter(|(name, _)| *name != "heap");
    let sum: f64 =
        parts.map(|(_, part)| part.server_bytes.unwrap_or(0.0) + part.client_bytes.unwrap_or(0.0)).sum();
    near(Some(sum), server + client);
}

#[test]
fn the_fall_of_free_memory_leaves_out_the_page_cache_and_is_explained() {
    let (before, after) = before_and_after();
    let account = account(&before, &after, HELD, true);
    near(account.free_memory_bytes, (SLAB_GROWTH + ANON_GROWTH) as f64 / HELD as f64);
    assert!(account.unexplained_ratio.unwrap() < 1e-9, "{:?}", account.unexplained_ratio);
}

#[test]
fn memory_that_nobody_accounts_for_is_unexplained() {
    let (before, mut after) = before_and_after();
    let fall = SLAB_GROWTH + ANON_GROWTH;
    let memory = after.meminfo.as_mut().unwrap();
    memory.free_bytes = memory.free_bytes.map(|free| free - fall);
    near(account(&before, &after, HELD, true).unexplained_ratio, 0.5);
}

#[test]
fn without_slabinfo_the_parts_are_estimated_and_the_totals_still_measured() {
    let (mut before, mut after) = before_and_after();
    before.slabs = None;
    after.slabs = None;
    let account = account(&before, &after, HELD, true);
    assert!(account.estimated && account.parts["socket"].estimated && !account.parts["heap"].estimated);
    near(account.parts["socket"].server_bytes, 2520.0);
    let kernel = account.server_kernel_bytes.unwrap() + account.client_kernel_bytes.unwrap();
    near(Some(kernel), SLAB_GROWTH as f64 / HELD as f64);
    assert!(account.unexplained_ratio.unwrap() < 1e-9);
}

#[test]
fn with_one_end_here_everything_is_that_ends() {
    let (mut before, mut after) = before_and_after();
    before.swarm = None;
    after.swarm = None;
    let server = account(&before, &after, 2 * HELD, false);
    assert_eq!((server.client_kernel_bytes, server.client_user_bytes), (None, None));
    near(server.server_kernel_bytes, 4118.0);
    assert_eq!(server.parts["socket"].client_bytes, None);

    (before.server, after.server) = (None, None);
    (before.swarm, after.swarm) = (Some(process(1 << 20, 1 << 20)), Some(process(2 << 20, 2 << 20)));
    let client = account(&before, &after, 2 * HELD, false);
    assert_eq!(client.server_kernel_bytes, None);
    near(client.client_kernel_bytes, 4118.0);
}

#[test]
fn what_is_not_known_stays_unknown_and_nothing_is_below_zero() {
    let (before, after) = before_and_after();
    assert_eq!(account(&before, &after, 0, true), MemoryPerConnection::default());

    let nothing = account(&MemorySnapshot::default(), &MemorySnapshot::default(), 10, true);
    assert_eq!(
        (nothing.server_kernel_bytes, nothing.server_user_bytes, nothing.free_memory_bytes),
        (None, None, None)
    );
    assert_eq!(nothing.parts["buffers"].server_bytes, None);

    // Everything given back since: backwards in time.
    let back = account(&after, &before, HELD, true);
    assert_eq!((back.free_memory_bytes, back.unexplained_ratio), (None, None));
    assert_eq!(back.server_user_bytes, Some(0.0));
    for (name, part) in &back.parts {
        assert!(part.server_bytes.unwrap_or(0.0) >= 0.0 && part.client_bytes.unwrap_or(0.0) >= 0.0, "{name}");
    }
}

#[test]
fn queued_bytes_count_only_beyond_what_sockstat_may_be_off() {
    let (before, mut after) = before_and_after();
    after.socket_buffer_bytes = Some(76 * 4096 + (1 << 20));
    assert_eq!(account(&before, &after, HELD, true).parts["buffers"].server_bytes, Some(0.0));
    after.socket_buffer_bytes = Some(76 * 4096 + (34 << 20));
    near(account(&before, &after, HELD, true).parts["buffers"].server_bytes, (32 << 20) as f64 / 8000.0);
}

#[test]
fn a_descriptor_table_that_grew_is_estimated_from_its_slots() {
    let (before, mut after) = before_and_after();
    let server = ProcessSnapshot {
        descriptor_slots: vec![4096, 4096],
        ..process((10 << 20) + (200 << 10), (8 << 20) + (200 << 10))
    };
    after.server = Some(server.into());
    let table = account(&before, &after, HELD, true).parts["descriptor_table"];
    near(table.server_bytes, (4096.0 - 64.0) * BYTES_PER_SLOT / HELD as f64);
    assert!(table.estimated);
}

#[test]
fn where_others_gave_back_all_but_the_clients_own_neither_end_is_called_free() {
    let (before, mut after) = before_and_after();
    let whole = account(&before, &after, HELD, true);
    let each = whole.server_kernel_bytes.unwrap() + whole.client_kernel_bytes.unwrap();
    let bind = whole.parts["bind_bucket"].client_bytes.unwrap();
    // Half of the clients' own buckets is left, and nothing of what both ends have.
    let gone = ((each - bind / 2.0) * HELD as f64) as u64;
    let memory = after.meminfo.as_mut().unwrap();
    memory.slab_bytes = memory.slab_bytes.map(|bytes| bytes - gone);
    let account = account(&before, &after, HELD, true);
    assert_eq!((account.server_kernel_bytes, account.client_kernel_bytes), (None, None));
}
