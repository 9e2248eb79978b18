//! Where the format of an event is read: tracefs(5), be it mounted or not.

use std::fs::{self, File};
use std::io::{self, Read as _};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::sys::raw_mount;

/// The event, below the root of tracefs.
const FORMAT: &str = "events/skb/kfree_skb/format";
/// Where it is mounted, by systemd or by debugfs (Documentation/trace/ftrace.rst).
const MOUNTED: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The text of the format, and the file from which it was, or would be, read. Where tracefs is mounted nowhere it is
/// opened without being mounted: nobody sees anything of it.
pub(super) fn format_of_kfree_skb() -> (String, io::Result<String>) {
    for folder in MOUNTED {
        let file = format!("{folder}/{FORMAT}");
        match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return (file, read),
        }
    }
    (format!("{}/{FORMAT}", MOUNTED[0]), of_a_mount_of_its_own())
}

fn of_a_mount_of_its_own() -> io::Result<String> {
    let root = raw_mount::detached(c"tracefs")?;
    let file = openat(&root, FORMAT, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text)?;
    Ok(text)
}
