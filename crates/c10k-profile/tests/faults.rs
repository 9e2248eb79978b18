//! Every operation of applying and of putting back, made to fail with every error that it can give: afterwards either
//! every value is as it was, or each one that is not is named with the command that puts it back.

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use c10k_kernel::files::{Fault, HowFar, Operation, with_faults};
use c10k_kernel::sysctl::Scopes;
use c10k_profile::{
    ApplyError, Drift, InForceError, Policy, Profile, Recovery, RollBack, Why, apply_in_own_namespace,
};
use c10k_record::Exit;
use common::{Machine, applier, profile};

const WISHES: &str = "'net.core.somaxconn' = 16384\n'net.ipv4.tcp_rmem' = [4096, 131072, 1048576]\n\
                      'fs.nr_open' = 2097152";

/// ENOENT, EINTR, EIO, ENOMEM, EACCES, EINVAL, ENFILE, EMFILE, ENOSPC, EROFS, EPERM.
const ERRNOS: [i32; 11] = [2, 4, 5, 12, 13, 22, 23, 24, 28, 30, 1];
/// ENOENT, EACCES, EPERM.
const NOT_THERE: [i32; 3] = [2, 13, 1];
/// What goes wrong with all that follows: ENOENT, EIO, EMFILE, ENOSPC, EROFS.
const LASTING: [i32; 5] = [2, 5, 24, 28, 30];
const HOW_FAR: [HowFar; 3] = [HowFar::Nowhere, HowFar::Halfway, HowFar::ToTheEnd];

/// Which operations fail.
#[derive(Clone, Copy, Debug)]
enum Failing {
    /// One of them.
    One(usize),
    /// This one and all after it.
    From(usize),
    /// This one and all after it that are not about settings: the journal's disk is gone.
    JournalFrom(usize),
}

#[derive(Clone, Copy, Debug)]
struct Case {
    failing: Failing,
    errno: i32,
    how_far: HowFar,
}

impl Case {
    /// Calls `work` with the operations failing; how many there were, too.
    fn run<T>(self, settings: &Path, work: impl FnOnce() -> T) -> (T, usize) {
        let count = Rc::new(Cell::new(0));
        let (counted, settings) = (Rc::clone(&count), settings.to_owned());
        let hook = move |_: Operation, path: &Path| {
            counted.set(counted.get() + 1);
            let fails = match self.failing {
                Failing::One(number) => counted.get() == number,
                Failing::From(number) => counted.get() >= number,
                Failing::JournalFrom(number) => counted.get() >= number && !path.starts_with(&settings),
            };
            fails.then_some(Fault { errno: self.errno, how_far: self.how_far })
        };
        let done = with_faults(hook, work);
        (done, count.get())
    }
}

/// Calls `check` with every case of a work that has as many operations as it counts, until one is beyond the last.
/// How many there were.
fn every_case(check: impl Fn(Case) -> usize + Sync) -> usize {
    let of_errno = |errno| {
        let mut cases = 0;
        let mut every = |how_far, failing: fn(usize) -> Failing| {
            for number in 1.. {
                cases += 1;
                if check(Case { failing: failing(number), errno, how_far }) < number {
                    break;
                }
            }
        };
        for how_far in HOW_FAR {
            every(how_far, Failing::One);
        }
        if LASTING.contains(&errno) {
            every(HowFar::Nowhere, Failing::From);
            every(HowFar::Nowhere, Failing::JournalFrom);
        }
        cases
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = ERRNOS.iter().map(|&errno| scope.spawn(move || of_errno(errno))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

type Snapshot = BTreeMap<String, Vec<u8>>;

fn standing(before: &Snapshot, machine: &Machine) -> Vec<String> {
    let now = machine.snapshot();
    before.iter().filter(|(key, value)| now.get(*key) != Some(value)).map(|(key, _)| key.clone()).collect()
}

#[track_caller]
fn expect_named(standing: &[String], roll_back: &RollBack, case: Case) {
    let commands = roll_back.commands();
    for key in standing {
        assert!(roll_back.failed.iter().any(|(failed, ..)| failed == key), "{case:?}: {key}: {roll_back}");
        assert!(commands.iter().any(|line| line.contains(key)), "{case:?}: {key}: {commands:?}");
    }
}

/// After a failed apply.
#[track_caller]
fn expect_told(error: ApplyError, before: &Snapshot, machine: &Machine, case: Case) {
    let standing = standing(before, machine);
    if standing.is_empty() {
        return;
    }
    let hint = error.hint();
    for key in &standing {
        assert!(hint.contains("sudo sysctl -w") && hint.contains(key), "{case:?}: {key}: {error}\n{hint}");
    }
    let text = error.to_string();
    assert_eq!(InForceError::from(error).exit(), Exit::Broke, "{case:?}: {text}");
}

fn wishes() -> Profile {
    profile(WISHES)
}

#[test]
fn an_apply_that_fails_anywhere_leaves_nothing_that_it_does_not_name() {
    let cases = every_case(|case| {
        let machine = Machine::in_memory();
        let before = machine.snapshot();
        let here = machine.here();
        let work = || here.apply(&wishes(), &applier("first"), Policy::default());
        let (applied, count) = case.run(&machine.settings(), work);
        match applied {
            Ok(guard) => {
                let rolled_back = guard.roll_back();
                assert!(rolled_back.is_complete() && rolled_back.journal_faults.is_empty(), "{case:?}");
                assert_eq!(machine.snapshot(), before, "{case:?}");
            }
            Err(error) => {
                let is_back = machine.snapshot() == before;
                expect_told(error, &before, &machine, case);
                machine.here().roll_back(Drift::Report).unwrap();
                assert!(!is_back || machine.snapshot() == before, "{case:?}: a journal that says too much");
            }
        }
        count
    });
    assert!(cases > 2000, "{cases}");
}

#[test]
fn settings_that_are_to_be_kept_and_cannot_be_leave_nothing_that_is_not_named() {
    every_case(|case| {
        let machine = Machine::in_memory();
        let before = machine.snapshot();
        let here = machine.here();
        let work = || here.apply_until_roll_back(&wishes(), &applier("kept"), Policy::default());
        let (kept, count) = case.run(&machine.settings(), work);
        if let Err(error) = kept {
            let is_back = machine.snapshot() == before;
            expect_told(error, &before, &machine, case);
            machine.here().roll_back(Drift::Report).unwrap();
            assert!(!is_back || machine.snapshot() == before, "{case:?}");
        } else {
            machine.here().roll_back(Drift::Report).unwrap();
            assert_eq!(machine.snapshot(), before, "{case:?}");
        }
        count
    });
}

#[test]
fn a_process_puts_everything_back_or_names_it_whatever_fails() {
    every_case(|case| {
        let machine = Machine::in_memory();
        let before = machine.snapshot();
        let guard = machine.apply(&wishes()).unwrap();
        let (rolled_back, count) = case.run(&machine.settings(), || guard.roll_back());
        let stands = standing(&before, &machine);
        expect_named(&stands, &rolled_back, case);
        if matches!(case.failing, Failing::JournalFrom(_)) {
            assert_eq!(stands, [] as [&str; 0], "{case:?}: the journal is not needed: {rolled_back}");
        }
        machine.here().roll_back(Drift::Report).unwrap();
        // Where nothing at all can be done any more, neither can it be written down that a value was cut short.
        let is_hopeless = matches!(case.failing, Failing::From(_));
        assert!(is_hopeless || machine.snapshot() == before, "{case:?}: the next command tries again");
        count
    });
}

#[test]
fn a_roll_back_of_what_was_kept_puts_back_or_names_it_or_says_that_it_cannot_know() {
    every_case(|case| {
        let machine = Machine::in_memory();
        let before = machine.snapshot();
        machine.here().apply_until_roll_back(&wishes(), &applier("kept"), Policy::default()).unwrap();
        let here = machine.here();
        let (recovered, count) = case.run(&machine.settings(), || here.roll_back(Drift::Report));
        let stands = standing(&before, &machine);
        match recovered {
            // The command cannot look, and says so.
            Err(_) => {}
            // The kernel says that there is no folder of this user's. It is believed.
            Ok(recovered) if recovered.is_empty() && NOT_THERE.contains(&case.errno) => {}
            Ok(recovered) => {
                let is_in_doubt =
                    recovered.iter().any(|it| matches!(it, Recovery::SetAside { may_stand: true, .. }));
                let mut all = RollBack::default();
                for recovery in recovered {
                    if let Recovery::Restored { roll_back, .. } = recovery {
                        all.failed.extend(roll_back.failed);
                    }
                }
                if !is_in_doubt {
                    expect_named(&stands, &all, case);
                }
            }
        }
        count
    });
}

#[test]
fn in_a_namespace_of_our_own_each_setting_stands_or_is_listed_as_it_is_whatever_fails() {
    let wishes = profile("'net.core.somaxconn' = 16384\n'net.ipv4.tcp_rmem' = [4096, 131072, 1048576]");
    if Scopes::learn(&wishes.keys()).guessed() {
        #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
        {
            eprintln!("SKIPPED: no network namespace may be made here");
        }
        return;
    }
    let wholly_set = AtomicUsize::new(0);
    let cases = every_case(|case| {
        let machine = Machine::in_memory();
        machine.leave_the_first_namespace();
        let before = machine.snapshot();
        let (applied, count) =
            case.run(&machine.settings(), || apply_in_own_namespace(&wishes, &machine.root()));
        for key in wishes.keys() {
            let (now, is_as_before) =
                (machine.value(key), !standing(&before, &machine).contains(&key.to_owned()));
            let set = applied.set.iter().find(|change| change.key == key);
            let not_set = applied.not_set.iter().find(|not| not.key == key);
            match (set, not_set) {
                (Some(change), None) => {
                    assert_eq!(change.after.split(' ').collect::<Vec<_>>(), fields(&now), "{case:?}: {key}");
                }
                (None, Some(not)) => {
                    let is_torn = matches!(not.why, Why::Torn { .. });
                    assert!(is_as_before || is_torn, "{case:?}: {not}: {now}");
                    let told = not.present.as_deref().map(fields);
                    assert!(told.is_none_or(|told| told == fields(&now)), "{case:?}: {not}: {now}");
                }
                told => panic!("{case:?}: {key} is told {told:?}"),
            }
        }
        wholly_set.fetch_add(usize::from(applied.set.len() == 2), Relaxed);
        count
    });
    assert!(cases > 300 && wholly_set.into_inner() >= ERRNOS.len(), "{cases}");
}

fn fields(value: &str) -> Vec<&str> {
    value.split_whitespace().collect()
}
