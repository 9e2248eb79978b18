//! The memory account: what one connection takes, by part and by end. Pure arithmetic over two snapshots.
//!
//! # How the kernel's memory is divided between the ends
//! The slabs are the whole host's, so with both ends on this box they hold both. Both ends have the same objects, but
//! the bind bucket, which only the end that chose a port has: the client. So the server's share is half of what
//! remains when the client's own parts are taken out.
//!
//! # What is no connection's
//! Slabs hold the names and inodes of files and the page cache's own tree too, and a busy host makes them grow. Where
//! slabinfo can be read that growth is taken out; from `Slab` alone it cannot be told apart.
//!
//! And where slabs stood partly empty at first (after earlier connections), new objects fill them before the host gives
//! more: such objects are counted with their share of a slab.
//!
//! # What is compared with what
//! The fall of free memory is that of `MemFree`, the free pages kept by each CPU, and the page cache; shared memory is
//! no page cache here, since it cannot be dropped. It is held against all growth that has a name, the foreign included.
//! `MemAvailable` is not used: it counts socket inodes and dentries as reclaimable.

mod parts;

use std::collections::BTreeMap;

use c10k_kernel::memory::MemInfo;
use c10k_record::{HEAP, MemoryPart, MemoryPerConnection};

use crate::snapshot::{MemorySnapshot, ProcessSnapshot, ServerMemory, grown};
use parts::{SlabParts, estimated_parts, slab_parts};

/// Bytes a slot of a descriptor table: a pointer, a bit each in two bitmaps, and one bit for 64 slots in a third
/// (fs/file.c, `alloc_fdtable`).
const BYTES_PER_SLOT: f64 = 8.0 + 2.0 / 8.0 + 1.0 / 512.0;

/// Divides what changed between two snapshots by `held` connections.
///
/// `both_ends_here` says that server and client both stand on this host. If not, all kernel memory belongs to the end
/// whose process was watched (the server when neither was). Without slabinfo the parts are estimated from the sizes of
/// the kernel's objects and say so; the totals are measured all the same, from `Slab` in `/proc/meminfo`.
///
/// With nothing held there is nothing to divide by: everything is `None`.
#[must_use]
pub fn account(
    before: &MemorySnapshot,
    after: &MemorySnapshot,
    held: u64,
    both_ends_here: bool,
) -> MemoryPerConnection {
    account_of_ends(before, after, EndsHere::of(after, held, both_ends_here))
}

/// As [`account`], where the two ends need not be as many: what is open at the client may not exist at the server's end.
/// An end that none has costs nothing there: `None`.
#[must_use]
pub fn account_of_ends(
    before: &MemorySnapshot,
    after: &MemorySnapshot,
    ends: EndsHere,
) -> MemoryPerConnection {
    let connections = ends.server.max(ends.client);
    if connections == 0 {
        return MemoryPerConnection::default();
    }
    let server = Growth::of_server(before.server.as_ref(), after.server.as_ref(), ends.server);
    let client = Growth::of(before.swarm.as_ref(), after.swarm.as_ref(), ends.client);
    let host = HostGrowth::between(before, after);

    let measured = slab_parts(before, after, ends.sockets(), ends.client > 0);
    let estimated = measured.is_none();
    let slabs = measured.unwrap_or_else(|| estimated_parts(ends));

    let mut named = ends.slab_parts(&slabs, estimated);
    named.insert("descriptor_table".into(), ends.own(server.table_bytes, client.table_bytes, true));
    named.insert("page_tables".into(), ends.own(server.page_table_bytes, client.page_table_bytes, false));
    named.insert(HEAP.into(), ends.own(server.anon_bytes, client.anon_bytes, false));
    named.insert("buffers".into(), ends.even(host.buffer_bytes, false));
    let tables = server.table_bytes.unwrap_or(0.0) + client.table_bytes.unwrap_or(0.0);
    let other =
        host.kernel_bytes().map(|bytes| (bytes + slabs.beyond_growth() - slabs.total() - tables).max(0.0));
    named.insert("other".into(), ends.even(other, estimated));

    let (server_kernel, client_kernel) = ends.kernel_totals(&host, &slabs, &server, &client);
    let fall = fall_of_free_memory(before, after);
    MemoryPerConnection {
        connections: Some(connections),
        server_user_bytes: each(server.rss_bytes, ends.server),
        client_user_bytes: each(client.rss_bytes, ends.client),
        server_kernel_bytes: server_kernel,
        client_kernel_bytes: client_kernel,
        parts: named,
        free_memory_bytes: each(fall, connections),
        unexplained_ratio: fall
            .zip(explained_bytes(before, after, &host))
            .and_then(|(fall, explained)| (fall > 0.0).then(|| (fall - explained).abs() / fall)),
        estimated,
    }
}

/// How many of the connections have each end on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndsHere {
    /// Server's ends.
    pub server: u64,
    /// Clients' ends.
    pub client: u64,
}

/// Bytes of each of so many; `None` where there are none.
fn each(bytes: Option<f64>, count: u64) -> Option<f64> {
    bytes.filter(|_| count > 0).map(|bytes| bytes / count as f64)
}

/// How bytes of the whole host become bytes a connection at each end.
impl EndsHere {
    fn of(after: &MemorySnapshot, held: u64, both_here: bool) -> Self {
        let client_only = after.server.is_none() && after.swarm.is_some();
        let (server, client) = (both_here || !client_only, both_here || client_only);
        Self { server: if server { held } else { 0 }, client: if client { held } else { 0 } }
    }

    fn sockets(self) -> u64 {
        self.server + self.client
    }

    /// A part that each process has of its own.
    fn own(self, server: Option<f64>, client: Option<f64>, estimated: bool) -> MemoryPart {
        MemoryPart {
            server_bytes: each(server, self.server),
            client_bytes: each(client, self.client),
            estimated,
        }
    }

    /// A part that both ends have alike.
    fn even(self, bytes: Option<f64>, estimated: bool) -> MemoryPart {
        let one = each(bytes, self.sockets());
        MemoryPart {
            server_bytes: one.filter(|_| self.server > 0),
            client_bytes: one.filter(|_| self.client > 0),
            estimated,
        }
    }

    fn slab_parts(self, slabs: &SlabParts, estimated: bool) -> BTreeMap<String, MemoryPart> {
        let mut named: BTreeMap<String, MemoryPart> = slabs
            .even
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), self.even(Some(*bytes), estimated)))
            .collect();
        named.insert("bind_bucket".into(), self.own(Some(0.0), Some(slabs.bind_bytes), estimated));
        named
    }

    /// Kernel bytes a connection at the server and at the client; `None` without `Slab` in meminfo, and where others gave
    /// back as much meanwhile.
    fn kernel_totals(
        self,
        host: &HostGrowth,
        slabs: &SlabParts,
        server: &Growth,
        client: &Growth,
    ) -> (Option<f64>, Option<f64>) {
        let Some(kernel) = host.kernel_bytes() else { return (None, None) };
        let kernel = kernel + slabs.beyond_growth();
        if kernel <= 0.0 {
            return (None, None);
        }
        let kernel = kernel + host.buffer_bytes.unwrap_or(0.0);
        let bind = if self.client > 0 { slabs.bind_bytes } else { 0.0 };
        // No end is without its sockets.
        if kernel <= bind {
            return (None, None);
        }
        let alike = each(Some(kernel - bind), self.sockets()).unwrap_or(0.0);
        let own = |bytes: f64, count| each(Some(bytes), count).map(|own| alike + own);
        (
            own(server.page_table_bytes.unwrap_or(0.0), self.server),
            own(bind + client.page_table_bytes.unwrap_or(0.0), self.client),
        )
    }
}

/// What one process grew by, bytes.
#[derive(Default)]
struct Growth {
    rss_bytes: Option<f64>,
    anon_bytes: Option<f64>,
    page_table_bytes: Option<f64>,
    table_bytes: Option<f64>,
}

impl Growth {
    fn of_server(before: Option<&ServerMemory>, after: Option<&ServerMemory>, held: u64) -> Self {
        let (Some(before), Some(after)) = (before, after) else { return Self::default() };
        let grown = after.growth_since(before, held);
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        Self {
            rss_bytes: bytes(grown.rss_bytes),
            anon_bytes: bytes(grown.anon_bytes),
            page_table_bytes: bytes(grown.page_table_bytes),
            table_bytes: grown.slots.map(|slots| slots as f64 * BYTES_PER_SLOT),
        }
    }

    fn of(before: Option<&ProcessSnapshot>, after: Option<&ProcessSnapshot>, held: u64) -> Self {
        let (Some(before), Some(after)) = (before, after) else { return Self::default() };
        let slots = (!before.descriptor_slots.is_empty() && !after.descriptor_slots.is_empty())
            .then(|| after.table_slots(held).saturating_sub(before.table_slots(held)));
        Self {
            rss_bytes: after.rss_growth_bytes(before).map(|bytes| bytes as f64),
            anon_bytes: after.anon_growth_bytes(before).map(|bytes| bytes as f64),
            page_table_bytes: grown(before.page_table_bytes, after.page_table_bytes)
                .map(|bytes| bytes as f64),
            table_bytes: slots.map(|slots| slots as f64 * BYTES_PER_SLOT),
        }
    }
}

/// What the kernel itself grew by, bytes.
struct HostGrowth {
    slab_bytes: Option<f64>,
    /// vmalloc or kernel stacks, whichever grew more: mapped stacks are in both figures.
    mapped_bytes: f64,
    buffer_bytes: Option<f64>,
}

impl HostGrowth {
    fn between(before: &MemorySnapshot, after: &MemorySnapshot) -> Self {
        let growth = |field: fn(&MemInfo) -> Option<u64>| change(before, after, field);
        let vmalloc = growth(|memory| memory.vmalloc_bytes).unwrap_or(0.0);
        let stacks = growth(|memory| memory.kernel_stack_bytes).unwrap_or(0.0);
        let buffers = grown(before.socket_buffer_bytes, after.socket_buffer_bytes);
        Self {
            slab_bytes: growth(|memory| memory.slab_bytes),
            mapped_bytes: vmalloc.max(stacks),
            buffer_bytes: buffers.map(|bytes| bytes.saturating_sub(after.socket_buffer_slack_bytes) as f64),
        }
    }

    /// Slabs and mapped kernel memory, not below 0.
    fn kernel_bytes(&self) -> Option<f64> {
        self.slab_bytes.map(|slab| (slab + self.mapped_bytes).max(0.0))
    }
}

/// By how much free memory fell, the page cache taken out, bytes; `None` when it is unknown, or free memory rose.
fn fall_of_free_memory(before: &MemorySnapshot, after: &MemorySnapshot) -> Option<f64> {
    // The lists of the CPUs are compared only when both moments have them.
    let lists = before.percpu_free_bytes.is_some() && after.percpu_free_bytes.is_some();
    let free = |snapshot: &MemorySnapshot| {
        let memory = snapshot.meminfo?;
        let cache = (memory.cached_bytes? + memory.buffers_bytes?).saturating_sub(memory.shmem_bytes?);
        let kept = if lists { snapshot.percpu_free_bytes? } else { 0 };
        Some((memory.free_bytes? + cache + kept) as f64)
    };
    Some(free(before)? - free(after)?).filter(|fall| *fall >= 0.0)
}

/// What the known consumers of memory took in all, bytes. Anonymous memory is the whole host's, so that each page is
/// counted once, and what the lab itself or a stranger took meanwhile is not put down as unexplained.
fn explained_bytes(before: &MemorySnapshot, after: &MemorySnapshot, host: &HostGrowth) -> Option<f64> {
    let growth = |field: fn(&MemInfo) -> Option<u64>| change(before, after, field);
    Some(
        host.slab_bytes?
            + host.mapped_bytes
            + host.buffer_bytes.unwrap_or(0.0)
            + growth(|memory| memory.anon_bytes)?
            + growth(|memory| memory.shmem_bytes).unwrap_or(0.0)
            + growth(|memory| memory.page_tables_bytes).unwrap_or(0.0)
            + growth(|memory| memory.percpu_bytes).unwrap_or(0.0),
    )
}

/// The change of one line of meminfo, bytes, below 0 when it fell.
fn change(
    before: &MemorySnapshot,
    after: &MemorySnapshot,
    field: impl Fn(&MemInfo) -> Option<u64>,
) -> Option<f64> {
    let before = before.meminfo.as_ref().and_then(&field)?;
    let after = after.meminfo.as_ref().and_then(&field)?;
    Some(after as f64 - before as f64)
}

#[cfg(test)]
mod tests;
