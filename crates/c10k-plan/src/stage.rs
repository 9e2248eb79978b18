//! What stands around a run that is to meet a wall: limits for one end alone, noise, and things that happen in it.
//!
//! A plan says what is wanted; a stage says what is in the way. It comes with the hidden flag `--stage` of
//! `c10k-lab run`, as JSON, from `c10k-lab walls plant` and `c10k-lab climb`. All of it happens in the run's own
//! namespace, and to its own processes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use c10k_ceiling::memory_reserve_bytes;
use c10k_record::{HostSnapshot, Plan};
use serde::{Deserialize, Serialize};

/// Whom the swarm's watches count for where they are to be counted apart: the user who owns nothing.
pub const NOBODY: u32 = 65_534;

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The server.
    Server,
    /// The swarm.
    Swarm,
}

impl Who {
    /// Its subcommand, which is also its name.
    pub fn command(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Swarm => "swarm",
        }
    }
}

/// What is in the way of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stage {
    /// The server's limits.
    pub server: EndLimits,
    /// The swarm's.
    pub swarm: EndLimits,
    /// What the run's namespace has before anything is looked at or started.
    pub place: Vec<Furniture>,
    /// Where the swarm connects instead of to the server.
    pub towards: Option<SocketAddr>,
    /// What is there before the swarm's first connection.
    pub noise: Vec<Noise>,
    /// What happens while it runs.
    pub acts: Vec<Act>,
    /// Do not try many more connections than the first wall is predicted to allow.
    pub only_to_the_wall: bool,
    /// Stop growing while a reserve of memory is still there.
    pub keeps_a_reserve: bool,
    /// The swarm's watches count for another user than the server's.
    pub watches_apart: bool,
    /// What is said of the ends is read back from the kernel once they are there; what is not so ends the run.
    pub read_back: bool,
    /// The profile that remedies name: the run's own is not there, or not the last one, when somebody pastes them.
    pub told_profile: Option<String>,
}

/// What a control group (cgroups(7)) is bounded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Processor time, microseconds of each 100 ms.
    Processor(u32),
    /// Memory, bytes.
    Memory(u64),
    /// Threads.
    Threads(u32),
}

/// Limits of one end's process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndLimits {
    /// One descriptor table for all connections.
    pub one_table: bool,
    /// RLIMIT_NOFILE, soft and hard.
    pub nofile: Option<u64>,
    /// RLIMIT_NPROC, soft: so many threads beside those that the user namespace has. It does not bind root.
    pub more_threads: Option<u64>,
    /// Flags of its command line that are given other values than the plan has, or are added.
    pub flags: BTreeMap<String, String>,
    /// The user that it runs as, where the lab is root's.
    pub uid: Option<u32>,
    /// Control groups (folders) that it is put into before it starts.
    pub groups: Vec<PathBuf>,
}

/// What a namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Furniture {
    /// Connections are tracked, and the table has room for so many more.
    Tracked {
        /// Entries that are free.
        room: u32,
    },
    /// No connection is tracked.
    NotTracked,
    /// `lo` lets so many bits a second through.
    Narrow {
        /// Bits a second.
        bits_per_second: u64,
    },
    /// A rule of the firewall drops what comes to this port, in a kernel that has such rules.
    Dropped {
        /// The server's port.
        port: u16,
    },
    /// On the link between two namespaces, answers to this source go to a machine that is not there.
    Astray {
        /// The client's address.
        source: IpAddr,
    },
}

/// What is there before the first connection of the swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// A listener whose socket filter lets no packet through.
    DeafListener(SocketAddr),
    /// Clients that never see the SYN-ACK: so many handshakes stay half open at the server.
    HalfOpen(u32),
    /// Connections from this source that were closed from the client's side: so many ports in TIME_WAIT.
    Closed {
        /// The client's address.
        source: IpAddr,
        /// So many connections.
        count: u32,
    },
}

/// What happens while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// When it happens.
    pub when: When,
    /// What happens.
    pub what: What,
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Once so many connections are established.
    Established(u64),
    /// Once the hold has begun.
    Hold,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The server is stopped by SIGSTOP, and woken when the swarm has closed.
    StopServer,
    /// The server is stopped for so many milliseconds: it accepts nobody in that time.
    NapServer(u64),
    /// The server is killed.
    KillServer,
    /// The swarm closes so many connections, before the server does, and makes as many new ones.
    Renew(u64),
    /// A source address is taken from `lo`: what is bound to it gets no more answers.
    RemoveSource(IpAddr),
}

impl FromStr for Stage {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

impl Stage {
    /// One end's part.
    pub fn end(&self, who: Who) -> &EndLimits {
        match who {
            Who::Server => &self.server,
            Who::Swarm => &self.swarm,
        }
    }

    /// The same to change it.
    pub fn end_mut(&mut self, who: Who) -> &mut EndLimits {
        match who {
            Who::Server => &mut self.server,
            Who::Swarm => &mut self.swarm,
        }
    }

    /// The plan as a person is to repeat it.
    pub fn as_told(&self, plan: &Plan) -> Plan {
        let profile = self.told_profile.as_ref().unwrap_or(&plan.profile).clone();
        Plan { profile, ..plan.clone() }
    }

    /// The control groups that were made for this run, and are gone after it.
    pub fn passing_groups(&self) -> Vec<String> {
        let groups = self.server.groups.iter().chain(&self.swarm.groups);
        groups.map(|group| group.display().to_string()).collect()
    }

    /// Whether it does something that must not be done to the host.
    pub fn needs_a_namespace(&self) -> bool {
        !self.place.is_empty() || !self.noise.is_empty() || !self.acts.is_empty()
    }

    /// The limits that it sets, for the prediction.
    pub fn bound(&self, limits: &mut HostSnapshot) {
        for (end, nofile) in
            [(&self.server, &mut limits.server_nofile), (&self.swarm, &mut limits.swarm_nofile)]
        {
            if let Some(planted) = end.nofile {
                *nofile = Some(nofile.map_or(planted, |limit| limit.min(planted)));
            }
        }
        if let Some(more) = [self.server.more_threads, self.swarm.more_threads].into_iter().flatten().min() {
            // It binds a process that is not root's, whosever the lab is.
            (limits.nproc_bypassed, limits.threads_left) = (false, Some(more));
            // Whose threads are counted then is another's.
            limits.user_threads = None;
        }
        limits.watches_apart = self.watches_apart;
        if self.keeps_a_reserve {
            limits.cgroup_memory_kept_bytes = limits.cgroup_memory_bytes.map(memory_reserve_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_comes_back_from_its_own_json_as_it_was() {
        let stage = Stage {
            server: EndLimits {
                one_table: true,
                nofile: Some(300),
                groups: vec!["/g".into()],
                ..EndLimits::default()
            },
            towards: Some(([127, 0, 0, 1], 9001).into()),
            noise: vec![Noise::HalfOpen(7), Noise::Closed { source: [127, 0, 0, 1].into(), count: 3 }],
            acts: vec![Act { when: When::Established(5), what: What::NapServer(9) }],
            ..Stage::default()
        };
        let text = serde_json::to_string(&stage).expect("plain data");
        assert_eq!(text.parse::<Stage>().expect("its own"), stage);
        assert!("{\"server\":{\"nofiles\":3}}".parse::<Stage>().is_err(), "a word that it does not know");
    }

    #[test]
    fn a_limit_on_one_end_never_raises_what_it_has() {
        let mut limits =
            HostSnapshot { server_nofile: Some(200), swarm_nofile: Some(9000), ..HostSnapshot::default() };
        let end = EndLimits { nofile: Some(300), ..EndLimits::default() };
        Stage { server: end.clone(), swarm: end, ..Stage::default() }.bound(&mut limits);
        assert_eq!((limits.server_nofile, limits.swarm_nofile), (Some(200), Some(300)));
    }

    #[test]
    fn a_limit_on_the_threads_of_one_end_is_the_one_that_binds() {
        let mut limits =
            HostSnapshot { nproc_bypassed: true, threads_left: Some(9_000), ..HostSnapshot::default() };
        Stage::default().bound(&mut limits);
        assert_eq!((limits.nproc_bypassed, limits.threads_left), (true, Some(9_000)));
        let swarm = EndLimits { more_threads: Some(6), ..EndLimits::default() };
        Stage { swarm, ..Stage::default() }.bound(&mut limits);
        assert_eq!((limits.nproc_bypassed, limits.threads_left), (false, Some(6)));
    }
}
