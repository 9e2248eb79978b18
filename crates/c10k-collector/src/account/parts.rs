//! Which slab caches belong to which part of a connection.

use std::collections::BTreeSet;

use c10k_kernel::memory::Slab;

use super::Ends;
use crate::snapshot::MemorySnapshot;

/// Parts that both ends have alike, and the caches they live in.
const PARTS: &[(&str, &[&str])] = &[
    ("socket", &["TCP", "TCPv6"]),
    ("inode", &["sock_inode_cache"]),
    ("file", &["filp"]),
    ("dentry", &["dentry"]),
    ("security", &["lsm_inode_cache", "lsm_file_cache"]),
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
}

impl SlabParts {
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
    };
    let mut parts = SlabParts::default();
    for (part, caches) in PARTS {
        parts.even.push((part, caches.iter().map(|cache| growth.take(cache).bytes).sum()));
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
    Some(parts)
}

/// The parts as they should be, from the sizes of the kernel's objects.
pub(super) fn estimated_parts(held: u64, ends: Ends) -> SlabParts {
    let sockets = (ends.count() * held) as f64;
    let connections = held as f64;
    SlabParts {
        even: OBJECT_BYTES.iter().map(|(part, bytes)| (*part, bytes * sockets)).collect(),
        bind_bytes: if ends.client {
            BIND_BUCKET_BYTES * (connections + connections.min(PORTS))
        } else {
            0.0
        },
    }
}

/// What a cache grew by; nothing when it shrank.
#[derive(Clone, Copy, Default)]
struct Grown {
    bytes: f64,
    objects: f64,
}

/// The growth of caches, each counted once under whatever name it is asked for.
struct Growth<'s> {
    before: (&'s MemorySnapshot, &'s [Slab]),
    after: (&'s MemorySnapshot, &'s [Slab]),
    counted: BTreeSet<&'s str>,
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
        let (bytes, objects) =
            Self::find(self.before, name).map_or((0, 0), |slab| (slab.bytes(), slab.objects));
        Some(Grown {
            bytes: after.bytes().saturating_sub(bytes) as f64,
            objects: after.objects.saturating_sub(objects) as f64,
        })
    }

    /// The growth of a cache, and nothing when it was taken before under another name.
    fn take(&mut self, name: &str) -> Grown {
        match Self::find(self.after, name) {
            Some(slab) if self.counted.insert(&slab.name) => self.peek(name).unwrap_or_default(),
            _ => Grown::default(),
        }
    }
}
