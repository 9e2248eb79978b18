//! Names in a network namespace that the kernel takes back with the process that made them: abstract addresses of Unix
//! sockets belong to the network namespace, whatever else its processes do not share (unix(7), network_namespaces(7)).

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use crate::files;

/// A name that is taken as long as this lives.
#[derive(Debug)]
pub struct Mark {
    _socket: UnixListener,
}

impl Mark {
    /// Takes a name, of at most 107 bytes, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// `AddrInUse` when somebody has it; `InvalidInput` when it is too long; EMFILE.
    pub fn set(name: &str) -> io::Result<Self> {
        let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        Ok(Self { _socket: socket })
    }
}

/// The names in the network namespace of the calling thread that begin with `prefix`, without it.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn marks(prefix: &str) -> io::Result<Vec<String>> {
    let table = files::read_to_string(Path::new("/proc/thread-self/net/unix"))?;
    Ok(parse(&table, prefix))
}

/// The name is the eighth field, with `@` for the NUL at its beginning (proc_pid_net(5)).
fn parse(table: &str, prefix: &str) -> Vec<String> {
    let name = |line: &str| {
        let (_, name) = line.split_once('@')?;
        Some(name.strip_prefix(prefix)?.to_owned())
    };
    let mut names: Vec<String> = table.lines().skip(1).filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_seen_as_long_as_it_stands_and_nobody_else_can_set_it() {
        let prefix = format!("c10k-test-{}/", std::process::id());
        let mark = Mark::set(&format!("{prefix}a b")).unwrap();
        assert_eq!(marks(&prefix).unwrap(), ["a b"]);
        assert_eq!(Mark::set(&format!("{prefix}a b")).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(mark);
        // A process that another test has just forked has a copy until it is gone.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !marks(&prefix).unwrap().is_empty() {
            assert!(std::time::Instant::now() < until, "the mark stays");
            std::thread::yield_now();
        }
        assert!(Mark::set(&"x".repeat(200)).is_err());
    }

    #[test]
    fn only_names_that_begin_so_are_marks() {
        let table = "Num RefCount Protocol Flags Type St Inode Path\n\
                     0000: 00000002 00000000 00010000 0001 01 21190 @c10k/1/x y\n\
                     0000: 00000002 00000000 00010000 0001 01 21191 /run/c10k/2\n\
                     0000: 00000003 00000000 00000000 0001 03 21192\n";
        assert_eq!(parse(table, "c10k/"), ["1/x y"]);
    }
}
