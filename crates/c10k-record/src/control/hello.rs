//! Who the far end is.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Build;
use crate::{Host, ProfileInRun, Protocol, ServerMode, Warning, Workload};

/// The answer to `/v1/hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::PROTOCOL`] of the far end.
    pub protocol: u32,
    /// The version of its program.
    pub program_version: String,
    /// The build of its program.
    pub build: Build,
    /// The kernel's id of this boot (`/proc/sys/kernel/random/boot_id`): another one after the machine was started anew.
    pub boot_id: Option<String>,
    /// The machine's name, `/proc/sys/kernel/hostname`.
    pub hostname: Option<String>,
    /// The machine, with its limits as they are for the server.
    pub host: Host,
    /// Where the server listens, as it was told; an address of all interfaces is not one to connect to.
    pub listen: Vec<SocketAddr>,
    /// The profile, and which of its settings are in force; `None` beside a server that runs by itself, where none was
    /// compared.
    pub profile: Option<ProfileInRun>,
    /// What people were told there when it was started.
    pub warnings: Vec<Warning>,
    /// The server.
    pub server: FarServer,
    /// Whether a run is under way.
    pub state: FarState,
    /// After so many seconds without a word from its client a run is ended.
    pub lease_secs: u64,
    /// When this was said, by the far clock, nanoseconds since 1970.
    pub at_unix_ns: u64,
}

/// The server of the far end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarServer {
    /// It was started by somebody else: how many it accepted is not known.
    pub foreign: bool,
    /// Its process; `None` where that may not be seen.
    pub pid: Option<u32>,
    /// The process's name, as the kernel keeps it.
    pub name: Option<String>,
    /// Accepting workers; `None` = one a core, and of a foreign one.
    pub workers: Option<u32>,
    /// What is spoken over TCP; `None` of a foreign one.
    pub protocol: Option<Protocol>,
    /// What it does with bytes; `None` of a foreign one.
    pub mode: Option<ServerMode>,
    /// What it pushes to those who ask for it; `None` = nothing, and of a foreign one.
    pub pushes: Option<Workload>,
    /// The backlog that it asked for.
    pub backlog: Option<u32>,
    /// The most connections that it takes; `None` = no limit of its own.
    pub max_connections: Option<u64>,
    /// The words of the command line that started it; empty of a foreign one.
    pub command: Vec<String>,
}

/// Whether a run is under way at the far end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum FarState {
    /// There was none yet.
    Idle,
    /// One is.
    Running(Running),
    /// The last one has ended.
    Ended {
        /// Its name.
        run_id: String,
        /// Why, in words.
        reason: String,
    },
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its name.
    pub run_id: String,
    /// Who began it, in words.
    pub by: String,
    /// Milliseconds since.
    pub since_ms: u64,
}
