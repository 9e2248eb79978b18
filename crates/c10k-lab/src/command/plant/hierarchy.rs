//! Control groups (cgroups(7)) of a plant's own, version 1 or 2: made, limited, and removed again.
//!
//! Version 1 has a tree of groups for each controller, version 2 one for all. There a limit is to be had only where the
//! group above hands the controller on (`cgroup.subtree_control`). Whether it does is the host's to say: that is looked
//! at and not changed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use c10k_kernel::limits;
use c10k_plan::stage::{Limit, Stage, Who};

use super::left::{Maker, left_in};

/// The controller of a limit.
fn controller_of(limit: Limit) -> &'static str {
    match limit {
        Limit::Processor(_) => "cpu",
        Limit::Memory(_) => "memory",
        Limit::Threads(_) => "pids",
    }
}

/// The file that takes a limit, and what is written there.
fn setting_of(limit: Limit, version: Version) -> (&'static str, String) {
    match (limit, version) {
        (Limit::Processor(us), Version::One) => ("cpu.cfs_quota_us", us.to_string()),
        (Limit::Processor(us), Version::Two) => ("cpu.max", format!("{us} 100000")),
        (Limit::Memory(bytes), Version::One) => ("memory.limit_in_bytes", bytes.to_string()),
        (Limit::Memory(bytes), Version::Two) => ("memory.max", bytes.to_string()),
        (Limit::Threads(most), _) => ("pids.max", most.to_string()),
    }
}

/// Whether what is read back is what was written. Of memory the kernel counts whole pages.
fn is_that(limit: Limit, written: &str, read: &str) -> bool {
    const LARGEST_PAGE: u64 = 64 << 10;
    match (limit, read.parse::<u64>()) {
        (Limit::Memory(bytes), Ok(kept)) => kept <= bytes && bytes - kept < LARGEST_PAGE,
        _ => written == read,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where the control groups of this machine are.
pub(crate) struct Hierarchy {
    root: PathBuf,
}

impl Default for Hierarchy {
    fn default() -> Self {
        Self { root: PathBuf::from("/sys/fs/cgroup") }
    }
}

impl Hierarchy {
    /// Makes a group with this limit, and has one end put into it. In version 2 all limits of an end are of one group.
    ///
    /// # Errors
    /// Why it cannot be made here, and what would mend that.
    pub(crate) fn make(&self, who: Who, limit: Limit, maker: &Maker, stage: &mut Stage) -> Result<Made, Why> {
        let controller = controller_of(limit);
        if limits::euid() != 0 {
            return Err(Why::new(format!("it takes root to make a {controller} group"), "run it with sudo"));
        }
        self.make_as_root(who, limit, maker, stage)
    }

    fn make_as_root(&self, who: Who, limit: Limit, maker: &Maker, stage: &mut Stage) -> Result<Made, Why> {
        let (version, above) = self.above(controller_of(limit))?;
        let group = above.join(format!("{}-{}", maker.name(), who.command()));
        let failed = |path: &Path, error: io::Error| Why::new(format!("{}: {error}", path.display()), "");
        match std::fs::create_dir(&group) {
            // The other limit of a pair has made it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && version == Version::Two => {}
            made => made.map_err(|error| failed(&group, error))?,
        }
        let made = Made(group.clone());
        let (file, value) = setting_of(limit, version);
        let path = group.join(file);
        std::fs::write(&path, &value).map_err(|error| failed(&path, error))?;
        let stands = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        if !is_that(limit, &value, stands.trim()) {
            let message =
                format!("{}: {value} was written, and {} was read back", path.display(), stands.trim());
            return Err(Why::new(message, "a group above bounds it, or this kernel takes other values"));
        }
        let groups = match who {
            Who::Server => &mut stage.server.groups,
            Who::Swarm => &mut stage.swarm.groups,
        };
        if !groups.contains(&group) {
            groups.push(group);
        }
        Ok(made)
    }

    /// The group below which one with a limit of this controller is made.
    fn above(&self, controller: &str) -> Result<(Version, PathBuf), Why> {
        let own_tree = self.root.join(controller);
        if own_tree.join("cgroup.procs").exists() {
            return Ok((Version::One, own_tree));
        }
        let words = |file: &str| std::fs::read_to_string(self.root.join(file));
        let has = |text: &str| text.split_whitespace().any(|word| word == controller);
        let root = self.root.display();
        let Ok(known) = words("cgroup.controllers") else {
            return Err(Why::new(format!("there are no control groups with {controller} in {root}"), ""));
        };
        if words("cgroup.subtree_control").is_ok_and(|handed_on| has(&handed_on)) {
            return Ok((Version::Two, self.root.clone()));
        }
        if !has(&known) {
            return Err(Why::new(
                format!("{root}/cgroup.controllers does not have {controller}"),
                "a container gets it from its host",
            ));
        }
        Err(Why::new(
            format!("{root}/cgroup.subtree_control does not hand {controller} on to groups below"),
            format!("echo +{controller} | sudo tee {root}/cgroup.subtree_control"),
        ))
    }

    /// Removes the groups of plants that were killed before they could: those whose maker is gone, with no process in
    /// them.
    pub(crate) fn remove_left_behind(&self, here: &Maker) {
        let trees = ["", "cpu", "memory", "pids"].map(|tree| self.root.join(tree));
        trees.iter().flat_map(|tree| left_in(tree, here)).for_each(|group| remove(&group));
    }
}

/// Why a group cannot be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Why {
    fn new(message: String, hint: impl Into<String>) -> Self {
        Self { message, hint: hint.into() }
    }
}

/// A group that is there; it goes when this does.
#[derive(Debug)]
pub(crate) struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a group. Its processes have ended or are about to, and the kernel lets go of the last of them a moment later
/// (EBUSY).
fn remove(group: &Path) {
    // One that is held back would take its time to end.
    for (file, unbounded) in [("cpu.cfs_quota_us", "-1"), ("cpu.max", "max")] {
        let file = group.join(file);
        if file.exists() {
            let _ = std::fs::write(file, unbounded);
        }
    }
    for _ in 0..200 {
        match std::fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::left::tests::gone;
    use super::*;

    const MEMORY: Limit = Limit::Memory(4 << 20);
    const PROCESSOR: Limit = Limit::Processor(1000);

    /// A folder that looks like a tree of groups with these files; what is written into one that a kernel would have
    /// made is a new file.
    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Hierarchy) {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let root = folder.path().to_owned();
        (folder, Hierarchy { root })
    }

    #[test]
    fn a_limit_reads_back_as_it_was_written_but_for_a_part_of_a_page() {
        let memory = Limit::Memory(500_000_000);
        assert!(is_that(memory, "500000000", "499998720") && is_that(memory, "500000000", "500000000"));
        assert!(!is_that(memory, "500000000", "max") && !is_that(memory, "500000000", "400000000"));
        assert!(
            is_that(PROCESSOR, "1000 100000", "1000 100000")
                && !is_that(PROCESSOR, "1000 100000", "max 100000")
        );
    }

    fn version_2(handed_on: &str) -> (tempfile::TempDir, Hierarchy) {
        tree(&[("cgroup.controllers", "cpuset cpu io memory pids\n"), ("cgroup.subtree_control", handed_on)])
    }

    fn maker() -> Maker {
        Maker::this().expect("/proc")
    }

    #[track_caller]
    fn written(group: &Path, file: &str) -> String {
        std::fs::read_to_string(group.join(file)).expect("a limit")
    }

    #[test]
    fn in_version_1_each_controller_has_a_group_of_its_own() {
        let (_folder, all) =
            tree(&[("memory/cgroup.procs", ""), ("cpu/cgroup.procs", ""), ("pids/cgroup.procs", "")]);
        let mut stage = Stage::default();
        let limits = [MEMORY, PROCESSOR, Limit::Threads(5)];
        let made =
            limits.map(|limit| all.make_as_root(Who::Server, limit, &maker(), &mut stage).expect("made"));
        let [memory, cpu, pids] = &stage.server.groups[..] else { panic!("{stage:?}") };
        assert_eq!(written(memory, "memory.limit_in_bytes"), "4194304");
        assert_eq!(
            (written(cpu, "cpu.cfs_quota_us"), written(pids, "pids.max")),
            ("1000".into(), "5".into())
        );
        assert!(memory.starts_with(all.root.join("memory")) && pids.starts_with(all.root.join("pids")));
        drop(made);
    }

    #[test]
    fn in_version_2_all_limits_of_an_end_are_of_one_group() {
        let (_folder, all) = version_2("cpu memory pids\n");
        let mut stage = Stage::default();
        let mut make = |who, limit| all.make_as_root(who, limit, &maker(), &mut stage).expect("made");
        let _made =
            [make(Who::Server, MEMORY), make(Who::Server, PROCESSOR), make(Who::Swarm, Limit::Threads(5))];
        let ([server], [swarm]) = (&stage.server.groups[..], &stage.swarm.groups[..]) else {
            panic!("{stage:?}")
        };
        assert_eq!(written(server, "memory.max"), "4194304");
        assert_eq!(written(server, "cpu.max"), "1000 100000");
        assert_eq!(written(swarm, "pids.max"), "5");
        assert_eq!(server.parent(), Some(&*all.root));
    }

    #[test]
    fn a_controller_that_is_not_handed_on_is_told_with_the_line_that_does_it_and_nothing_is_changed() {
        let (folder, all) = version_2("memory pids\n");
        let why = all.make_as_root(Who::Server, PROCESSOR, &maker(), &mut Stage::default()).expect_err("cpu");
        let control = folder.path().join("cgroup.subtree_control");
        assert!(why.message.contains("does not hand cpu on"), "{why:?}");
        assert_eq!(why.hint, format!("echo +cpu | sudo tee {}", control.display()));
        assert_eq!(std::fs::read_to_string(control).expect("there"), "memory pids\n");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 2, "no group was made");
    }

    #[test]
    fn where_there_are_no_groups_or_not_this_controller_that_is_said() {
        let message = |all: &Hierarchy| {
            let made = all.make_as_root(Who::Swarm, MEMORY, &maker(), &mut Stage::default());
            made.expect_err("no memory").message
        };
        assert!(message(&tree(&[]).1).contains("no control groups with memory"));
        let (_folder, container) =
            tree(&[("cgroup.controllers", "cpu pids\n"), ("cgroup.subtree_control", "")]);
        assert!(message(&container).contains("cgroup.controllers does not have memory"));
    }

    #[test]
    fn groups_go_whose_maker_is_gone_and_no_others() {
        let root = tempfile::tempdir().expect("a folder");
        let (gone, alive) = (gone().name(), maker().name());
        let left = [format!("cpu/{gone}-server"), format!("pids/{gone}-swarm"), format!("{gone}-server")];
        let kept =
            [format!("cpu/{alive}-server"), format!("{alive}-swarm"), "memory/other-1-2-3-server".to_owned()];
        for group in left.iter().chain(&kept) {
            std::fs::create_dir_all(root.path().join(group)).expect("made");
        }
        Hierarchy { root: root.path().to_owned() }.remove_left_behind(&maker());
        assert!(left.iter().all(|group| !root.path().join(group).exists()));
        assert!(kept.iter().all(|group| root.path().join(group).exists()));
    }
}
