//! The two hosts of a run whose ends stand on two machines, and how their clocks stood to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Host, MemoryPart, MemoryPerConnection, ProfileInRun};

/// The hosts of a run of the topology `remote`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TwoHosts {
    /// The control port by which the server's end was asked, address and port.
    pub control: String,
    /// The server runs by itself: what it accepted is not known.
    pub foreign: bool,
    /// Both ends stand on one kernel, as two network namespaces or containers of one machine do: memory and processors are
    /// shared.
    pub one_machine: bool,
    /// Where the server stands.
    pub server: EndHost,
    /// Where the clients stand, and this record was written.
    pub client: EndHost,
    /// How often the server's end was looked at.
    pub looks: u64,
    /// How often it was asked in vain: no answer in time, or none that is one.
    pub looks_missed: u64,
    /// Since when the server's end was not known any more, milliseconds by the clock of `samples.csv`; `None` where it was known
    /// to the end.
    pub lost_at_ms: Option<u64>,
    /// Why it was not, in words.
    pub lost_because: Option<String>,
}

/// One of the two hosts. What is not known of it is `None`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndHost {
    /// Its name, `uname -n`.
    pub name: Option<String>,
    /// The machine, with the limits of its own end.
    pub host: Option<Host>,
    /// The build of the program there.
    pub build: Option<String>,
    /// The profile there, and which of its settings are in force.
    pub profile: ProfileInRun,
    /// What a connection costs this host: the account of its end by itself, against the fall of its own free memory.
    pub memory_per_connection: MemoryPerConnection,
    /// `MemAvailable` at its lowest, bytes.
    pub lowest_memory_available_bytes: Option<u64>,
    /// ESTABLISHED sockets of this end in the hold, by sock_diag.
    pub established: Option<u64>,
    /// What its counters grew by, and how far its levels rose, by the names that evidence has.
    pub counters: BTreeMap<String, u64>,
    /// What could not be read there.
    pub unreadable: Vec<String>,
}

impl MemoryPerConnection {
    /// What a connection costs at both ends, each on a host of its own: the server's end as its host has it, the clients' end
    /// as theirs has. Where both are `one_machine` its free memory is not counted twice.
    #[must_use]
    pub fn of_two_hosts(server: &Self, client: &Self, one_machine: bool) -> Self {
        let (server_parts, client_parts) = (&server.parts, &client.parts);
        let names: BTreeSet<&String> = server_parts.keys().chain(client_parts.keys()).collect();
        let part = |name: &String| {
            let (there, here) = (server_parts.get(name), client_parts.get(name));
            let estimated = |part: Option<&MemoryPart>| part.is_some_and(|part| part.estimated);
            MemoryPart {
                server_bytes: there.and_then(|part| part.server_bytes),
                client_bytes: here.and_then(|part| part.client_bytes),
                estimated: estimated(there) || estimated(here),
            }
        };
        let free = server.free_memory_bytes.zip(client.free_memory_bytes);
        let unexplained = server.unexplained_ratio.zip(client.unexplained_ratio);
        Self {
            connections: client.connections.or(server.connections),
            server_user_bytes: server.server_user_bytes,
            server_kernel_bytes: server.server_kernel_bytes,
            client_user_bytes: client.client_user_bytes,
            client_kernel_bytes: client.client_kernel_bytes,
            parts: names.into_iter().map(|name| (name.clone(), part(name))).collect(),
            free_memory_bytes: free.map(|(there, here)| if one_machine { here } else { there + here }),
            unexplained_ratio: unexplained.map(|(there, here)| there.max(here)),
            estimated: server.estimated || client.estimated,
        }
    }

    /// The same with one end alone: the server's or the clients'.
    #[must_use]
    pub fn of_one_end(mut self, is_server: bool) -> Self {
        let of_server = |bytes: &mut Option<f64>| *bytes = bytes.filter(|_| is_server);
        of_server(&mut self.server_user_bytes);
        of_server(&mut self.server_kernel_bytes);
        let of_client = |bytes: &mut Option<f64>| *bytes = bytes.filter(|_| !is_server);
        of_client(&mut self.client_user_bytes);
        of_client(&mut self.client_kernel_bytes);
        for part in self.parts.values_mut() {
            of_server(&mut part.server_bytes);
            of_client(&mut part.client_bytes);
        }
        self
    }
}

/// How far the server's clock was ahead of the clients', measured by requests and answers (RFC 5905, section 8).
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockLook {
    /// In which part of the run.
    pub at: ClockAt,
    /// When, milliseconds by the clock of `samples.csv`.
    pub at_ms: u64,
    /// The server's clock less the clients', nanoseconds; below 0 where it is behind. `None` where it could not be measured.
    pub offset_ns: Option<i64>,
    /// The round trip by which it was measured, nanoseconds: the offset is right to half of it.
    pub round_trip_ns: Option<u64>,
    /// How many requests were tried, of which the one with the shortest round trip counts.
    pub tries: u32,
}

/// When clocks were compared.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockAt {
    /// Before the first connect.
    Start,
    /// In the hold.
    Middle,
    /// After the last connection was closed.
    End,
    /// When a look showed that one of the two clocks had been set.
    Jump,
}

impl fmt::Display for ClockAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
            Self::Jump => "jump",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(server: f64, client: f64, free: f64, unexplained: f64) -> MemoryPerConnection {
        let part = MemoryPart { server_bytes: Some(server), client_bytes: Some(client), estimated: false };
        MemoryPerConnection {
            connections: Some(7),
            server_user_bytes: Some(server),
            server_kernel_bytes: Some(server),
            client_user_bytes: Some(client),
            client_kernel_bytes: Some(client),
            parts: [("socket".to_owned(), part)].into(),
            free_memory_bytes: Some(free),
            unexplained_ratio: Some(unexplained),
            estimated: false,
        }
    }

    #[test]
    fn each_end_is_what_its_own_host_says_and_nothing_is_halved() {
        let (there, here) = (account(1.0, 900.0, 10.0, 0.01), account(800.0, 2.0, 20.0, 0.04));
        let both = MemoryPerConnection::of_two_hosts(&there, &here, false);
        assert_eq!((both.server_kernel_bytes, both.client_kernel_bytes), (Some(1.0), Some(2.0)));
        let socket = both.parts["socket"];
        assert_eq!((socket.server_bytes, socket.client_bytes), (Some(1.0), Some(2.0)));
        assert_eq!((both.free_memory_bytes, both.unexplained_ratio), (Some(30.0), Some(0.04)));
        let one = MemoryPerConnection::of_two_hosts(&there, &here, true);
        assert_eq!(one.free_memory_bytes, Some(20.0), "the memory of one machine fell once");
        let lost = MemoryPerConnection::of_two_hosts(&MemoryPerConnection::default(), &here, false);
        assert_eq!((lost.server_user_bytes, lost.client_user_bytes), (None, Some(2.0)));
        assert_eq!((lost.free_memory_bytes, lost.unexplained_ratio), (None, None));
    }

    #[test]
    fn an_account_of_one_end_says_nothing_of_the_other() {
        let server = account(1.0, 2.0, 3.0, 0.0).of_one_end(true);
        assert_eq!((server.server_user_bytes, server.client_user_bytes), (Some(1.0), None));
        assert_eq!(server.parts["socket"].client_bytes, None);
        let client = account(1.0, 2.0, 3.0, 0.0).of_one_end(false);
        assert_eq!((client.server_kernel_bytes, client.client_kernel_bytes), (None, Some(2.0)));
        assert_eq!((client.parts["socket"].server_bytes, client.free_memory_bytes), (None, Some(3.0)));
    }
}
