//! Settings that several rely on, settings that outlive who set them, and what goes wrong with their journal.

mod common;

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, Mutex};

use c10k_kernel::files::{Operation, with_faults};
use c10k_profile::{Applier, ApplyError, Drift, Here, Kept, Policy, Profile, Progress, Recovery, State};
use common::{Machine, applier, profile};

const SOMAXCONN: &str = "net.core.somaxconn";
const SOME: &str = "'net.core.somaxconn' = 16384\n'net.ipv4.tcp_rmem' = [4096, 131072, 1048576]";

fn keep(machine: &Machine, wanted: &Profile) -> Result<Kept, ApplyError> {
    machine.here().apply_until_roll_back(wanted, &applier("kept"), Policy::default())
}

/// A process that sleeps, to be somebody who applies.
fn sleeper() -> Child {
    Command::new("sleep").arg("300").stdin(Stdio::null()).spawn().unwrap()
}

fn named(run_id: &str, pid: u32) -> Applier {
    Applier { pid, ..applier(run_id) }
}

#[test]
fn what_two_rely_on_goes_back_with_the_last_of_them() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let first = machine.apply(&profile(SOME)).unwrap();
    let second = machine.here().apply(&profile(SOME), &applier("second"), Policy::default()).unwrap();
    assert!(second.changes.is_empty() && second.holds_settings());
    let left = first.roll_back();
    assert!(left.restored.is_empty(), "{left}");
    assert_eq!(left.still_held.len(), 2, "{left}");
    assert!(left.to_string().contains("run second"), "{left}");
    assert_eq!(machine.value(SOMAXCONN), "16384");
    let last = second.roll_back();
    assert_eq!((last.restored.len(), last.still_held.len()), (2, 0));
    assert_eq!(machine.snapshot(), before);
    assert!(!machine.journal_folder().exists());
}

#[test]
fn two_with_wishes_that_do_not_touch_stand_side_by_side_and_each_takes_off_its_own() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let one = machine.apply(&profile(SOME)).unwrap();
    let both = "'net.ipv4.tcp_rmem' = [4096, 131072, 1048576]\n'fs.nr_open' = 2097152";
    let other = machine.here().apply(&profile(both), &applier("other"), Policy::default()).unwrap();
    assert_eq!(other.changes.len(), 1);
    assert_eq!(one.roll_back().restored.len(), 1, "only what the other one does not want");
    assert_eq!(machine.value(SOMAXCONN), "4096");
    assert_eq!(machine.value("net.ipv4.tcp_rmem"), "4096 131072 1048576");
    assert_eq!(other.roll_back().restored.len(), 2);
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn who_wants_nothing_of_it_neither_waits_for_it_nor_keeps_it() {
    let machine = Machine::new();
    let one = machine.apply(&profile(SOME)).unwrap();
    // It stands already, but by nobody's doing.
    let other = profile("'fs.nr_open' = 1048576");
    let other = machine.here().apply(&other, &applier("other"), Policy::default()).unwrap();
    assert!(!other.holds_settings());
    one.roll_back();
    assert_eq!(machine.value(SOMAXCONN), "4096");
}

#[test]
fn a_holder_that_is_dead_does_not_count_even_before_anybody_has_waited_for_it() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let mut process = sleeper();
    let theirs =
        machine.here().apply(&profile(SOME), &named("theirs", process.id()), Policy::default()).unwrap();
    std::mem::forget(theirs);
    assert_eq!(machine.here().pending().unwrap(), None, "its process lives");
    assert_eq!(machine.here().recover(Drift::Report).unwrap(), []);
    assert_eq!(machine.value(SOMAXCONN), "16384");

    process.kill().unwrap();
    // A zombie from here on: it is dead, and its pid is still there.
    while machine.here().pending().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // What it had set is put back and then set anew, by somebody who lives.
    let ours = machine.apply(&profile(SOME)).unwrap();
    assert!(matches!(&ours.recovered[..], [Recovery::Restored { .. }]), "{:?}", ours.recovered);
    assert_eq!(ours.changes.len(), 2);
    drop(ours);
    assert_eq!(machine.snapshot(), before);
    process.wait().unwrap();
}

#[test]
fn a_living_holder_is_never_taken_for_dead_from_another_pid_or_time_namespace() {
    let machine = Machine::new();
    let guard = machine.apply(&profile(SOME)).unwrap();
    let path = machine.journal_folder().join(&machine.journals()[0]);
    // As it looks from where its pid and its start mean nothing, or another process.
    let mut journal: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (pid, namespace) in [(4_194_303, 1), (1, 1)] {
        let holder = &mut journal["holders"][0];
        (holder["pid"], holder["start_time"], holder["pid_namespace"]) =
            (pid.into(), 7.into(), namespace.into());
        std::fs::write(&path, journal.to_string()).unwrap();
        assert_eq!(machine.here().recover(Drift::Report).unwrap(), []);
        assert_eq!(machine.here().pending().unwrap(), None);
        assert_eq!(machine.value(SOMAXCONN), "16384");
    }
    assert!(
        machine.here().standing().unwrap()[0].holders[0].to_string().contains("of another pid namespace")
    );
    // Without its lock it cannot be seen, which is not to say that it is gone.
    for entry in std::fs::read_dir(machine.journal_folder()).unwrap().flatten() {
        if entry.file_name().to_string_lossy().contains(".holder-") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    assert_eq!(machine.here().recover(Drift::Report).unwrap(), []);
    assert_eq!(machine.value(SOMAXCONN), "16384");
    assert_eq!(guard.roll_back().restored.len(), 2);
}

#[test]
fn a_value_that_goes_back_while_another_one_looks_is_not_taken_for_one_that_stays() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let mut first = Some(machine.apply(&profile(SOME)).unwrap());
    let here = machine.here();
    // The other one has read the values, and asks for journals only now.
    let hook = move |operation, _: &std::path::Path| {
        if operation == Operation::List
            && let Some(first) = first.take()
        {
            std::thread::spawn(move || first.roll_back()).join().unwrap();
        }
        None
    };
    let second =
        with_faults(hook, || here.apply(&profile(SOME), &applier("second"), Policy::default())).unwrap();
    assert_eq!(second.changes.len(), 2);
    assert_eq!(machine.value(SOMAXCONN), "16384");
    second.roll_back();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_dead_one_among_two_does_not_keep_settings_in_force() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let mut process = sleeper();
    let ours = machine.apply(&profile(SOME)).unwrap();
    let who = named("theirs", process.id());
    std::mem::forget(machine.here().apply(&profile(SOME), &who, Policy::default()).unwrap());
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(machine.here().pending().unwrap(), None, "somebody alive wants it too");
    ours.roll_back();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn what_is_kept_outlives_who_set_it_until_it_is_rolled_back() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let kept = keep(&machine, &profile(SOME)).unwrap();
    assert_eq!((kept.changes.len(), kept.since), (2, None));
    assert_eq!(machine.value(SOMAXCONN), "16384");
    assert_eq!(machine.here().pending().unwrap(), None, "nobody has left it behind");
    assert_eq!(machine.here().recover(Drift::Report).unwrap(), []);
    let standing = machine.here().standing().unwrap();
    assert!(standing[0].holders[0].kept && standing[0].settings.iter().all(|s| s.state == State::InForce));

    let again = keep(&machine, &profile(SOME)).unwrap();
    assert!(again.changes.is_empty() && again.since.is_some());
    let error = machine.apply(&profile("'net.core.somaxconn' = 999")).unwrap_err();
    assert!(error.to_string().contains("applied by `profile apply` at 2"), "{error}");
    assert!(error.hint().contains("profile rollback"), "{}", error.hint());

    let recovered = machine.here().roll_back(Drift::Report).unwrap();
    let [Recovery::Restored { roll_back, .. }] = &recovered[..] else { panic!("{recovered:?}") };
    assert_eq!(roll_back.restored.len(), 2);
    assert_eq!(machine.snapshot(), before);
    assert!(!machine.journal_folder().exists());
    assert_eq!(machine.here().roll_back(Drift::Report).unwrap(), [], "there is nothing to do any more");
}

#[test]
fn what_is_kept_stays_after_a_roll_back_as_long_as_a_process_relies_on_it() {
    let machine = Machine::new();
    let before = machine.snapshot();
    keep(&machine, &profile(SOME)).unwrap();
    let guard = machine.apply(&profile("'net.core.somaxconn' = 16384")).unwrap();
    let recovered = machine.here().roll_back(Drift::Report).unwrap();
    let [Recovery::Restored { roll_back, .. }] = &recovered[..] else { panic!("{recovered:?}") };
    assert_eq!(roll_back.restored.len(), 1, "{roll_back}");
    assert_eq!(machine.value(SOMAXCONN), "16384");
    guard.roll_back();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn what_a_process_has_set_can_be_kept_beyond_its_end() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let guard = machine.apply(&profile(SOME)).unwrap();
    let kept = keep(&machine, &profile(SOME)).unwrap();
    assert!(kept.changes.is_empty());
    drop(guard);
    assert_eq!(machine.value(SOMAXCONN), "16384");
    machine.here().roll_back(Drift::Report).unwrap();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn drift_is_left_alone_by_a_roll_back_and_put_back_by_force_later() {
    let machine = Machine::new();
    let before = machine.snapshot();
    keep(&machine, &profile(SOME)).unwrap();
    machine.set(SOMAXCONN, "777");
    let recovered = machine.here().roll_back(Drift::Report).unwrap();
    let [Recovery::Restored { roll_back, .. }] = &recovered[..] else { panic!("{recovered:?}") };
    assert_eq!((roll_back.restored.len(), roll_back.drifted.len()), (1, 1));
    assert_eq!(machine.value(SOMAXCONN), "777");
    assert_eq!(
        machine.here().roll_back(Drift::Report).unwrap(),
        [],
        "the second time there is nothing to do"
    );
    let standing = machine.here().standing().unwrap();
    assert_eq!(standing[0].settings.iter().map(|s| s.state).collect::<Vec<_>>(), [State::Drifted]);

    let recovered = machine.here().roll_back(Drift::Restore).unwrap();
    let [Recovery::Restored { roll_back, .. }] = &recovered[..] else { panic!("{recovered:?}") };
    assert!(roll_back.drifted[0].overwritten);
    assert_eq!(machine.snapshot(), before);
    assert_eq!(machine.journals(), [] as [&str; 0]);
}

#[test]
fn drift_that_somebody_undoes_is_forgotten() {
    let machine = Machine::new();
    keep(&machine, &profile(SOME)).unwrap();
    machine.set(SOMAXCONN, "777");
    machine.here().roll_back(Drift::Report).unwrap();
    machine.set(SOMAXCONN, "4096");
    assert_eq!(machine.here().roll_back(Drift::Report).unwrap(), []);
    assert_eq!(machine.journals(), [] as [&str; 0]);
}

#[test]
fn without_host_wide_the_rest_is_set_and_with_it_all_or_nothing() {
    let machine = Machine::in_a_child_namespace();
    let wanted = profile(&format!("{SOME}\n'net.ipv4.tcp_mem' = [900000, 900000, 900000]"));
    let before = machine.snapshot();
    let policy =
        |host_wide| Policy { unsettable: c10k_profile::Unsettable::Refuse, host_wide, ..Policy::default() };
    let error = machine.here().apply_until_roll_back(&wanted, &applier("k"), policy(true)).unwrap_err();
    assert!(error.to_string().contains("global, needs the machine's first one"), "{error}");
    assert_eq!(machine.snapshot(), before);
    let kept = machine.here().apply_until_roll_back(&wanted, &applier("k"), policy(false)).unwrap();
    assert_eq!((kept.changes.len(), kept.not_set.len()), (2, 1));
    machine.here().roll_back(Drift::Report).unwrap();
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_journal_taken_away_or_damaged_while_its_process_lives_does_not_keep_it_from_putting_things_back() {
    type Harm = fn(&std::path::Path);
    let harms: [Harm; 3] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, "{\"version\":2,").unwrap(),
        |path| {
            let text = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, text.replace("\"boot_id\":\"", "\"boot_id\":\"0")).unwrap();
        },
    ];
    for harm in harms {
        let machine = Machine::new();
        let before = machine.snapshot();
        let guard = machine.apply(&profile(SOME)).unwrap();
        harm(&machine.journal_folder().join(&machine.journals()[0]));
        assert_eq!(guard.roll_back().restored.len(), 2);
        assert_eq!(machine.snapshot(), before);
    }
}

#[test]
fn when_the_journal_cannot_be_written_on_in_the_middle_what_was_written_is_put_back() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let folder = machine.journal_folder();
    let seen = Arc::new(Mutex::new(0));
    let changed = Arc::clone(&seen);
    let here = machine.here().with_progress(move |progress| {
        if progress == Progress::Wrote(0) {
            // As on a full disk: the next version of the journal cannot be made.
            for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                if entry.path().extension().is_some_and(|extension| extension == "journal") {
                    std::fs::create_dir(entry.path().with_extension("journal.new")).unwrap();
                    *changed.lock().unwrap() += 1;
                }
            }
        }
    });
    let error = here.apply(&profile(SOME), &applier("full"), Policy::default()).unwrap_err();
    assert!(matches!(error, ApplyError::Interrupted { .. }), "{error}");
    assert!(error.to_string().ends_with("1 setting put back"), "what came of it is told: {error}");
    assert_eq!(*seen.lock().unwrap(), 1);
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_journal_of_another_namespace_that_lives_is_left_there_and_the_way_to_it_is_named() {
    let Ok(mut inside) = Command::new("unshare").args(["-Urn", "sleep", "300"]).spawn() else {
        return skipped();
    };
    let own = c10k_kernel::namespace::network_inode().unwrap();
    let door = format!("/proc/{}/ns/net", inside.id());
    let theirs = (0..1000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let inode = std::fs::metadata(&door).ok()?.ino();
        let is_up = std::fs::read_to_string(format!("/proc/{}/comm", inside.id())).ok()? == "sleep\n";
        (is_up && inode != own).then_some(inode)
    });
    let Some(theirs) = theirs else {
        let _ = (inside.kill(), inside.wait());
        return skipped();
    };
    let machine = Machine::new();
    keep(&machine, &profile(SOME)).unwrap();
    let path = machine.journal_folder().join(&machine.journals()[0]);
    let text = std::fs::read_to_string(&path).unwrap();
    let (mine, others) = (format!("\"net_namespace\":{own}"), format!("\"net_namespace\":{theirs}"));
    std::fs::write(path.with_file_name(format!("net-{theirs}.journal")), text.replace(&mine, &others))
        .unwrap();
    std::fs::remove_file(&path).unwrap();

    let recovered = machine.here().roll_back(Drift::Report).unwrap();
    let [elsewhere @ Recovery::Elsewhere { net_namespace, .. }] = &recovered[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!(*net_namespace, theirs);
    assert!(elsewhere.to_string().contains("nsenter --net=/proc/"), "{elsewhere}");
    assert_eq!(machine.value(SOMAXCONN), "16384", "not ours to put back from here");

    inside.kill().unwrap();
    inside.wait().unwrap();
    // Its namespace goes some time after its last process.
    let gone = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        matches!(machine.here().roll_back(Drift::Report).unwrap()[..], [Recovery::SetAside { .. }])
    });
    assert!(gone, "a namespace that is gone takes its settings along");
}

fn skipped() {
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    {
        eprintln!("SKIPPED: no network namespace may be made here");
    }
}

/// Two folders, and what a process sees that has the second one alone, and one that has both.
fn alone_and_both(machine: &Machine) -> [Box<dyn Fn() -> Here + '_>; 2] {
    let (first, second) = (machine.folder().join("first"), machine.folder().join("second"));
    let alone = vec![second.clone()];
    let both = vec![first, second];
    [alone, both].map(|folders| -> Box<dyn Fn() -> Here + '_> {
        Box::new(move || machine.here().with_journal_in_one_of(folders.clone()))
    })
}

#[test]
fn those_whose_environments_name_different_folders_first_keep_one_journal() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let [alone, both] = alone_and_both(&machine);
    let one = alone().apply(&profile(SOME), &applier("one"), Policy::default()).unwrap();
    let refused =
        both().apply(&profile("'net.core.somaxconn' = 99"), &applier("other wishes"), Policy::default());
    assert!(matches!(refused, Err(ApplyError::HeldBy { .. })), "{refused:?}");
    let two = both().apply(&profile(SOME), &applier("two"), Policy::default()).unwrap();
    assert!(two.changes.is_empty() && two.holds_settings());
    assert!(!machine.folder().join("first").exists());
    assert_eq!(one.roll_back().still_held.len(), 2);
    assert_eq!(two.roll_back().restored.len(), 2);
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn of_two_that_begin_at_once_in_different_folders_one_finds_the_other() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let (first, second) = (machine.folder().join("first"), machine.folder().join("second"));
    for _ in 0..100 {
        let start = Barrier::new(2);
        let apply = |folders: [&PathBuf; 2], value: &str| {
            let wanted = profile(&format!("'net.core.somaxconn' = {value}"));
            let here = machine.here().with_journal_in_one_of(folders.map(Clone::clone).to_vec());
            start.wait();
            here.apply(&wanted, &applier(value), Policy::default())
        };
        let both = std::thread::scope(|scope| {
            let one = scope.spawn(|| apply([&first, &second], "16384"));
            let other = apply([&second, &first], "8192");
            [one.join().unwrap(), other]
        });
        let refused = both.iter().filter(|result| matches!(result, Err(ApplyError::HeldBy { .. }))).count();
        assert!(refused == 1 && both.iter().any(Result::is_ok), "{both:?}");
        drop(both);
        assert_eq!(machine.snapshot(), before);
    }
}

#[test]
fn what_a_dead_one_left_set_is_never_taken_for_what_stood_before_whatever_folder_its_journal_is_in() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let [alone, both] = alone_and_both(&machine);
    let mut process = sleeper();
    let theirs = alone().apply(&profile(SOME), &named("theirs", process.id()), Policy::default()).unwrap();
    std::mem::forget(theirs);
    process.kill().unwrap();
    process.wait().unwrap();
    let ours = both().apply(&profile(SOME), &applier("ours"), Policy::default()).unwrap();
    assert!(matches!(&ours.recovered[..], [Recovery::Restored { .. }]), "{:?}", ours.recovered);
    assert_eq!(ours.changes.len(), 2);
    ours.roll_back();
    assert_eq!(machine.snapshot(), before);
    assert!(!machine.folder().join("first").exists() && !machine.folder().join("second").exists());
}
