//! perf_event_open(2): counters of a tracepoint. No library that is here wraps it.

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// The first 64 bytes of `struct perf_event_attr` (include/uapi/linux/perf_event.h, `PERF_ATTR_SIZE_VER0`): the kernel takes
/// a shorter structure, and what is missing is 0.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size_bytes: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

const _: () = assert!(size_of::<Attributes>() == 64);

/// `PERF_TYPE_TRACEPOINT`.
const TRACEPOINT: u32 = 2;
/// `disabled`, the first bit of the bit field.
const DISABLED: u64 = if cfg!(target_endian = "big") { 1 << 63 } else { 1 };
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 8;
/// `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_SET_FILTER`.
const ENABLE: libc::Ioctl = libc::_IO(0x24, 0);
const SET_FILTER: libc::Ioctl = libc::_IOW::<*const libc::c_char>(0x24, 6);

/// A counter of the tracepoint of that number on one processor, of whatever runs there. It counts only what `filter` lets
/// through, from now on; reading it gives 8 bytes.
///
/// # Errors
/// As perf_event_open(2): EACCES or EPERM without CAP_PERFMON where `kernel.perf_event_paranoid` asks for it, ENODEV for a
/// processor that is not online, ENOSYS in a kernel without perf events; EINVAL for a filter that the tracepoint has no
/// fields for.
pub(crate) fn counter(tracepoint: u64, processor: u32, filter: &CStr) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: TRACEPOINT,
        size_bytes: size_of::<Attributes>() as u32,
        config: tracepoint,
        // Without its filter it would count everything.
        flags: DISABLED,
        ..Attributes::default()
    };
    let (any_process, no_group): (libc::c_int, libc::c_int) = (-1, -1);
    // SAFETY: the pointer is to a live structure that says its own size, and which the call only reads.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            any_process,
            processor as libc::c_int,
            no_group,
            CLOSE_ON_EXEC,
        )
    };
    let fd = libc::c_int::try_from(opened).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: `fd` is a new descriptor that nobody else owns.
    let counter = unsafe { OwnedFd::from_raw_fd(fd) };
    command(counter.as_fd(), SET_FILTER, filter.as_ptr())?;
    command(counter.as_fd(), ENABLE, std::ptr::null())?;
    Ok(counter)
}

fn command(counter: BorrowedFd<'_>, request: libc::Ioctl, text: *const libc::c_char) -> io::Result<()> {
    // SAFETY: the one request that has an argument reads a text that ends with NUL and lives for the call; the other one
    // takes a number, which is 0.
    if unsafe { libc::ioctl(counter.as_raw_fd(), request, text) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
