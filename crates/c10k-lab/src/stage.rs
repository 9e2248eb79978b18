//! What stands around a run that is to meet a wall: limits for one end alone, noise, and things that happen in it.
//!
//! A plan says what is wanted; a stage says what is in the way. It comes with the hidden flag `--stage` of
//! `c10k-lab run`, as JSON, from `c10k-lab walls plant` and `c10k-lab climb`. All of it happens in the run's own
//! namespace, and to its own processes.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use c10k_ceiling::memory_reserve_bytes;
use c10k_kernel::socket::set_bind_address_no_port;
use c10k_kernel::{address, conntrack, shaper};
use c10k_record::{HostSnapshot, LiveCounts, PhaseName, Plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};

use crate::child::Who;

/// Whom the swarm's watches count for where they are to be counted apart: the user who owns nothing.
pub(crate) const NOBODY: u32 = 65_534;

/// What is in the way of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Stage {
    pub(crate) server: End,
    pub(crate) swarm: End,
    /// What the run's namespace has before anything is looked at or started.
    pub(crate) place: Vec<Furniture>,
    /// Where the swarm connects instead of to the server.
    pub(crate) towards: Option<SocketAddr>,
    pub(crate) noise: Vec<Noise>,
    pub(crate) acts: Vec<Act>,
    /// Do not try many more connections than the first wall is predicted to allow.
    pub(crate) only_to_the_wall: bool,
    /// Stop growing while a reserve of memory is still there.
    pub(crate) keeps_a_reserve: bool,
    /// The swarm's watches count for another user than the server's.
    pub(crate) watches_apart: bool,
    /// The profile that remedies name: the run's own is not there, or not the last one, when somebody pastes them.
    pub(crate) told_profile: Option<String>,
}

/// Limits of one end's process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct End {
    /// One descriptor table for all connections.
    pub(crate) one_table: bool,
    /// RLIMIT_NOFILE, soft and hard.
    pub(crate) nofile: Option<u64>,
    /// RLIMIT_NPROC, soft: so many threads beside those that the user namespace has. It does not bind root.
    pub(crate) more_threads: Option<u64>,
    /// Flags of its command line that are given other values than the plan has, or are added.
    pub(crate) flags: BTreeMap<String, String>,
    /// The user that it runs as, where the lab is root's.
    pub(crate) uid: Option<u32>,
    /// Control groups (folders) that it is put into before it starts.
    pub(crate) groups: Vec<PathBuf>,
}

/// What a namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Furniture {
    /// Connections are tracked, and the table has room for so many more.
    Tracked { room: u32 },
    /// No connection is tracked.
    NotTracked,
    /// `lo` lets so many bits a second through.
    Narrow { bits_per_second: u64 },
}

/// What is there before the first connection of the swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Noise {
    /// A listener whose socket filter lets no packet through.
    DeafListener(SocketAddr),
    /// Clients that never see the SYN-ACK: so many handshakes stay half open at the server.
    HalfOpen(u32),
    /// Connections from this source that were closed from the client's side: so many ports in TIME_WAIT.
    Closed { source: IpAddr, count: u32 },
}

/// What happens while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    pub(crate) when: When,
    pub(crate) what: What,
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum When {
    /// Once so many connections are established.
    Established(u64),
    /// Once the hold has begun.
    Hold,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
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
    pub(crate) fn end(&self, who: Who) -> &End {
        match who {
            Who::Server => &self.server,
            Who::Swarm => &self.swarm,
        }
    }

    /// The same to change it.
    pub(crate) fn end_mut(&mut self, who: Who) -> &mut End {
        match who {
            Who::Server => &mut self.server,
            Who::Swarm => &mut self.swarm,
        }
    }

    /// The plan as a person is to repeat it.
    pub(crate) fn as_told(&self, plan: &Plan) -> Plan {
        let profile = self.told_profile.as_ref().unwrap_or(&plan.profile).clone();
        Plan { profile, ..plan.clone() }
    }

    /// The control groups that were made for this run, and are gone after it.
    pub(crate) fn passing_groups(&self) -> Vec<String> {
        let groups = self.server.groups.iter().chain(&self.swarm.groups);
        groups.map(|group| group.display().to_string()).collect()
    }

    /// Whether it does something that must not be done to the host.
    pub(crate) fn needs_a_namespace(&self) -> bool {
        !self.place.is_empty() || !self.noise.is_empty() || !self.acts.is_empty()
    }

    /// The limits that it sets, for the prediction.
    pub(crate) fn settle(&self, limits: &mut HostSnapshot) {
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

    /// Puts into this namespace, which must be the run's own, what it is to have.
    pub(crate) fn furnish(&self) -> io::Result<()> {
        self.place.iter().try_for_each(|furniture| match *furniture {
            Furniture::Tracked { room } => fill_conntrack(room.into()),
            Furniture::NotTracked => conntrack::do_not_track(),
            Furniture::Narrow { bits_per_second } => narrow(bits_per_second),
        })
    }

    /// Makes the noise towards a server that is ready. What it returns must live as long as the run.
    pub(crate) fn make_noise(&self, servers: &[SocketAddr]) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        let Some(&server) = servers.first() else { return Ok(sockets) };
        for noise in &self.noise {
            match *noise {
                Noise::DeafListener(at) => {
                    let listener = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
                    listener.set_reuse_address(true)?;
                    listener.bind(&at.into())?;
                    listener.attach_filter(&NOTHING_PASSES)?;
                    listener.listen(16)?;
                    sockets.push(listener);
                }
                Noise::HalfOpen(count) => {
                    for _ in 0..count {
                        let client = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
                        client.set_nonblocking(true)?;
                        client.attach_filter(&NOTHING_PASSES)?;
                        match client.connect(&server.into()) {
                            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
                                return Err(error);
                            }
                            _ => sockets.push(client),
                        }
                    }
                }
                Noise::Closed { source, count } => close_first(source, server, count)?,
            }
        }
        Ok(sockets)
    }
}

/// Has connections tracked, and leaves room for so many.
fn fill_conntrack(room: u64) -> io::Result<()> {
    /// More entries take minutes to make, and hundreds of megabytes.
    const MOST: u64 = 1 << 20;
    conntrack::track().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => error,
        _ => unsupported(&format!("it has no nf_tables, or tracks no connections ({error})")),
    })?;
    let Some((entries, max)) = conntrack::room() else {
        return Err(unsupported("it tracks no connections"));
    };
    let wanted = max.saturating_sub(entries).saturating_sub(room);
    if wanted > MOST || max == 0 {
        return Err(unsupported(&format!(
            "net.netfilter.nf_conntrack_max = {max}, which is too many to be filled by a plant (0 is no limit)"
        )));
    }
    conntrack::fill(wanted as u32)
}

/// Has `lo` let so much through.
fn narrow(bits_per_second: u64) -> io::Result<()> {
    // A fiftieth of a second at once; what does not pass in a quarter of one is dropped.
    let bytes = |part: u64| u32::try_from(bits_per_second / 8 / part).unwrap_or(u32::MAX).max(2048);
    shaper::shape("lo", bits_per_second, bytes(50), bytes(4)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unsupported("it has no queue that limits a rate (sch_tbf)"),
        _ => error,
    })
}

fn unsupported(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("not on this kernel: {why}"))
}

/// A classic BPF program that keeps 0 bytes of every packet: `ret #0` (socket(7), SO_ATTACH_FILTER).
const NOTHING_PASSES: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// A port in TIME_WAIT may be reused after a second where `tcp_tw_reuse` allows it (`tcp_tw_reuse_delay`).
const REUSABLE: Duration = Duration::from_millis(1100);

/// Opens `count` connections and closes each before the server does, so that TIME_WAIT is here.
fn close_first(source: IpAddr, server: SocketAddr, count: u32) -> io::Result<()> {
    let open = |_| -> io::Result<Socket> {
        let client = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        // The port is chosen by connect(), for this destination alone.
        set_bind_address_no_port(client.as_fd())?;
        client.bind(&SocketAddr::new(source, 0).into())?;
        client.connect_timeout(&SockAddr::from(server), Duration::from_secs(5))?;
        Ok(client)
    };
    let clients: Vec<Socket> = (0..count).map(open).collect::<io::Result<_>>()?;
    drop(clients);
    std::thread::sleep(REUSABLE);
    Ok(())
}

/// The acts of a stage, done when their time has come.
#[derive(Debug, Default)]
pub(crate) struct Acting {
    to_come: Vec<Act>,
    wake_at: Option<Instant>,
    stopped: bool,
    _noise: Vec<Socket>,
}

impl Acting {
    pub(crate) fn new(stage: &Stage, noise: Vec<Socket>) -> Self {
        Self { to_come: stage.acts.clone(), wake_at: None, stopped: false, _noise: noise }
    }

    /// Does what is due, and returns the commands that the swarm is to be told. `server` is a process of the run's own.
    pub(crate) fn go_on(
        &mut self,
        server: Option<u32>,
        phase: Option<PhaseName>,
        counts: &LiveCounts,
    ) -> Vec<String> {
        let mut commands = Vec::new();
        if self.wake_at.is_some_and(|at| at <= Instant::now()) {
            self.wake(server);
        }
        let due = |act: &Act| match act.when {
            When::Established(count) => counts.established >= count,
            // A commanded swarm holds nothing before it is told to grow.
            When::Hold => phase == Some(PhaseName::Hold) && counts.established > 0,
        };
        let (now, later): (Vec<Act>, Vec<Act>) = self.to_come.drain(..).partition(due);
        self.to_come = later;
        for act in now {
            match act.what {
                What::StopServer => {
                    send(server, Signal::SIGSTOP);
                    self.stopped = true;
                }
                What::NapServer(ms) => {
                    send(server, Signal::SIGSTOP);
                    self.stopped = true;
                    self.wake_at = Some(Instant::now() + Duration::from_millis(ms));
                }
                What::KillServer => send(server, Signal::SIGKILL),
                What::Renew(count) => commands.extend([format!("shrink {count}"), format!("grow {count}")]),
                What::RemoveSource(source) => {
                    let _ = address::remove("lo", source, if source.is_ipv4() { 32 } else { 128 });
                }
            }
        }
        commands
    }

    /// Lets a server that was stopped go on, so that it can end in good order.
    pub(crate) fn wake(&mut self, server: Option<u32>) {
        if std::mem::take(&mut self.stopped) {
            send(server, Signal::SIGCONT);
        }
        self.wake_at = None;
    }
}

fn send(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_comes_back_from_its_own_json_as_it_was() {
        let stage = Stage {
            server: End { one_table: true, nofile: Some(300), groups: vec!["/g".into()], ..End::default() },
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
        let end = End { nofile: Some(300), ..End::default() };
        Stage { server: end.clone(), swarm: end, ..Stage::default() }.settle(&mut limits);
        assert_eq!((limits.server_nofile, limits.swarm_nofile), (Some(200), Some(300)));
    }

    #[test]
    fn a_limit_on_the_threads_of_one_end_is_the_one_that_binds() {
        let mut limits =
            HostSnapshot { nproc_bypassed: true, threads_left: Some(9_000), ..HostSnapshot::default() };
        Stage::default().settle(&mut limits);
        assert_eq!((limits.nproc_bypassed, limits.threads_left), (true, Some(9_000)));
        let swarm = End { more_threads: Some(6), ..End::default() };
        Stage { swarm, ..Stage::default() }.settle(&mut limits);
        assert_eq!((limits.nproc_bypassed, limits.threads_left), (false, Some(6)));
    }
}
