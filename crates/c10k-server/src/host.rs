//! The profile on this host: limits and socket options for this process, sysctls where they may be set.

use c10k_kernel::limits::Limit;
use c10k_kernel::sysctl::SysctlRoot;
use c10k_profile::{AppliedGuard, InForce, InForceError, put_in_force};
use c10k_record::{Exit, Warning};

use crate::args::ServerArgs;
use crate::listen::ListenerOptions;
use crate::start::StartError;

/// The backlog asked of listen(2) where the profile says nothing: what the kernel allows by default.
const DEFAULT_BACKLOG: u32 = 4096;

/// What the profile has made of this process and this host.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// RLIMIT_NOFILE as it stands now.
    pub(crate) nofile: Limit,
    pub(crate) listener: ListenerOptions,
    /// Puts the host's settings back when it is dropped.
    pub(crate) guard: Option<AppliedGuard>,
    /// What people should know, in the order of its becoming known.
    pub(crate) warnings: Vec<Warning>,
    /// What was changed, one line each.
    pub(crate) changes: Vec<String>,
}

/// Loads the profile and applies it as far as it may be, or only compares.
///
/// # Errors
/// When the profile cannot be used, or somebody else's settings are in the way.
pub(crate) fn prepare(args: &ServerArgs) -> Result<Prepared, StartError> {
    let InForce { profile, guard, nofile, in_run, mut warnings } =
        put_in_force(args.profile(), "c10k-server", !args.no_apply).map_err(|error| refused(&error))?;
    let listener = ListenerOptions {
        backlog: profile.socket.backlog.unwrap_or(DEFAULT_BACKLOG),
        socket: profile.socket,
    };
    // A parent has told that this setting of the profile is not in force.
    let is_told = args.parent.is_some() && profile.sysctl.contains_key("net.core.somaxconn");
    let capped = capped_backlog(listener.backlog, &SysctlRoot::default());
    warnings.extend(capped.filter(|_| !is_told));
    let changes = in_run.applied.iter().map(|set| format!("{}: {} -> {}", set.key, set.before, set.after));
    Ok(Prepared { nofile, listener, guard, warnings, changes: changes.collect() })
}

fn refused(error: &InForceError) -> StartError {
    let (message, hint) = (error.to_string(), error.hint());
    match error.exit() {
        Exit::BadText => StartError::ProfileText { message, hint },
        Exit::Broke => StartError::NotPutBack(Box::new(StartError::ProfileHere { message, hint })),
        _ => StartError::ProfileHere { message, hint },
    }
}

/// listen(2) silently takes the smaller of what is asked for and `net.core.somaxconn`.
fn capped_backlog(backlog: u32, root: &SysctlRoot) -> Option<Warning> {
    let somaxconn: u32 = root.read("net.core.somaxconn").ok()?.trim().parse().ok()?;
    (backlog > somaxconn).then(|| {
        Warning::new(
            "backlog-capped",
            format!(
                "a backlog of {backlog} is cut to {somaxconn}, which is net.core.somaxconn; \
                 `sudo sysctl -w net.core.somaxconn={backlog}` would allow it"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_above_somaxconn_is_told_with_the_present_value() {
        let folder = tempfile::tempdir().unwrap();
        let root = SysctlRoot::at(folder.path());
        std::fs::create_dir_all(folder.path().join("net/core")).unwrap();
        std::fs::write(folder.path().join("net/core/somaxconn"), "128\n").unwrap();
        let warning = capped_backlog(4096, &root).unwrap();
        assert_eq!(warning.id, "backlog-capped");
        assert!(
            warning.text.contains("128") && warning.text.contains("net.core.somaxconn=4096"),
            "{warning:?}"
        );
        assert_eq!(capped_backlog(128, &root), None);
    }
}
