//! A short calibration: a few thousand real connections of the lab's own server and swarm, over loopback, closed
//! again within seconds. It says how fast this machine connects, and by the processes' reports what a descriptor
//! table of theirs takes.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use c10k_collector::{Collector, CollectorConfig, account};
use c10k_kernel::cgroup::MemoryGroups;
use c10k_kernel::counters::ProcRoot;
use c10k_plan::stage::Who;
use c10k_record::{HostSnapshot, PhaseName, Protocol, ServerEvent, SwarmEvent};

use crate::collect::cpu::RampCpu;
use crate::collect::watch::{Mark, Watch};
use crate::host::describe::{note_server, note_swarm};
use crate::host::object_bytes::USER_BYTES;
use crate::processes::child::{Heard, Process};

/// Connections of each of the two growths: the first finds memory cold and tables to be made, the second does not.
const GROWTH: u64 = 3_000;
/// Of the second one in a memory group, whose usage is told in steps of many pages.
const GROWTH_IN_A_GROUP: u64 = 6_000;
/// The longest that anything here may take; a machine that needs more is not calibrated.
const LONGEST: Duration = Duration::from_secs(8);
/// Two ramps of one machine differ by so much at least, percent: warm and cold memory alone are a third.
const LEAST_RATE_UNCERTAINTY: u8 = 35;

/// What a calibration found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Calibration {
    /// Connections that were made for it.
    pub(crate) connections: u64,
    /// Connections a second, proven by an echo each.
    pub(crate) connects_per_second: f64,
    /// How far that may be off either way, percent.
    pub(crate) uncertainty_percent: u8,
    /// Processor time of a connection at each end, µs; softirq work is charged to the process that runs.
    pub(crate) server_us: Option<f64>,
    pub(crate) swarm_us: Option<f64>,
    /// Kernel memory of a connection, both ends, as it was measured; what else runs here shows in it.
    pub(crate) measured_pair_bytes: Option<f64>,
    /// The same of the connections that were made first, and of those that came then.
    pub(crate) measured_in_turn: Option<[f64; 2]>,
}

impl Calibration {
    /// Kernel and user memory of one connection, both ends, bytes.
    pub(crate) fn pair_bytes(&self) -> Option<f64> {
        self.measured_pair_bytes.map(|kernel| kernel + USER_BYTES.0 + USER_BYTES.1)
    }
}

/// Calibrates with `profile` where this process stands; `Err` says why that could not be done.
///
/// What the processes say of their tables when they are ready goes into `host`.
pub(crate) fn calibrate(
    profile: &str,
    protocol: Protocol,
    host: &mut HostSnapshot,
) -> Result<Calibration, String> {
    let until = Instant::now() + LONGEST;
    let mut ends = Ends::start(profile, protocol, host, until)?;
    let growth = GROWTH.min(ends.fits / 2).max(1);
    let mut watch = ends.watch()?;
    watch.await_quiet(Duration::from_millis(200));
    let ready = watch.mark(0);
    let mut group = Group::of(host, ends.server.pid());
    let second = if group.is_limited() {
        GROWTH_IN_A_GROUP.min(growth * 2).min(ends.fits.saturating_sub(growth)).max(1)
    } else {
        growth
    };
    let at_ready = group.charged_bytes();
    let first_rate = ends.grow(growth, until)?;
    watch.await_quiet(Duration::from_millis(200));
    let half = watch.mark(growth);
    let before = group.charged_bytes();
    let rates = [first_rate, ends.grow(second, until)?];
    if let (Some(at_ready), Some(before), Some(after)) = (at_ready, before, group.charged_bytes()) {
        host.cgroup_memory_used_bytes = Some(at_ready);
        host.cgroup_connection_bytes =
            Some(after.saturating_sub(before) / second.max(1)).filter(|bytes| *bytes > 0);
    }
    watch.await_quiet(Duration::from_millis(200));
    let connections = growth + second;
    let full = watch.mark(connections);
    let mut cpu = RampCpu::default();
    cpu.add(&ready.seen, &full.seen);
    let cpu = cpu.over(None, Some(connections), connections);
    let pair = |from: &Mark, to: &Mark, count: u64| {
        let memory = account(&from.memory, &to.memory, count, true);
        Some(memory.server_kernel_bytes? + memory.client_kernel_bytes?)
    };
    let in_turn = pair(&ready, &half, growth).zip(pair(&half, &full, second));
    let (connects_per_second, uncertainty_percent) = rate_of(rates);
    ends.stop();
    Ok(Calibration {
        connections,
        connects_per_second,
        uncertainty_percent,
        server_us: cpu.server_us_per_connection,
        swarm_us: cpu.swarm_us_per_connection,
        measured_pair_bytes: pair(&ready, &full, connections),
        measured_in_turn: in_turn.map(|(first, second)| [first, second]),
    })
}

/// A server and a swarm that are ready.
struct Ends {
    server: Process,
    swarm: Process,
    heard: Receiver<Heard>,
    listen: Vec<SocketAddr>,
    /// How many connections the tables of both ends take.
    fits: u64,
}

impl Ends {
    /// Starts both, and notes in `host` what they say of their tables.
    fn start(
        profile: &str,
        protocol: Protocol,
        host: &mut HostSnapshot,
        until: Instant,
    ) -> Result<Self, String> {
        let (sender, heard) = channel();
        let spoken = protocol.to_string();
        let start = |who: Who, own: &[&str]| {
            let shared = ["--profile", profile, "--no-apply", "--protocol", &spoken];
            let arguments: Vec<String> = shared.iter().chain(own).map(|word| (*word).to_owned()).collect();
            Process::start(who, &arguments, None, sender.clone())
                .map_err(|error| format!("the {} cannot be started: {error}", who.command()))
        };
        let server = start(Who::Server, &["--listen", "127.0.0.1:0"])?;
        let listen = loop {
            if let Heard::Server(ready) = next(&heard, until)? {
                note_server(host, &ready, None);
                let ServerEvent::Ready { listen, .. } = ready else { continue };
                break listen;
            }
        };
        let address = listen.first().ok_or("the server listens nowhere")?.to_string();
        let target = (GROWTH + GROWTH_IN_A_GROUP).to_string();
        let swarm =
            start(Who::Swarm, &["--server", &address, "--commanded", "--target", &target, "--close", "rst"])?;
        loop {
            if let Heard::Swarm(event) = next(&heard, until)?
                && let SwarmEvent::Ready { .. } = *event
            {
                note_swarm(host, &event);
                break;
            }
        }
        let room = |own: bool, each: Option<u64>| if own { u64::MAX } else { each.unwrap_or(0) };
        let fits = room(host.swarm_tables, host.swarm_per_table)
            .min(room(host.server_tables, host.server_per_table));
        Ok(Self { server, swarm, heard, listen, fits })
    }

    fn watch(&self) -> Result<Watch, String> {
        let config = CollectorConfig {
            server_pid: Some(self.server.pid()),
            swarm_pid: Some(self.swarm.pid()),
            ports: self.listen.iter().map(SocketAddr::port).collect(),
            ..CollectorConfig::default()
        };
        let collector = Collector::new(config).map_err(|error| error.to_string())?;
        Ok(Watch::new(collector, false))
    }

    /// Makes so many connections, and says how many a second that were.
    fn grow(&mut self, more: u64, until: Instant) -> Result<f64, String> {
        if !self.swarm.tell(&format!("grow {more}")) {
            return Err("the swarm ended".to_owned());
        }
        let mut begun = None;
        loop {
            let Heard::Swarm(event) = next(&self.heard, until)? else { continue };
            match *event {
                SwarmEvent::Phase { phase: PhaseName::Ramp, counts, .. } => {
                    begun = Some((Instant::now(), counts.verified));
                }
                SwarmEvent::Phase { phase: PhaseName::Hold, counts, .. } => {
                    let Some((begun, before)) = begun else { continue };
                    let made = counts.verified.saturating_sub(before);
                    if made < more {
                        return Err(format!("{made} of {more} connections could be made"));
                    }
                    return Ok(made as f64 / begun.elapsed().as_secs_f64().max(1e-6));
                }
                _ => {}
            }
        }
    }

    fn stop(&mut self) {
        for process in [&mut self.swarm, &mut self.server] {
            process.tell("stop");
            process.wait_or_kill(Duration::from_secs(2));
        }
    }
}

/// The memory group whose limit the snapshot has.
struct Group {
    folder: Option<String>,
    groups: Option<MemoryGroups>,
}

impl Group {
    fn of(host: &HostSnapshot, server_pid: u32) -> Self {
        Self {
            folder: host.cgroup_memory_folder.clone(),
            groups: MemoryGroups::of(&ProcRoot::default(), Some(server_pid)).ok().flatten(),
        }
    }

    fn is_limited(&self) -> bool {
        self.folder.is_some()
    }

    fn charged_bytes(&mut self) -> Option<u64> {
        let groups = self.groups.as_mut()?;
        let at = groups.folders().position(|one| Some(one.display().to_string()) == self.folder)?;
        groups.read()[at]?.charged_bytes()
    }
}

/// The mean of two rates, and how far it may be off.
fn rate_of([first, second]: [f64; 2]) -> (f64, u8) {
    let mean = f64::midpoint(first, second);
    let apart = (first - second).abs() / 2.0 / mean.max(1.0) * 100.0;
    (mean, (apart as u8).clamp(LEAST_RATE_UNCERTAINTY, 90))
}

fn next(heard: &Receiver<Heard>, until: Instant) -> Result<Heard, String> {
    match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(Heard::Ended(who)) => Err(format!("the {} ended before it was told to", who.command())),
        Ok(heard) => Ok(heard),
        Err(_) => Err(format!("it took longer than {} s", LONGEST.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rates_that_differ_say_so() {
        assert_eq!(rate_of([40_000.0, 40_000.0]), (40_000.0, LEAST_RATE_UNCERTAINTY));
        assert_eq!(rate_of([10_000.0, 90_000.0]), (50_000.0, 80));
    }
}
