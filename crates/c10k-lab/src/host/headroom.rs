//! Memory that is left for connections, of this machine and of the memory groups of this process, and the reserve that
//! is kept of it.
//!
//! `MemAvailable` does not say it: the inodes and names of sockets stand in slabs that the kernel calls reclaimable,
//! which they are not while the connections live. With two million of them it is off by gigabytes. What is left is
//! taken for what is free and what the page cache of files has; other caches are not counted on.

use c10k_ceiling::{CLIENT_BYTES, KeptFree, MEMORY_WALLS, SERVER_BYTES, memory_reserve_bytes};
use c10k_kernel::cgroup::MemoryGroups;
use c10k_kernel::counters::ProcRoot;
use c10k_kernel::memory::{MemInfo, MemInfoReader};
use c10k_record::HostSnapshot;

use crate::host::object_bytes::object_bytes;

/// Kernel and user memory of one pair where the sizes of the objects cannot be read, bytes.
const PAIR_BYTES: u64 = SERVER_BYTES + CLIENT_BYTES;

/// The files that say it, opened once.
#[derive(Debug)]
pub(crate) struct Headroom {
    machine: MemInfoReader,
    /// All on the way up: which of them has least left may change from look to look.
    groups: Option<MemoryGroups>,
    /// What one pair is charged with in the group, bytes.
    charged: Option<u64>,
    /// What one pair takes of the machine, bytes.
    each: u64,
}

/// What is left of one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) in_a_group: bool,
    /// The reserve included.
    pub(crate) bytes: u64,
    pub(crate) reserve_bytes: u64,
    /// What one more pair takes of it, bytes.
    pub(crate) each_bytes: u64,
}

impl Headroom {
    /// Of the machine and of the groups that this process is in; `host` has what a connection takes there.
    pub(crate) fn open(host: &HostSnapshot, ipv6: bool) -> Self {
        Self::open_at(&ProcRoot::default(), host, ipv6)
    }

    fn open_at(root: &ProcRoot, host: &HostSnapshot, ipv6: bool) -> Self {
        let known = host.server_connection_bytes.zip(host.client_connection_bytes);
        let sizes = known.or_else(|| object_bytes(ipv6));
        Self {
            machine: MemInfoReader::open(root),
            groups: MemoryGroups::of(root, None).ok().flatten(),
            charged: host.cgroup_connection_bytes.filter(|bytes| *bytes > 0),
            each: sizes.map_or(PAIR_BYTES, |(server, client)| server + client).max(1),
        }
    }

    /// What is left now where it is scarcest; `None` where that cannot be read.
    pub(crate) fn left(&mut self) -> Option<Left> {
        let machine = of_machine(&self.machine.read().ok()?, self.each)?;
        let each_bytes = self.charged.unwrap_or(self.each);
        let version = self.groups.as_ref().map(MemoryGroups::version);
        let seen = self.groups.iter_mut().flat_map(MemoryGroups::read).flatten();
        let limited = seen.filter_map(|group| {
            let (limit, _) = group.limit(version?)?;
            Some(Left {
                in_a_group: true,
                bytes: group.left_bytes()?,
                reserve_bytes: memory_reserve_bytes(limit),
                each_bytes,
            })
        });
        let group = limited.min_by_key(|left| left.bytes.saturating_sub(left.reserve_bytes));
        Some(match group {
            Some(group) if group.pairs() <= machine.pairs() => group,
            _ => machine,
        })
    }
}

impl Left {
    /// Pairs that fit above the reserve.
    pub(crate) fn pairs(&self) -> u64 {
        self.bytes.saturating_sub(self.reserve_bytes) / self.each_bytes.max(1)
    }

    /// The wall that stands there.
    pub(crate) fn wall(&self) -> &'static str {
        MEMORY_WALLS[usize::from(self.in_a_group)]
    }

    /// As a run's findings have it.
    pub(crate) fn kept(&self) -> KeptFree {
        KeptFree {
            in_a_group: self.in_a_group,
            left_bytes: self.bytes,
            reserve_bytes: self.reserve_bytes,
            each_bytes: self.each_bytes,
        }
    }
}

fn of_machine(memory: &MemInfo, each_bytes: u64) -> Option<Left> {
    let files = memory.active_file_bytes.zip(memory.inactive_file_bytes).map(|(a, b)| a.saturating_add(b));
    let bytes = match (memory.free_bytes, files) {
        (Some(free), Some(files)) => free.saturating_add(files),
        _ => memory.available_bytes?,
    };
    let reserve_bytes = memory_reserve_bytes(memory.total_bytes?);
    Some(Left { in_a_group: false, bytes, reserve_bytes, each_bytes })
}

/// How a run grows by pieces towards the end of its memory, so that the last ones are small and every piece is measured
/// before the next.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// What was left before the first one, and how many connections were open then.
    first: Option<(Left, u64)>,
    asked: u64,
}

impl Pieces {
    /// How many connections to make next of those that are `wanted` in all, with so many open now; 0 when the reserve
    /// is reached.
    pub(crate) fn next(&mut self, wanted: u64, open: u64, left: Left) -> (u64, Left) {
        let mut left = left;
        let (before, open_before) = *self.first.get_or_insert((left, open));
        // What was measured here is better than what is known of other kernels.
        if before.in_a_group == left.in_a_group
            && let Some(measured) =
                before.bytes.saturating_sub(left.bytes).checked_div(open.saturating_sub(open_before))
            && measured > 0
        {
            // Memory that others give back meanwhile makes nothing cheaper.
            left.each_bytes = measured.max(left.each_bytes / 2);
        }
        let fits = left.pairs();
        let rest = wanted.saturating_sub(self.asked);
        let piece = match self.asked {
            0 if rest <= fits / 2 => rest,
            0 => fits / 2,
            _ if rest <= fits => rest,
            _ => fits / 10 * 9,
        };
        // What is left over is less than the memory that other programs take and give back meanwhile.
        let piece = if piece < rest && piece <= self.asked / 500 { 0 } else { piece };
        self.asked += piece;
        (piece, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(bytes: u64) -> Left {
        Left { in_a_group: false, bytes, reserve_bytes: 1_000_000, each_bytes: 8_000 }
    }

    #[test]
    fn slabs_that_are_called_reclaimable_are_not_counted_on() {
        let memory = MemInfo {
            total_bytes: Some(24 << 30),
            free_bytes: Some(3 << 30),
            active_file_bytes: Some(1 << 30),
            inactive_file_bytes: Some(1 << 29),
            available_bytes: Some(9 << 30),
            ..MemInfo::default()
        };
        let found = of_machine(&memory, 8_000).expect("all is known");
        assert_eq!((found.bytes, found.reserve_bytes), ((9 << 30) / 2, memory_reserve_bytes(24 << 30)));
        let old = MemInfo { active_file_bytes: None, ..memory };
        assert_eq!(of_machine(&old, 8_000).map(|left| left.bytes), Some(9 << 30));
        assert_eq!(of_machine(&MemInfo::default(), 8_000), None);
    }

    /// Two groups, of which the one above has the higher limit and less left, in either version.
    #[test]
    fn a_climb_keeps_its_reserve_of_the_group_that_has_least_left_at_each_look() {
        let mib = |count: u64| (count << 20).to_string();
        for (membership, mount, limit, usage, top) in [
            (
                "0::/slice/unit\n",
                "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
                "memory.max",
                "memory.current",
                "sys/fs/cgroup",
            ),
            (
                "4:memory:/slice/unit\n",
                "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "sys/fs/cgroup/memory",
            ),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let write = |below: &str, text: &str| {
                let path = folder.path().join(below);
                std::fs::create_dir_all(path.parent().expect("below")).expect("made");
                std::fs::write(path, text).expect("written");
            };
            write("proc/meminfo", "MemTotal: 25165824 kB\nMemFree: 20971520 kB\nMemAvailable: 20971520 kB\n");
            write("proc/self/cgroup", membership);
            write("proc/self/mountinfo", mount);
            for (group, most, charged) in [("slice", 1300, 1200), ("slice/unit", 1000, 10)] {
                write(&format!("{top}/{group}/{limit}"), &mib(most));
                write(&format!("{top}/{group}/{usage}"), &mib(charged));
            }
            let root = ProcRoot::recorded(folder.path());
            let host = HostSnapshot { cgroup_connection_bytes: Some(8_000), ..HostSnapshot::default() };
            let mut headroom = Headroom::open_at(&root, &host, false);
            let left = headroom.left().expect("all can be read");
            assert_eq!((left.in_a_group, left.bytes), (true, 100 << 20), "{limit}");
            assert_eq!(left.reserve_bytes, memory_reserve_bytes(1300 << 20));
            // A neighbour in the slice gives its memory back.
            write(&format!("{top}/slice/{usage}"), &mib(20));
            assert_eq!(headroom.left().map(|left| left.bytes), Some(990 << 20), "{limit}");
            if limit == "memory.max" {
                write(&format!("{top}/slice/unit/memory.high"), &mib(400));
                let left = Headroom::open_at(&root, &host, false).left().expect("all can be read");
                assert_eq!(left.bytes, 390 << 20, "above memory.high it is put to sleep");
            }
        }
    }

    #[test]
    fn nothing_fits_into_the_reserve() {
        assert_eq!((left(1_000_000).pairs(), left(500).pairs(), left(1_800_000).pairs()), (0, 0, 100));
    }

    #[test]
    fn what_fits_twice_is_made_at_once() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.next(50, 0, left(1_800_000)).0, 50);
        assert_eq!(pieces.next(50, 50, left(1_400_000)).0, 0);
    }

    /// A machine on which a pair takes more, or less, than is known beforehand.
    fn grow(real: u64) -> u64 {
        let (mut pieces, mut open, mut rounds) = (Pieces::default(), 0, 0);
        let all = 801_000_000;
        loop {
            let (piece, _) = pieces.next(u64::MAX, open, left(all - open * real));
            if piece == 0 {
                break;
            }
            open += piece;
            rounds += 1;
            assert!(open * real <= all - 1_000_000, "into the reserve with {open}");
        }
        assert!(rounds < 12, "{rounds}");
        open
    }

    #[test]
    fn growth_ends_just_above_the_reserve_whatever_a_pair_takes() {
        for real in [3_000, 8_000, 12_000] {
            let fits = 800_000_000 / real;
            let held = grow(real);
            assert!(held <= fits && held >= fits - fits / 100, "{held} of {fits}");
        }
    }
}
