//! What happens while a run is under way.

use std::time::{Duration, Instant};

use c10k_kernel::address;
use c10k_plan::stage::{Act, Stage, What, When};
use c10k_record::{LiveCounts, PhaseName};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::Socket;

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
