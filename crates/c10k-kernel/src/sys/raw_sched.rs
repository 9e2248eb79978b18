//! The scheduling policy of the calling thread.

use std::io;

use nix::errno::Errno;

/// As sched_getscheduler(2), for the calling thread.
pub(crate) fn policy() -> io::Result<i32> {
    // SAFETY: it takes a number and touches no memory of ours; 0 is the calling thread.
    Ok(Errno::result(unsafe { libc::sched_getscheduler(0) })?)
}

/// As sched_setscheduler(2) with priority 0, for the calling thread.
pub(crate) fn set_policy(policy: i32) -> io::Result<()> {
    // SAFETY: all of `sched_param` may be zero, on every C library.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: `param` lives for the call, which only reads it; 0 is the calling thread.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &raw const param) })?;
    Ok(())
}
