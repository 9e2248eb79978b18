//! The server of a run, whoever started it.

use c10k_ceiling::ServerEnd;

use crate::processes::child::{Process, end_in_words};
use crate::processes::foreign::Foreign;
use crate::stage::Who;

/// The server of a run.
pub(crate) enum ServerSide {
    /// Started by the lab.
    Ours(Process),
    /// There before.
    Foreign(Foreign),
}

impl ServerSide {
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Ours(process) => Some(process.pid()),
            Self::Foreign(foreign) => foreign.pid,
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_))
    }

    /// Tells it something; false when nobody hears it. Nobody speaks to a server that is not ours.
    pub(crate) fn tell(&mut self, line: &str) -> bool {
        match self {
            Self::Ours(process) => process.tell(line),
            Self::Foreign(_) => false,
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
        }
    }

    pub(crate) fn wait_or_kill(&mut self, longest: std::time::Duration) {
        if let Self::Ours(process) = self {
            process.wait_or_kill(longest);
        }
    }
}
