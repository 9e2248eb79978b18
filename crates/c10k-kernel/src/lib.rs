//! What the Linux kernel offers to a connection lab.
//!
//! This room reads and sets what the kernel offers: sysctls, resource limits, counters, sock_diag, slabs,
//! the memory of a process, addresses, namespaces and the socket calls of the hot path. It is the only room
//! with netlink, `unshare` and `unsafe` code. It refuses to know what a profile or a run is, or which value
//! would be a good one: it says what *is* and does what it is told. One thing it decides, since that depends on the
//! C library's heap alone and is the same for both ends: when freed memory is worth giving back ([`heap`]).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "the connection-capacity lab runs on Linux only; on another system use the Vagrantfile in this repository (`vagrant up`)"
);

pub mod address;
pub mod bell;
pub mod census;
pub mod cgroup;
pub mod clock;
pub mod conntrack;
pub mod counters;
pub mod cpu;
pub mod descriptors;
pub mod drops;
pub mod epoll;
pub mod files;
pub mod filter;
pub mod heap;
pub mod limits;
pub mod link;
pub mod memory;
pub mod namespace;
pub mod process;
pub mod processes;
pub mod pulse;
pub mod route;
pub mod rules;
pub mod shaper;
pub mod socket;
pub mod sysctl;
pub mod tables;
pub mod virtualization;

mod nfnetlink;
mod rtnetlink;
mod sys;
