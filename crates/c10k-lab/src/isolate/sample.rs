//! What the kernel makes of a profile's socket options: a socket of the run's namespace is given them, and asked
//! (getsockopt(2)).

use std::io;
use std::os::fd::AsFd as _;

use c10k_kernel::sysctl::Scope;
use c10k_profile::{NotSet, Profile, Why, note};
use c10k_record::ProfileInRun;
use socket2::{Domain, Socket, Type};

/// Lists the options of which the kernel keeps another value: it bounds buffers by `net.core.rmem_max` and `wmem_max`
/// without an error.
pub(crate) fn look(profile: &Profile, is_ipv6: bool, in_run: &mut ProfileInRun) {
    if profile.socket.sets_nothing() {
        return;
    }
    let not_kept = not_kept(profile, is_ipv6).unwrap_or_else(|error| {
        let why = Why::Refused(error.to_string());
        vec![not_set("socket".to_owned(), "its options".to_owned(), why)]
    });
    note(in_run, &[], &not_kept);
}

fn not_kept(profile: &Profile, is_ipv6: bool) -> io::Result<Vec<NotSet>> {
    let domain = if is_ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    profile.socket.set_on(socket.as_fd())?;
    let not_kept = profile.socket.not_kept_on(socket.as_fd())?.into_iter();
    Ok(not_kept
        .map(|(name, wanted, after)| not_set(format!("socket.{name}"), wanted, Why::Keeps(after)))
        .collect())
}

fn not_set(key: String, wanted: String, why: Why) -> NotSet {
    NotSet { key, wanted, present: None, scope: Scope::Process, why, command: None, optional: false }
}
