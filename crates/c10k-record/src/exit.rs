//! The exit codes of every binary of the house.

use std::process::ExitCode;

/// How a command ended, as its exit code. The README has the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, all verdicts hold; for a server also after a signal that ends it in good order.
    Done,
    /// 1: short of the target, a verdict failed, or nobody answers.
    Short,
    /// 2: bad text: usage, plan or profile.
    BadText,
    /// 3: this host cannot: port taken, source not on this machine, target beyond what the sources allow,
    /// results not writable at the start.
    HostCannot,
    /// 4: the run broke: a child was killed, the disk is full, output could not be written; or what was changed on the
    /// host could not be put back.
    Broke,
    /// 130: the swarm or the lab was stopped by SIGINT.
    Interrupted,
    /// 143: the swarm or the lab was stopped by SIGTERM, SIGHUP or SIGQUIT.
    Terminated,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Short => 1,
            Self::BadText => 2,
            Self::HostCannot => 3,
            Self::Broke => 4,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// How a process that was stopped by this signal ends (signal(7)). A terminal that is gone and a SIGQUIT ask for what
    /// SIGTERM does.
    #[must_use]
    pub fn of_signal(number: i32) -> Self {
        if number == libc::SIGINT { Self::Interrupted } else { Self::Terminated }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_with_the_code_that_a_shell_gives_it() {
        for signal in [libc::SIGINT, libc::SIGTERM] {
            assert_eq!(i32::from(Exit::of_signal(signal).code()), 128 + signal);
        }
        for signal in [libc::SIGHUP, libc::SIGQUIT] {
            assert_eq!(Exit::of_signal(signal), Exit::Terminated);
        }
    }
}
