//! The profile on this host: limits and socket options for this process, sysctls where they may be set.

use std::time::Duration;

use c10k_kernel::limits::{self, Limit};
use c10k_kernel::sysctl::SysctlRoot;
use c10k_profile::{
    AppliedGuard, Applier, ApplyError, Change, Linger, Live, NofileLimit, NotSet, Policy, Profile, Settable,
    SocketOptions, apply_here, apply_limits, diff,
};
use c10k_record::Warning;
use socket2::TcpKeepalive;

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
    let profile = Profile::load(&args.profile)
        .map_err(|error| StartError::ProfileText { message: error.to_string(), hint: Some(error.hint()) })?;
    let mut warnings = Vec::new();
    let mut changes = Vec::new();
    let guard = if args.no_apply {
        warnings.extend(differences(&profile)?);
        None
    } else {
        let who = Applier {
            run_id: format!("server-{}", std::process::id()),
            pid: std::process::id(),
            program: "c10k-server".to_owned(),
        };
        let guard = apply_here(&profile, &who, Policy::default()).map_err(|error| refused(&error))?;
        warnings
            .extend(guard.recovered.iter().map(|recovery| Warning::new("recovered", recovery.to_string())));
        changes.extend(guard.changes.iter().map(change_line));
        warnings.extend(guard.not_set.iter().map(not_applied));
        Some(guard)
    };
    // The process's own limit is nobody else's affair: it is raised with --no-apply too.
    let applied = apply_limits(&profile);
    changes.extend(applied.set.iter().map(change_line));
    warnings.extend(applied.not_set.iter().map(not_applied));
    let nofile = match profile.limits.nofile {
        Some(NofileLimit::AtLeast(_)) => limits::nofile(),
        Some(NofileLimit::Hard) | None => limits::raise_nofile_soft_to_hard(),
    };
    let nofile = nofile.map_err(StartError::system("read RLIMIT_NOFILE"))?;
    let listener = listener_options(&profile.socket);
    warnings.extend(capped_backlog(listener.backlog, &SysctlRoot::default()));
    Ok(Prepared { nofile, listener, guard, warnings, changes })
}

fn differences(profile: &Profile) -> Result<Vec<Warning>, StartError> {
    if profile.sysctl.is_empty() {
        return Ok(Vec::new());
    }
    let live = Live::here(profile).map_err(StartError::system("read this process's limits"))?;
    let rows = diff(profile, &live).into_iter().filter(|row| profile.sysctl.contains_key(&row.setting));
    let warnings = rows.filter_map(|row| {
        let present = row.present.as_deref().unwrap_or("absent");
        let text = format!("{} is {present}, the profile wants {}", row.setting, row.wanted);
        match row.settable {
            Settable::AlreadySo => None,
            Settable::No { .. } if row.optional => None,
            Settable::Yes => {
                Some(with_command(text, Some(&format!("sudo sysctl -w '{}={}'", row.setting, row.wanted))))
            }
            Settable::No { why, command } => Some(with_command(format!("{text}: {why}"), command.as_deref())),
        }
    });
    Ok(warnings.collect())
}

fn refused(error: &ApplyError) -> StartError {
    let (message, hint) = (error.to_string(), Some(error.hint()));
    match error {
        ApplyError::BadValues { .. } => StartError::ProfileText { message, hint },
        _ => StartError::ProfileHere { message, hint },
    }
}

fn not_applied(not_set: &NotSet) -> Warning {
    with_command(not_set.to_string(), not_set.command.as_deref())
}

fn with_command(text: String, command: Option<&str>) -> Warning {
    let command = command.map_or_else(String::new, |command| format!("; `{command}` would set it"));
    Warning::new("profile-not-applied", text + &command)
}

fn change_line(change: &Change) -> String {
    format!("{}: {} -> {}", change.key, change.before, change.after)
}

fn listener_options(socket: &SocketOptions) -> ListenerOptions {
    let secs = |secs: u32| Duration::from_secs(u64::from(secs));
    ListenerOptions {
        backlog: socket.backlog.unwrap_or(DEFAULT_BACKLOG),
        rcvbuf_bytes: socket.rcvbuf_bytes.map(|bytes| bytes as usize),
        sndbuf_bytes: socket.sndbuf_bytes.map(|bytes| bytes as usize),
        nodelay: socket.nodelay,
        keepalive: socket.keepalive.map(|keepalive| {
            TcpKeepalive::new()
                .with_time(secs(keepalive.idle_secs))
                .with_interval(secs(keepalive.interval_secs))
                .with_retries(keepalive.probes)
        }),
        linger: socket.linger.map(|linger| match linger {
            Linger::Reset => Duration::ZERO,
            Linger::Secs(secs) => Duration::from_secs(u64::from(secs)),
        }),
        user_timeout: socket.user_timeout_ms.map(|ms| Duration::from_millis(u64::from(ms))),
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

    #[test]
    fn socket_options_reach_the_listener_and_what_is_not_named_is_not_set() {
        let text = "name = 'x'\nsummary = 'x'\n[socket]\nbacklog = 7\nnodelay = true\nlinger_secs = 'reset'\n\
                    keepalive = { idle_secs = 9, interval_secs = 2, probes = 3 }\nuser_timeout_ms = 1500";
        let options = listener_options(&Profile::from_text(text).unwrap().socket);
        assert_eq!((options.backlog, options.nodelay), (7, Some(true)));
        assert_eq!(options.linger, Some(Duration::ZERO));
        assert_eq!(options.user_timeout, Some(Duration::from_millis(1500)));
        assert!(options.keepalive.is_some() && options.rcvbuf_bytes.is_none());
        let stock = listener_options(&Profile::load("stock").unwrap().socket);
        assert_eq!((stock.backlog, stock.nodelay), (DEFAULT_BACKLOG, None));
    }
}
