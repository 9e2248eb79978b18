//! The traps that only a real kernel sets, inside a network namespace of the test's own. Each case is a process of
//! its own and an ordinary user's, which enters the namespace before anything else, so that the kernel itself keeps
//! it from the machine's own settings.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is its own test harness")]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use c10k_kernel::namespace::{NamespaceError, enter_new};
use c10k_kernel::sysctl::{Scope, SysctlRoot};
use c10k_profile::{
    Applier, ApplyError, Drift, Here, Policy, Profile, Progress, Unsettable, Why, apply_in_own_namespace,
};

const CASE: &str = "C10K_TEST_CASE";
const STEP: &str = "C10K_TEST_STEP";
const JOURNAL: &str = "C10K_TEST_JOURNAL";
/// Set for a process that only looks at the journals.
const LOOKING: &str = "C10K_TEST_LOOKING";
const NOBODY: u32 = 65534;
/// The exit code of a case that could not be run here.
const SKIPPED: u8 = 77;

/// What a case does, given where its journal may lie.
type Case = fn(&Path);

const CASES: &[(&str, Case)] = &[
    ("every_namespace_setting_of_the_shipped_profiles_is_set_and_reads_back", shipped_profiles_apply),
    ("host_wide_settings_are_listed_and_not_touched_from_inside", host_wide_is_left_alone),
    ("a_value_refused_after_a_partial_change_is_restored_with_all_before_it", partial_change_is_restored),
    ("in_its_own_namespace_a_refused_value_is_listed_and_the_others_are_set", refused_is_listed),
    ("a_value_that_names_nothing_here_is_told_from_a_key_that_is_not_here", bad_value_is_no_bad_key),
    ("a_port_list_given_back_in_another_order_counts_as_applied", port_list_is_a_set),
    ("a_range_below_the_first_unprivileged_port_is_set_and_undone_in_order", ports_in_order),
    ("a_profile_comes_off_byte_for_byte", comes_off),
    ("a_process_killed_at_any_step_is_undone_from_its_journal", killed_at_any_step),
    ("a_journal_of_a_namespace_that_cannot_be_looked_into_is_left_alone", hidden_namespace),
];

fn main() -> ExitCode {
    let root = SysctlRoot::default();
    if std::env::var_os(LOOKING).is_some() {
        let journal = std::env::var_os(JOURNAL).unwrap();
        assert_eq!(here(Path::new(&journal)).roll_back(Drift::Report).unwrap(), []);
        return ExitCode::SUCCESS;
    }
    if let Ok(case) = std::env::var(CASE) {
        return run_case(&case);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list" || argument == "--ignored") {
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| {
        let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let outside = (root.read("net.core.somaxconn").ok(), root.read("fs.nr_open").ok());
    let mut failed = 0;
    for (name, _) in CASES.iter().filter(|(name, _)| wanted(name)) {
        let mut command = Command::new("/proc/self/exe");
        command.env(CASE, name);
        if c10k_kernel::limits::euid() == 0 {
            // Root's namespace would not keep a faulty program from the host-wide settings; an ordinary user's does.
            command.uid(NOBODY).gid(NOBODY);
        }
        let status = command.status().unwrap();
        let result = match status.code() {
            Some(0) => "ok",
            Some(code) if code == i32::from(SKIPPED) => "SKIPPED: no network namespace may be made here",
            _ => {
                failed += 1;
                "FAILED"
            }
        };
        println!("test {name} ... {result}");
    }
    assert_eq!((root.read("net.core.somaxconn").ok(), root.read("fs.nr_open").ok()), outside);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_case(name: &str) -> ExitCode {
    if let Ok(step) = std::env::var(STEP) {
        // Started inside the namespace already.
        be_killed_at(step.parse().unwrap(), Path::new(&std::env::var_os(JOURNAL).unwrap()));
        return ExitCode::SUCCESS;
    }
    match enter_new() {
        Ok(_) => {}
        Err(NamespaceError::Refused(_)) => return ExitCode::from(SKIPPED),
        Err(error) => panic!("{error}"),
    }
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    case(&folder.path().join("journal"));
    ExitCode::SUCCESS
}

fn profile(sysctls: &str) -> Profile {
    Profile::from_text(&format!("name = 'test'\nsummary = 'of a test'\n[sysctl]\n{sysctls}")).unwrap()
}

fn applier() -> Applier {
    Applier { run_id: "run".to_owned(), pid: std::process::id(), program: "c10k-test".to_owned() }
}

fn here(journal: &Path) -> Here {
    Here::now().unwrap().with_journal_in(journal)
}

fn value(key: &str) -> String {
    SysctlRoot::default().read(key).unwrap()
}

/// All keys of a profile that are here, with their text.
fn snapshot(profile: &Profile) -> BTreeMap<String, String> {
    let root = SysctlRoot::default();
    profile.keys().into_iter().filter_map(|key| Some((key.to_owned(), root.read(key).ok()?))).collect()
}

fn shipped_profiles_apply(_journal: &Path) {
    for (name, _) in Profile::shipped() {
        let profile = Profile::load(name).unwrap();
        let applied = apply_in_own_namespace(&profile, &SysctlRoot::default());
        for not_set in &applied.not_set {
            assert!(not_set.scope == Scope::Host || not_set.optional, "{name}: {not_set}");
        }
        if *name == "tuned" {
            assert_eq!(value("net.core.somaxconn"), "16384");
            assert_eq!(value("net.ipv4.tcp_rmem"), "4096\t131072\t1048576");
            assert_eq!(value("net.ipv4.ip_local_port_range"), "1024\t65535");
        }
        let again = apply_in_own_namespace(&profile, &SysctlRoot::default());
        assert_eq!(again.set, [], "{name}: all that can be set stands");
    }
}

fn host_wide_is_left_alone(journal: &Path) {
    let wanted = profile(
        "'fs.nr_open' = 1073741816\n'net.ipv4.tcp_mem' = [99999999, 99999999, 99999999]\n\
         'net.core.rmem_max' = 2000000000\n'net.core.somaxconn' = 5000",
    );
    let before = snapshot(&wanted);
    let policy = Policy { unsettable: Unsettable::Refuse, ..Policy::default() };
    let error = here(journal).apply(&wanted, &applier(), policy).unwrap_err();
    let ApplyError::Unsettable { not_set, .. } = &error else { panic!("{error}") };
    assert_eq!(not_set.len(), 3, "{error}");
    assert!(error.to_string().contains("global"), "{error}");
    assert_eq!(snapshot(&wanted), before, "all or nothing");

    let applied = apply_in_own_namespace(&wanted, &SysctlRoot::default());
    assert_eq!(applied.set.len(), 1);
    assert_eq!(applied.not_set.len(), 3);
    for not_set in &applied.not_set {
        assert!(matches!(not_set.why, Why::HostWide | Why::NotInThisNamespace), "{not_set}");
        assert!(not_set.command.as_deref().is_some_and(|c| c.starts_with("sudo sysctl -w '")), "{not_set}");
    }
    assert_eq!(value("fs.nr_open"), before["fs.nr_open"]);
}

/// The third field is beyond an int: the kernel says EINVAL and has taken the first two.
const PARTIAL: &str = "'net.ipv4.tcp_rmem' = [2048, 3000, 99999999999]";

fn partial_change_is_restored(journal: &Path) {
    let wanted = profile(&format!("'net.core.somaxconn' = 5000\n{PARTIAL}"));
    let before = snapshot(&wanted);
    assert!(SysctlRoot::default().write("net.ipv4.tcp_rmem", "2048 3000 99999999999").is_err());
    assert_ne!(snapshot(&wanted), before, "the trap is still there: refused, and yet changed");
    SysctlRoot::default().write("net.ipv4.tcp_rmem", &before["net.ipv4.tcp_rmem"]).unwrap();

    let error = here(journal).apply(&wanted, &applier(), Policy::default()).unwrap_err();
    let ApplyError::Refused { key, rolled_back, why, .. } = &error else { panic!("{error}") };
    assert_eq!(key, "net.ipv4.tcp_rmem");
    assert!(why.to_string().contains("EINVAL"), "{why}");
    assert_eq!(rolled_back.restored.len(), 1, "{error}");
    assert_eq!(snapshot(&wanted), before);
    assert!(!journal.exists());
}

fn refused_is_listed(_journal: &Path) {
    let wanted = profile(&format!(
        "{PARTIAL}\n'net.core.somaxconn' = 5000\n'net.ipv4.tcp_wmem' = [4096, 8192, 65536]"
    ));
    let before = value("net.ipv4.tcp_rmem");
    let applied = apply_in_own_namespace(&wanted, &SysctlRoot::default());
    assert_eq!(applied.set.len(), 2);
    assert_eq!(applied.not_set.len(), 1);
    assert!(matches!(applied.not_set[0].why, Why::Refused(_)), "{}", applied.not_set[0]);
    assert_eq!(value("net.ipv4.tcp_rmem"), before);
}

fn bad_value_is_no_bad_key(journal: &Path) {
    let before = value("net.ipv4.tcp_congestion_control");
    let wanted = profile("'net.ipv4.tcp_congestion_control' = 'nosuch'");
    let error = here(journal).apply(&wanted, &applier(), Policy::default()).unwrap_err();
    let ApplyError::Refused { why, .. } = &error else { panic!("{error}") };
    assert!(why.to_string().contains("names something that this kernel does not have"), "{why}");
    assert_eq!(value("net.ipv4.tcp_congestion_control"), before);
    let wanted = profile("'fs.nosuch' = 1");
    let error = here(journal).apply(&wanted, &applier(), Policy::default()).unwrap_err();
    assert!(matches!(error, ApplyError::UnknownKeys { .. }), "{error}");
}

fn port_list_is_a_set(journal: &Path) {
    let key = "net.ipv4.ip_local_reserved_ports";
    let wanted = profile("'net.ipv4.ip_local_reserved_ports' = '9000-9010,8080'");
    let guard = here(journal).apply(&wanted, &applier(), Policy::default()).unwrap();
    assert_eq!(value(key), "8080,9000-9010");
    let rolled_back = guard.roll_back();
    assert_eq!(rolled_back.drifted, [], "another spelling is no drift");
    assert_eq!(value(key), "");
}

fn ports_in_order(journal: &Path) {
    let wanted =
        profile("'net.ipv4.ip_local_port_range' = [500, 65535]\n'net.ipv4.ip_unprivileged_port_start' = 500");
    let before = snapshot(&wanted);
    let guard = here(journal).apply(&wanted, &applier(), Policy::default()).unwrap();
    assert_eq!(value("net.ipv4.ip_local_port_range"), "500\t65535");
    guard.roll_back();
    assert_eq!(snapshot(&wanted), before);

    let upwards = profile(
        "'net.ipv4.ip_local_port_range' = [40000, 65535]\n'net.ipv4.ip_unprivileged_port_start' = 35000",
    );
    let guard = here(journal).apply(&upwards, &applier(), Policy::default()).unwrap();
    assert_eq!(guard.changes.len(), 2);
    guard.roll_back();
    assert_eq!(snapshot(&wanted), before);
}

fn comes_off(journal: &Path) {
    for (name, _) in Profile::shipped() {
        let profile = Profile::load(name).unwrap();
        let before = snapshot(&profile);
        let guard = here(journal).apply(&profile, &applier(), Policy::default()).unwrap();
        assert_eq!(guard.changes.is_empty(), *name == "stock");
        let rolled_back = guard.roll_back();
        assert!(rolled_back.is_complete() && rolled_back.drifted.is_empty(), "{name}: {rolled_back}");
        assert_eq!(snapshot(&profile), before, "{name}");
    }
    assert!(!journal.exists());
}

fn be_killed_at(step: usize, journal: &Path) {
    let mut steps = 0;
    let here = here(journal).with_progress(move |_: Progress| {
        steps += 1;
        if steps == step {
            let status = Command::new("sh").args(["-c", "kill -9 $PPID"]).status();
            unreachable!("still alive after {status:?}");
        }
    });
    let profile = Profile::load("tuned").unwrap();
    here.apply(&profile, &applier(), Policy::default()).unwrap().roll_back();
}

fn killed_at_any_step(journal: &Path) {
    let tuned = Profile::load("tuned").unwrap();
    let before = snapshot(&tuned);
    let mut kills = 0;
    loop {
        let status = Command::new(std::env::current_exe().unwrap())
            .env(STEP, (kills + 1).to_string())
            .env(JOURNAL, journal)
            .status()
            .unwrap();
        if status.success() {
            break;
        }
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "killed, not failed");
        kills += 1;
        let pending = here(journal).pending().unwrap();
        assert!(pending.is_none_or(|pending| pending.holder.profile == "tuned"));
        here(journal).recover(Drift::Report).unwrap();
        assert_eq!(snapshot(&tuned), before, "killed after step {kills}");
        assert_eq!(here(journal).pending().unwrap(), None);
    }
    assert!(kills > 3 * 9, "killed {kills} times");
    assert_eq!(snapshot(&tuned), before);
}

/// A process in a sibling user namespace stands in a network namespace that this one cannot see.
fn hidden_namespace(journal: &Path) {
    let guard = here(journal).apply(&profile("'net.core.somaxconn' = 999"), &applier(), Policy::default());
    let guard = guard.unwrap();
    let file = || {
        let files = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.to_string_lossy().ends_with(".journal")).collect::<Vec<_>>()
    };
    let [ours] = &file()[..] else { panic!("one journal") };
    // Another command, in a user namespace of its own.
    let outcome = Command::new("unshare")
        .arg("-Urn")
        .arg(std::env::current_exe().unwrap())
        .env(LOOKING, "1")
        .env(JOURNAL, journal)
        .env_remove(CASE)
        .output()
        .unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert!(ours.exists(), "it is not for a command in another namespace to set it aside");
    guard.roll_back();
}
