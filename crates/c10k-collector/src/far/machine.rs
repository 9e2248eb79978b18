//! The machine, for the account of a far end.

use c10k_kernel::counters::ProcRoot;
use c10k_kernel::memory::MemInfoReader;
use c10k_kernel::virtualization::virtualization;
use c10k_kernel::{limits, process};
use c10k_record::Host;

use crate::host::host_snapshot;

/// Describes it, with its limits as this process has them.
#[must_use]
pub(crate) fn machine() -> Host {
    let root = ProcRoot::default();
    let text = |below: &str| std::fs::read_to_string(root.path(below)).unwrap_or_default();
    let total = MemInfoReader::open(&root).read().ok().and_then(|memory| memory.total_bytes);
    Host {
        os: value_of(&text("etc/os-release"), "PRETTY_NAME", '='),
        kernel: Some(text("proc/sys/kernel/osrelease").trim().to_owned()).filter(|text| !text.is_empty()),
        cpu: value_of(&text("proc/cpuinfo"), "model name", ':'),
        cpus: process::cpus_allowed() as u64,
        memory_bytes: total.unwrap_or(0),
        root: limits::euid() == 0,
        virtualization: virtualization(&root),
        limits: host_snapshot(),
    }
}

/// The value of the first line `key SIGN value`, without its quotes.
fn value_of(text: &str, key: &str, sign: char) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(sign));
    let (_, value) = lines.find(|(name, _)| name.trim() == key)?;
    Some(value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_key_and_told_without_quotes() {
        let release =
            "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
        assert_eq!(value_of(release, "PRETTY_NAME", '=').as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(
            value_of("processor\t: 0\nmodel name\t: A: B\n", "model name", ':').as_deref(),
            Some("A: B")
        );
        assert_eq!(value_of("model name\t:\n", "model name", ':'), None);
    }

    #[test]
    fn this_machine_has_processors_memory_and_a_kernel() {
        let host = machine();
        assert!(host.cpus > 0 && host.memory_bytes > 1 << 20 && host.kernel.is_some(), "{host:?}");
    }
}
