//! Which slab caches belong to which part of a connection.

use std::collections::BTreeSet;

use c10k_kernel::memory::Slab;

use super::EndsHere;
use crate::snapshot::MemorySnapshot;

/// Parts that both ends have alike, and the caches that hold nothing else.
const PARTS: &[(&str, &[&str])] = &[("socket", &["TCP", "TCPv6"]), ("inode", &[SOCKET_INODE])];

/// The cache whose objects are exactly the sockets that have a descriptor.
const SOCKET_INODE: &str = "sock_inode_cache";

/// Parts of which every socket has one in each cache, as every other open file has too: what a cache grew by beyond
/// one for each new socket inode is not of the connections.
const SHARED_PARTS: &[(&str, &[&str])] =
    &[("file", &["filp"]), ("dentry", &["dentry"]), ("security", &["lsm_inode_cache", "lsm_file_cache"])];

/// Caches of the page cache and of file systems, by the beginning of their names.
const FILE_CACHES: &[&str] = &[
    "radix_tree_node",
    "buffer_head",
    "inode_cache",
    "proc_inode_cache",
    "shmem_inode_cache",
    "kernfs_node_cache",
    "ext4_",
    "jbd2_",
    "xfs_",
    "btrfs_",
    "f2fs_",
    "ovl_inode",
    "fuse_inode",
    "nfs_inode",
    "isofs_inode",
    "squashfs_inode",
    "fat_inode",
];

/// An epoll item; its cache is merged with others of its size, those of the bind buckets among them.
const EPOLL_ITEM: &str = "eventpoll_epi";
/// What an epoll registration takes beside its item.
const EPOLL_REST: &[&str] = &["eventpoll_pwq", "ep_head"];
/// One for each port, and one for each address and port, that an end bound.
const BIND_BUCKETS: &[&str] = &["tcp_bind_bucket", "tcp_bind2_bucket"];

/// The sizes of the objects of one socket with the slack of their slabs, bytes, as measured on Linux 6.18.
const OBJECT_BYTES: &[(&str, f64)] = &[
    ("socket", 2520.0),
    ("inode", 863.0),
    ("file", 195.0),
    ("dentry", 195.0),
    ("epoll", 192.0),
    ("security", 70.0),
];
const BIND_BUCKET_BYTES: f64 = 128.0;
/// Ports that clients can have: beyond it connections share the bucket of a port, and have one of their own for the
/// address and port only.
const PORTS: f64 = 64_512.0;

/// Bytes of the whole host by part.
#[derive(Debug, Default)]
pub(super) struct SlabParts {
    /// Parts that both ends have alike.
    pub(super) even: Vec<(&'static str, f64)>,
    /// Bind buckets: the client's.
    pub(super) bind_bytes: f64,
    /// What the connections took of slabs that were there before and stood partly empty: part of the parts above, but
    /// not of the growth of `Slab`.
    pub(super) reused_bytes: f64,
    /// What slabs grew by for files and the page cache: no connection's. Below 0 when they shrank.
    pub(super) foreign_bytes: f64,
}

impl SlabParts {
    /// What is to be added to the growth of `Slab` to have that of connections alone.
    pub(super) fn beyond_growth(&self) -> f64 {
        self.reused_bytes - self.foreign_bytes
    }

    /// All parts of connections together.
    pub(super) fn total(&self) -> f64 {
        self.even.iter().map(|(_, bytes)| bytes).sum::<f64>() + self.bind_bytes
    }
}

/// The growth of each part between two snapshots; `None` when one of them has no slabs. `sockets` is how many ends of
/// connections were added, and `clients` whether the clients' are among them.
pub(super) fn slab_parts(
    before: &MemorySnapshot,
    after: &MemorySnapshot,
    sockets: u64,
    clients: bool,
) -> Option<SlabParts> {
    let mut growth = Growth {
        before: (before, before.slabs.as_deref()?),
        after: (after, after.slabs.as_deref()?),
        counted: BTreeSet::new(),
        reused_bytes: 0.0,
    };
    let mut parts = SlabParts::default();
    for (part, caches) in PARTS {
        parts.even.push((part, caches.iter().map(|cache| growth.take(cache).bytes).sum()));
    }
    let inodes =
        growth.peek(SOCKET_INODE).map_or(sockets as f64, |inodes| inodes.objects.max(sockets as f64));
    for (part, caches) in SHARED_PARTS {
        let mut bytes = 0.0;
        for cache in *caches {
            let grown = growth.take(cache);
            let own = if grown.objects > inodes { grown.bytes * inodes / grown.objects } else { grown.bytes };
            parts.foreign_bytes += grown.bytes - own;
            bytes += own;
        }
        parts.even.push((part, bytes));
    }
    let registered =
        growth.peek(EPOLL_REST[0]).map_or(sockets as f64, |rest| rest.objects.min(sockets as f64));
    let merged = BIND_BUCKETS.iter().any(|bucket| growth.same(EPOLL_ITEM, bucket));
    let items = growth.take(EPOLL_ITEM);
    let mut epoll: f64 = EPOLL_REST.iter().map(|cache| growth.take(cache).bytes).sum();
    if merged && clients && items.objects > registered {
        // One cache holds both: as many items as there are wait-queue entries, and buckets for the rest.
        let items_share = registered / items.objects;
        epoll += items.bytes * items_share;
        parts.bind_bytes += items.bytes * (1.0 - items_share);
    } else {
        epoll += items.bytes;
    }
    parts.even.push(("epoll", epoll));
    let buckets: f64 = BIND_BUCKETS.iter().map(|cache| growth.take(cache).bytes).sum();
    if clients {
        parts.bind_bytes += buckets;
    }
    parts.foreign_bytes += growth.of_file_caches();
    parts.reused_bytes = growth.reused_bytes;
    Some(parts)
}

/// The parts as they should be, from the sizes of the kernel's objects.
pub(super) fn estimated_parts(ends: EndsHere) -> SlabParts {
    let sockets = ends.sockets() as f64;
    let clients = ends.client as f64;
    SlabParts {
        even: OBJECT_BYTES.iter().map(|(part, bytes)| (*part, bytes * sockets)).collect(),
        bind_bytes: BIND_BUCKET_BYTES * (clients + clients.min(PORTS)),
        ..SlabParts::default()
    }
}

/// What a cache grew by; nothing when it shrank.
#[derive(Clone, Copy, Default)]
struct Grown {
    /// Its new slabs, or its new objects with their share of a slab, whichever is more.
    bytes: f64,
    /// Its new slabs alone.
    slab_bytes: f64,
    objects: f64,
}

/// The growth of caches, each counted once under whatever name it is asked for.
struct Growth<'s> {
    before: (&'s MemorySnapshot, &'s [Slab]),
    after: (&'s MemorySnapshot, &'s [Slab]),
    counted: BTreeSet<&'s str>,
    reused_bytes: f64,
}

impl<'s> Growth<'s> {
    fn find((snapshot, slabs): (&'s MemorySnapshot, &'s [Slab]), name: &str) -> Option<&'s Slab> {
        snapshot.slab_names.find(slabs, name)
    }

    fn same(&self, one: &str, other: &str) -> bool {
        let shown = |name| Self::find(self.after, name).map(|slab| slab.name.as_str());
        shown(one).is_some() && shown(one) == shown(other)
    }

    fn peek(&self, name: &str) -> Option<Grown> {
        let after = Self::find(self.after, name)?;
        let before = Self::find(self.before, name);
        let growth = |figure: fn(&Slab) -> u64| figure(after).saturating_sub(before.map_or(0, figure)) as f64;
        let (slab_bytes, active) = (growth(Slab::bytes), growth(|slab| slab.active_objects));
        Some(Grown {
            bytes: slab_bytes.max(active * after.bytes_per_object()),
            slab_bytes,
            objects: active.max(growth(|slab| slab.objects)),
        })
    }

    /// The growth of all caches of files and the page cache that were not taken before, below 0 when they shrank.
    fn of_file_caches(&self) -> f64 {
        let files = |slab: &&Slab| {
            FILE_CACHES.iter().any(|start| slab.name.starts_with(start))
                && !self.counted.contains(slab.name.as_str())
        };
        let sum = |slabs: &[Slab]| slabs.iter().filter(files).map(Slab::bytes).sum::<u64>() as f64;
        sum(self.after.1) - sum(self.before.1)
    }

    /// The growth of a cache, and nothing when it was taken before under another name.
    fn take(&mut self, name: &str) -> Grown {
        match Self::find(self.after, name) {
            Some(slab) if self.counted.insert(&slab.name) => {
                let grown = self.peek(name).unwrap_or_default();
                self.reused_bytes += grown.bytes - grown.slab_bytes;
                grown
            }
            _ => Grown::default(),
        }
    }
}
