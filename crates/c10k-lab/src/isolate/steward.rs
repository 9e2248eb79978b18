//! Settings that reach beyond a run's own namespace. A parent that stays in the machine's first network namespace
//! raises them, runs the lab as its child, and puts them back however that ends.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _, parent_id};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use c10k_kernel::process::{Signal, bind_to_this_process, own_executable};
use c10k_kernel::sysctl::{Scope, Scopes, SysctlRoot};
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::say::words::left_as_it_was;
use c10k_profile::{
    AppliedGuard, Applier, Here, InForceError, Live, Policy, Profile, Settable, State, SysctlValue,
    apply_here, diff, not_applied_warning, not_in_force, note,
};
use c10k_record::{Exit, ProfileInRun, Warning};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::kill;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::isolate::place::Place;
use crate::signals::ending_signals;

/// How the child hears from its steward what stands outside its namespace: as JSON.
const WORD: &str = "C10K_LAB_HOST_WIDE";
/// How long server and swarm may take to end once the lab's process was killed.
const ORPHANS: Duration = Duration::from_secs(15);

/// Who carries out the run.
pub(crate) enum Stewarded {
    /// This process.
    Here(HostWide),
    /// A child did, and it is done.
    Done(Exit),
}

/// What is known of the profile's host-wide settings, from where they can be seen.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct HostWide {
    /// The keys that were looked at.
    keys: Vec<String>,
    profile: ProfileInRun,
    warnings: Vec<Warning>,
}

/// Looks after the profile's host-wide settings, before this process enters a namespace or starts a thread. When
/// there is something to raise, and this user may, the run is carried out by a child meanwhile.
pub(crate) fn host_wide(profile: Option<&Profile>, printer: &mut Printer) -> Result<Stewarded, Refusal> {
    if let Some(word) = HostWide::from_the_steward() {
        return Ok(Stewarded::Here(word));
    }
    let Some(profile) = profile else {
        return Ok(Stewarded::Here(HostWide::default()));
    };
    let scopes = Scopes::learn(&profile.keys());
    // Numbers only: of nothing else can be said which way is up.
    let part = profile.sysctls_only(|key, wanted| {
        let is_certain = !scopes.guessed() || !key.starts_with("net.");
        is_certain && scopes.of(key) == Scope::Host && matches!(wanted.value, SysctlValue::Integers(_))
    });
    let live = Live::at(SysctlRoot::default(), scopes)
        .map_err(|error| Refusal::host(format!("cannot read what this process may do: {error}"), ""))?;
    let is_ours_to_raise = live.is_first_namespace() && !part.sysctl.is_empty();
    let rows = if is_ours_to_raise { diff(&part, &live) } else { Vec::new() };
    if rows.iter().any(|row| row.settable == Settable::Yes) || is_held(&part) {
        return raise(&part, printer);
    }
    if !is_ours_to_raise {
        return Ok(Stewarded::Here(HostWide::default()));
    }
    let in_run = ProfileInRun { not_applied: not_in_force(&part, &live), ..ProfileInRun::default() };
    Ok(Stewarded::Here(HostWide::of(&part, in_run)))
}

/// Whether this process is the child of a steward.
pub(crate) fn is_stewarded() -> bool {
    HostWide::from_the_steward().is_some()
}

impl HostWide {
    /// Puts what is known from outside in the place of what can be seen from inside.
    pub(crate) fn complete(&self, mut place: Place) -> Place {
        let is_known = |key: &String| self.keys.contains(key);
        let (known, other) =
            std::mem::take(&mut place.profile.not_applied).into_iter().partition(|not| is_known(&not.key));
        place.profile.not_applied = other;
        let known: Vec<Warning> = Vec::from_iter(known).iter().map(not_applied_warning).collect();
        place.warnings.retain(|warning| !known.contains(warning));
        place.profile.applied.splice(0..0, self.profile.applied.iter().cloned());
        place.profile.not_applied.extend(self.profile.not_applied.iter().cloned());
        place.warnings.extend(self.warnings.iter().cloned());
        place.warnings.extend(self.profile.not_applied.iter().map(not_applied_warning));
        place
    }

    fn of(part: &Profile, profile: ProfileInRun) -> Self {
        Self { keys: part.sysctl.keys().cloned().collect(), profile, warnings: Vec::new() }
    }

    /// The word of the parent; one that another process left in the environment is none.
    fn from_the_steward() -> Option<Self> {
        Self::from_word(&std::env::var(WORD).ok()?, parent_id())
    }

    fn from_word(word: &str, parent: u32) -> Option<Self> {
        let (steward, keys, profile, warnings) = serde_json::from_str(word).ok()?;
        let steward: u32 = steward;
        (steward == parent).then_some(Self { keys, profile, warnings })
    }

    fn to_word(&self, steward: u32) -> String {
        serde_json::to_string(&(steward, &self.keys, &self.profile, &self.warnings)).unwrap_or_default()
    }
}

/// Whether somebody has set some of this already, so that it would go when they do: then it is relied upon, which
/// takes a steward too.
fn is_held(part: &Profile) -> bool {
    let standing = Here::now().ok().and_then(|here| here.standing().ok()).unwrap_or_default();
    standing.iter().filter(|journal| journal.here).any(|journal| {
        let mut settings = journal.settings.iter().filter(|setting| setting.state != State::Drifted);
        settings.any(|setting| part.sysctl.contains_key(&setting.key))
    })
}

fn raise(part: &Profile, printer: &mut Printer) -> Result<Stewarded, Refusal> {
    // Before anything is changed, so that a signal finds somebody who puts it back. A child that ends is one too.
    let signals = Signals::new(ending_signals().chain([SIGCHLD]))
        .map_err(|error| Refusal::host(format!("cannot watch for signals: {error}"), ""))?;
    let pid = std::process::id();
    let who = Applier { run_id: format!("c10k-lab-{pid}"), pid, program: "c10k-lab run".to_owned() };
    let guard = apply_here(part, &who, Policy::default()).map_err(|error| {
        let error = InForceError::from(error);
        Refusal { message: error.to_string(), hint: error.hint(), exit: error.exit() }
    })?;
    let mut in_run = ProfileInRun::default();
    note(&mut in_run, &guard.changes, &guard.not_set);
    let mut word = HostWide::of(part, in_run);
    word.warnings.extend(guard.recovered.iter().map(|it| Warning::new("recovered", it.to_string())));
    if !guard.holds_settings() {
        return Ok(Stewarded::Here(word));
    }
    let changes: Vec<String> = guard
        .changes
        .iter()
        .map(|change| format!("{} {} -> {}", change.key, change.before, change.after))
        .collect();
    printer.note(&format!("note: for the whole host, while the run lasts: {}", changes.join(", ")));
    let ended = attend(&word, signals);
    let is_back = put_back(guard, printer);
    let exit = match ended {
        Ok(status) => exit_of(status, printer),
        Err(error) => {
            let hint = "prlimit --nproc shows how many processes this user may have";
            printer.error(
                &format!("the run's own process cannot be started or waited for: {error}"),
                Some(hint),
            );
            Exit::HostCannot
        }
    };
    Ok(Stewarded::Done(left_as_it_was(exit, is_back)))
}

/// Runs this command again as a child that is told `word`, hands signals on, and waits for its end.
fn attend(word: &HostWide, mut signals: Signals) -> io::Result<ExitStatus> {
    let mut arguments = std::env::args_os();
    let mut command = Command::new(own_executable());
    command
        .arg0(arguments.next().unwrap_or_else(|| "c10k-lab".into()))
        .args(arguments)
        .env(WORD, word.to_word(std::process::id()))
        // A Ctrl-C on the terminal comes to this process alone, which hands it on once.
        .process_group(0);
    bind_to_this_process(&mut command, Signal::Terminate);
    // Should the child be killed, its own children are waited for here.
    let reaps = set_child_subreaper(true).is_ok();
    let mut child = command.spawn()?;
    let ended = to_its_end(&mut child, |child| {
        for signal in signals.wait() {
            hand_on(signal, child);
        }
        child.try_wait()
    });
    if reaps && ended.as_ref().map_or(true, |status| status.code().is_none()) {
        wait_for_orphans();
    }
    ended
}

/// Waits until a look at the child says how it ended. One that cannot be looked at is killed: what it relies on does not
/// go before it does.
fn to_its_end(
    child: &mut Child,
    mut look: impl FnMut(&mut Child) -> io::Result<Option<ExitStatus>>,
) -> io::Result<ExitStatus> {
    loop {
        match look(child) {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        }
    }
}

fn hand_on(signal: i32, child: &Child) {
    let handed = match signal {
        SIGCHLD => return,
        SIGINT => nix::sys::signal::Signal::SIGINT,
        // SIGHUP and SIGQUIT ask for what SIGTERM does.
        _ => nix::sys::signal::Signal::SIGTERM,
    };
    if let Ok(pid) = i32::try_from(child.id()) {
        // It may have ended just now; it is not reaped yet, so its pid is still its own.
        let _ = kill(Pid::from_raw(pid), handed);
    }
}

/// Server and swarm end with the lab; they are given the time.
fn wait_for_orphans() {
    let until = Instant::now() + ORPHANS;
    while Instant::now() < until {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(20)),
            Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// False when something could not be put back. What somebody else has changed meanwhile is left to them.
fn put_back(guard: AppliedGuard, printer: &mut Printer) -> bool {
    let rolled_back = guard.roll_back();
    if rolled_back.is_complete() {
        printer.note(&format!("note: host-wide settings: {rolled_back}"));
        return true;
    }
    printer.error(&rolled_back.to_string(), Some(&rolled_back.commands().join(" && ")));
    false
}

fn exit_of(status: ExitStatus, printer: &mut Printer) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => [
            Exit::Done,
            Exit::Short,
            Exit::BadText,
            Exit::HostCannot,
            Exit::Broke,
            Exit::Interrupted,
            Exit::Terminated,
        ]
        .into_iter()
        .find(|exit| i32::from(exit.code()) == code)
        .unwrap_or(Exit::Broke),
        // A signal that was handed on before the child could watch for it.
        (None, Some(SIGINT)) => Exit::Interrupted,
        (None, Some(SIGTERM)) => Exit::Terminated,
        (None, signal) => {
            let signal = signal.map_or_else(|| "a signal".to_owned(), |signal| format!("signal {signal}"));
            printer.error(&format!("the run's own process was killed by {signal}"), None);
            Exit::Broke
        }
    }
}

#[cfg(test)]
mod tests {
    use c10k_kernel::namespace::Seen;
    use c10k_record::{AppliedSetting, NotApplied};

    use super::*;

    fn not_applied(key: &str, why: &str) -> NotApplied {
        NotApplied {
            key: key.to_owned(),
            wanted: "9".to_owned(),
            present: None,
            scope: c10k_record::Scope::Host,
            why: why.to_owned(),
            command: None,
        }
    }

    fn word() -> HostWide {
        let applied = AppliedSetting { key: "fs.nr_open".into(), before: "1".into(), after: "9".into() };
        HostWide {
            keys: vec!["fs.nr_open".into(), "net.ipv4.tcp_max_orphans".into(), "net.ipv4.tcp_mem".into()],
            profile: ProfileInRun {
                applied: vec![applied],
                not_applied: vec![not_applied("net.ipv4.tcp_mem", "seen from outside")],
                ..ProfileInRun::default()
            },
            warnings: vec![Warning::new("recovered", "something")],
        }
    }

    #[test]
    fn the_word_of_a_steward_arrives_whole_and_only_from_the_parent() {
        assert_eq!(HostWide::from_word(&word().to_word(7), 7), Some(word()));
        assert_eq!(HostWide::from_word(&word().to_word(7), 8), None, "of another process");
        assert_eq!(HostWide::from_word("[7, nonsense", 7), None);
    }

    #[test]
    fn what_is_known_from_outside_takes_the_place_of_what_is_seen_from_inside() {
        let inside = [
            not_applied("net.ipv4.tcp_max_orphans", "absent here"),
            not_applied("net.ipv4.tcp_mem", "absent here"),
            not_applied("net.core.somaxconn", "refused"),
        ];
        let place = Place {
            isolation: None,
            warnings: inside.iter().map(not_applied_warning).collect(),
            profile: ProfileInRun { not_applied: inside.to_vec(), ..ProfileInRun::default() },
            far: None,
            neighbours: None,
            in_force: None,
        };
        let place = word().complete(place);
        let left: Vec<(&str, &str)> =
            place.profile.not_applied.iter().map(|not| (not.key.as_str(), not.why.as_str())).collect();
        assert_eq!(left, [("net.core.somaxconn", "refused"), ("net.ipv4.tcp_mem", "seen from outside")]);
        assert_eq!(place.profile.applied, word().profile.applied);
        let ids: Vec<&str> = place.warnings.iter().map(|warning| warning.id.as_str()).collect();
        assert_eq!(ids, ["profile-not-applied", "recovered", "profile-not-applied"]);
    }

    #[test]
    fn a_setting_that_cannot_be_put_back_is_told_and_one_that_somebody_changed_is_theirs() {
        let profile =
            Profile::from_text("name = 'x'\nsummary = 'x'\n[sysctl]\n'net.core.somaxconn' = 9").unwrap();
        let mut printer = Printer::new(c10k_plan::say::color::Color::Never);
        let mut is_back_after = |meddle: fn(&std::path::Path)| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("sys/net/core/somaxconn");
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "5\n").unwrap();
            let root = SysctlRoot::at(folder.path().join("sys"));
            // Of a namespace, since this one need not be the first.
            let scopes = Scopes::from_listing(&["net.core.somaxconn"], Some(&[Seen::Writable]));
            let here = Here::at(root, scopes, folder.path().join("journal")).unwrap();
            let who = Applier { run_id: "x".into(), pid: std::process::id(), program: "test".into() };
            let guard = here.apply(&profile, &who, Policy::default()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "9");
            meddle(&file);
            put_back(guard, &mut printer)
        };
        assert!(is_back_after(|_| {}));
        assert!(is_back_after(|file| std::fs::write(file, "7\n").unwrap()), "drift");
        assert!(!is_back_after(|file| std::fs::remove_file(file).unwrap()), "it is gone");
    }

    #[test]
    fn a_child_that_cannot_be_looked_at_has_ended_before_anything_goes_back() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut looks = 0;
        let ended = to_its_end(&mut child, |child| {
            looks += 1;
            if looks < 3 { child.try_wait() } else { Err(io::ErrorKind::Other.into()) }
        });
        assert!(ended.is_err() && looks == 3);
        assert_eq!(child.try_wait().unwrap().and_then(|status| status.signal()), Some(9));
    }

    #[test]
    fn a_host_that_is_not_as_it_was_is_the_exit_code_however_well_it_went() {
        for exit in [Exit::Done, Exit::Short, Exit::HostCannot, Exit::Interrupted] {
            assert_eq!((left_as_it_was(exit, true), left_as_it_was(exit, false)), (exit, Exit::Broke));
        }
    }

    #[test]
    fn what_the_run_ended_with_is_what_its_steward_ends_with() {
        use std::os::unix::process::ExitStatusExt as _;
        let mut printer = Printer::new(c10k_plan::say::color::Color::Never);
        let mut exit = |raw: i32| exit_of(ExitStatus::from_raw(raw), &mut printer);
        for (code, expected) in [
            (0, Exit::Done),
            (1, Exit::Short),
            (3, Exit::HostCannot),
            (130, Exit::Interrupted),
            (77, Exit::Broke),
        ] {
            assert_eq!(exit(code << 8), expected);
        }
        assert_eq!(
            (exit(SIGTERM), exit(SIGINT), exit(9)),
            (Exit::Terminated, Exit::Interrupted, Exit::Broke)
        );
    }
}
