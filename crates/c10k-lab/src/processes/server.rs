//! The server of a run, started by the lab or there before.

use c10k_ceiling::ServerEnd;
use c10k_kernel::namespace::Beside;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::stage::Who;
use c10k_record::{Host, HostSnapshot, LoadPlan, Plan, TwoHosts};

use crate::isolate::place::Place;
use crate::processes::child::{Process, end_in_words};
use crate::processes::far::Far;
use crate::processes::foreign::Foreign;
use crate::processes::peer::Peer;

/// A server that is there before the run.
#[derive(Debug)]
pub(crate) enum Found {
    /// On this machine.
    Foreign(Foreign),
    /// On another host, which answers for it.
    Far(Box<Far>),
}

impl Found {
    /// The place of the run.
    pub(crate) fn place(&self, plan: &Plan) -> Result<Place, Refusal> {
        match self {
            Self::Foreign(foreign) => foreign.place(plan),
            Self::Far(far) => far.place(plan),
        }
    }

    /// Its own limits in the place of those that a server of ours would have.
    pub(crate) fn limits(&self, load: &LoadPlan, limits: HostSnapshot) -> HostSnapshot {
        match self {
            Self::Foreign(foreign) => foreign.limits(load, limits),
            Self::Far(far) => far.limits(limits),
        }
    }

    /// The network namespace of this machine in which it stands, where that is not this one.
    pub(crate) fn elsewhere(&self) -> Option<&Beside> {
        match self {
            Self::Foreign(foreign) => foreign.elsewhere.as_ref(),
            Self::Far(_) => None,
        }
    }

    /// Both hosts for the record, of which `here` is the clients'; `None` where there is one.
    pub(crate) fn two_hosts(&self, here: Host) -> Option<TwoHosts> {
        match self {
            Self::Foreign(_) => None,
            Self::Far(far) => Some(far.two_hosts(here)),
        }
    }

    /// The limits of its host, where that is another one, and whether it is this machine all the same.
    pub(crate) fn limits_there(&self) -> Option<(&HostSnapshot, bool)> {
        match self {
            Self::Foreign(_) => None,
            Self::Far(far) => Some(far.limits_there()),
        }
    }
}

/// The server of a run.
pub(crate) enum ServerSide {
    /// Started by the lab.
    Ours(Process),
    /// There before.
    Foreign(Foreign),
    /// On another host.
    Far(Box<Peer>),
}

impl ServerSide {
    /// Its process, where that is one of this machine.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Ours(process) => Some(process.pid()),
            Self::Foreign(foreign) => foreign.pid,
            Self::Far(_) => None,
        }
    }

    /// The network namespace of this machine in which it stands, where that is not this one.
    pub(crate) fn elsewhere(&self) -> Option<&Beside> {
        match self {
            Self::Foreign(foreign) => foreign.elsewhere.as_ref(),
            Self::Ours(_) | Self::Far(_) => None,
        }
    }

    /// Whether it is one of this program, which says how many it has accepted.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::Ours(_) => true,
            Self::Foreign(_) => false,
            Self::Far(peer) => peer.speaks(),
        }
    }

    /// Whether its processes are looked for on this machine.
    pub(crate) fn is_to_be_found_here(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    /// The one that stands on another host.
    pub(crate) fn far(&self) -> Option<&Peer> {
        match self {
            Self::Far(peer) => Some(peer),
            Self::Ours(_) | Self::Foreign(_) => None,
        }
    }

    /// Tells it something; false when nobody hears it. Nobody speaks to a server that is not ours.
    pub(crate) fn tell(&mut self, line: &str) -> bool {
        match self {
            Self::Ours(process) => process.tell(line),
            Self::Foreign(_) => false,
            Self::Far(peer) => peer.tell(line),
        }
    }

    /// How it ended, and in words. Of a server that is not ours only that it is `gone` can be known.
    pub(crate) fn end(&mut self, gone: bool) -> Option<(ServerEnd, String)> {
        match self {
            Self::Ours(process) => {
                let status = process.ended()?;
                let signal = std::os::unix::process::ExitStatusExt::signal(&status);
                let end = signal.map_or(ServerEnd::Exited(status.code().unwrap_or(-1)), ServerEnd::Killed);
                Some((end, end_in_words(Who::Server, status)))
            }
            Self::Foreign(foreign) => gone.then(|| {
                (ServerEnd::Gone, format!("the server's process {} ended", foreign.pid.unwrap_or_default()))
            }),
            Self::Far(peer) => peer.end(),
        }
    }

    pub(crate) fn wait_or_kill(&mut self, longest: std::time::Duration) {
        if let Self::Ours(process) = self {
            process.wait_or_kill(longest);
        }
    }
}
