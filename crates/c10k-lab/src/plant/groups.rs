//! Control groups (cgroups(7), version 1) with little in them: processor time, memory, threads (for root: anybody else
//! has a limit of their own).

use std::path::{Path, PathBuf};
use std::time::Duration;

use c10k_kernel::limits;

use super::{Lift, Planted, flag, small};
use crate::child::Who;
use crate::setup::Setup;
use crate::stage::Stage;

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "cpu-server",
        setup: slow,
        group: Some(Group {
            who: Who::Server,
            controller: "cpu",
            file: "cpu.cfs_quota_us",
            value: A_HUNDREDTH,
            for_root_alone: false,
        }),
        lift: Lift::TakenAway("the server is in no group"),
    },
    Planted {
        wall: "cpu-swarm",
        setup: slow,
        group: Some(Group {
            who: Who::Swarm,
            controller: "cpu",
            file: "cpu.cfs_quota_us",
            value: A_HUNDREDTH,
            for_root_alone: false,
        }),
        lift: Lift::TakenAway("the swarm is in no group"),
    },
    Planted {
        wall: "cgroup-memory",
        setup: || small(4000),
        group: Some(Group {
            who: Who::Server,
            controller: "memory",
            file: "memory.limit_in_bytes",
            value: "4194304",
            for_root_alone: false,
        }),
        lift: Lift::TakenAway("the server is in no group"),
    },
    Planted {
        wall: "threads",
        setup: || {
            // So few descriptors in a table that each worker holds a hundred connections.
            let mut setup = small(600);
            setup.stage.swarm.nofile = Some(120);
            // RLIMIT_NPROC binds everybody but root; the lab's own next threads count too.
            setup.stage.swarm.more_threads = Some(8).filter(|_| limits::euid() != 0);
            setup
        },
        group: Some(Group {
            who: Who::Swarm,
            controller: "pids",
            file: "pids.max",
            value: "6",
            for_root_alone: true,
        }),
        lift: Lift::TakenAway("the swarm may have as many threads as anybody"),
    },
];

/// Microseconds of each 100 ms: the least that the kernel takes.
const A_HUNDREDTH: &str = "1000";

/// A run in which an end that is slow is seen to be late; whoever waits long enough loses nothing by it.
fn slow() -> Setup {
    let mut setup = small(1500);
    for name in ["--probe-timeout", "--connect-timeout"] {
        flag(&mut setup, name, "30s");
    }
    setup.verdicts.push("echo_p95 <= 20ms".to_owned());
    setup
}

/// A group with one limit.
pub(super) struct Group {
    who: Who,
    controller: &'static str,
    file: &'static str,
    value: &'static str,
    /// Whether an ordinary user does without it.
    for_root_alone: bool,
}

/// Where control groups of version 1 are, a folder a controller.
const ROOT: &str = "/sys/fs/cgroup";
/// A group's name is this, the pid of who made it, and the end that it is for.
pub(super) const PREFIX: &str = "c10k-plant-";

/// Removes the groups of plants that were killed before they could: those whose maker is gone, with no process in them.
pub(super) fn remove_left_behind() {
    if limits::euid() == 0 {
        remove_left_behind_in(Path::new(ROOT));
    }
}

fn remove_left_behind_in(root: &Path) {
    for controller in ["cpu", "memory", "pids"] {
        let Ok(groups) = std::fs::read_dir(root.join(controller)) else { continue };
        for group in groups.flatten() {
            let maker = group.file_name().to_str().and_then(maker_of);
            if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                remove(&group.path());
            }
        }
    }
}

fn maker_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// A group that is there; it goes when this does.
pub(super) struct Made(PathBuf);

impl Group {
    pub(super) fn is_needed(&self) -> bool {
        !self.for_root_alone || limits::euid() == 0
    }

    /// Makes it, and has one end put into it.
    pub(super) fn make(&self, stage: &mut Stage) -> Result<Made, String> {
        let above = Path::new(ROOT).join(self.controller);
        if limits::euid() != 0 {
            return Err(format!("it takes root to make a {} group; run it with sudo", self.controller));
        }
        if !above.join("cgroup.procs").exists() {
            return Err(format!("there are no control groups of version 1 in {}", above.display()));
        }
        let end = self.who.command();
        let path = above.join(format!("{PREFIX}{}-{end}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let made = Made(path.clone());
        let file = path.join(self.file);
        std::fs::write(&file, self.value).map_err(|error| format!("{}: {error}", file.display()))?;
        match self.who {
            Who::Server => stage.server.groups.push(path),
            Who::Swarm => stage.swarm.groups.push(path),
        }
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a group. Its processes have ended or are about to, and the kernel lets go of the last of them a moment later
/// (EBUSY); one that is held back takes its time.
fn remove(group: &Path) {
    for _ in 0..100 {
        match std::fs::remove_dir(group) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_go_whose_maker_is_gone_and_no_others() {
        let mut child = std::process::Command::new("true").spawn().expect("true(1)");
        child.wait().expect("it ends");
        let (gone, alive) = (child.id(), std::process::id());
        let root = tempfile::tempdir().expect("a folder");
        let left = [format!("cpu/{PREFIX}{gone}-server"), format!("pids/{PREFIX}{gone}-swarm")];
        let kept = [format!("cpu/{PREFIX}{alive}-server"), format!("memory/other-{gone}-server")];
        for group in left.iter().chain(&kept) {
            std::fs::create_dir_all(root.path().join(group)).expect("made");
        }
        remove_left_behind_in(root.path());
        assert!(left.iter().all(|group| !root.path().join(group).exists()));
        assert!(kept.iter().all(|group| root.path().join(group).exists()));
    }
}
