//! What settings are in a network namespace that nobody has changed.

use std::ffi::{CStr, CString};

use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use crate::sys::raw_fork;
use crate::sysctl::SysctlRoot;

/// Room for one value. The longest of the net.* keys that profiles name, a list of ports, can be longer: then it is
/// unknown.
const BYTES: usize = 256;

/// The values of `keys` in a fresh network namespace, in their order: `None` for one that is not there, or too long;
/// and `None` at all where no namespace may be made. A forked child looks and ends; threads of the caller do not matter.
#[must_use]
pub fn fresh_values(keys: &[&str]) -> Option<Vec<Option<String>>> {
    let root = SysctlRoot::default();
    let paths: Vec<Option<CString>> = keys
        .iter()
        .map(|key| CString::new(root.path(key).ok()?.into_os_string().into_encoded_bytes()).ok())
        .collect();
    // One byte for "entered", then for each key two for the length, and its text.
    let mut report = vec![0; 1 + keys.len() * (2 + BYTES)];
    // In the child: system calls only, nothing allocated.
    raw_fork::fork_and_report(&mut report, |report| {
        let both = CloneFlags::CLONE_NEWUSER.union(CloneFlags::CLONE_NEWNET);
        if unshare(CloneFlags::CLONE_NEWNET).or_else(|_| unshare(both)).is_err() {
            return;
        }
        report[0] = 1;
        for (room, path) in report[1..].chunks_exact_mut(2 + BYTES).zip(&paths) {
            let (length, text) = room.split_at_mut(2);
            let read = path.as_deref().and_then(|path: &CStr| read_into(path, text));
            length.copy_from_slice(&read.unwrap_or(u16::MAX).to_ne_bytes());
        }
    })
    .ok()?;
    let (&entered, rooms) = report.split_first()?;
    (entered == 1).then(|| rooms.chunks_exact(2 + BYTES).map(value).collect())
}

/// How many bytes there are; `None` when they cannot be read or are more than there is room for.
fn read_into(path: &CStr, text: &mut [u8]) -> Option<u16> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let read = nix::unistd::read(&file, text).ok()?;
    (read < text.len()).then(|| u16::try_from(read).ok())?
}

fn value(room: &[u8]) -> Option<String> {
    let (length, text) = room.split_first_chunk::<2>()?;
    let text = text.get(..usize::from(u16::from_ne_bytes(*length)))?;
    Some(std::str::from_utf8(text).ok()?.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_namespace_shows_its_own_values_and_none_of_what_it_has_not() {
        let keys = ["net.core.somaxconn", "net.ipv4.tcp_mem", "net.ipv4.tcp_rmem", "no key"];
        let Some(values) = fresh_values(&keys) else {
            #[allow(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("SKIPPED: no network namespace may be made here");
            }
            return;
        };
        assert!(values[0].as_deref().is_some_and(|text| text.parse::<u32>().is_ok()), "{values:?}");
        assert_eq!((&values[1], &values[3]), (&None, &None));
        assert_eq!(values[2].as_deref().map(|text| text.split('\t').count()), Some(3), "{values:?}");
    }
}
