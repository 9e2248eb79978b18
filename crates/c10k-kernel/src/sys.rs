//! Every `unsafe` line of the house stands here or in a file below this one.

#[allow(unsafe_code, reason = "raw system calls that no safe wrapper offers at the cost the hot path allows")]
pub(crate) mod raw_socket;

#[allow(unsafe_code, reason = "epoll_pwait2 has no wrapper")]
pub(crate) mod raw_epoll;

#[allow(unsafe_code, reason = "fork is unsafe by nature: its rules stand beside the call")]
pub(crate) mod raw_fork;

#[allow(unsafe_code, reason = "a hook between fork and exec: its rules stand beside the call")]
pub(crate) mod raw_command;

#[allow(unsafe_code, reason = "sched_setscheduler has no wrapper")]
pub(crate) mod raw_sched;

#[allow(unsafe_code, reason = "kcmp has no wrapper")]
pub(crate) mod raw_kcmp;

#[allow(unsafe_code, reason = "the allocator's own call has no wrapper")]
pub(crate) mod raw_heap;

#[allow(unsafe_code, reason = "perf_event_open has no wrapper")]
pub(crate) mod raw_perf;

#[allow(unsafe_code, reason = "fsopen and fsmount have no wrapper")]
pub(crate) mod raw_mount;
