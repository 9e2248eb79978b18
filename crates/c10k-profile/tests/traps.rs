//! Applying to a machine made of files: what is refused before the first write, what comes back, who is let in.

mod common;

use c10k_kernel::sysctl::{Scope, Scopes};
use c10k_profile::{
    ApplyError, Drift, Here, Policy, Profile, Recovery, Settable, Unsettable, ValueKind, Why, diff,
    unknown_keys,
};
use common::{Machine, applier, profile};

const SOME: &str = "'net.core.somaxconn' = 16384\n'net.ipv4.tcp_rmem' = [4096, 131072, 1048576]\n\
                    'net.ipv4.ip_local_port_range' = [1024, 65535]";

#[test]
fn what_is_applied_is_read_back_and_comes_back_byte_for_byte() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let guard = machine.apply(&profile(SOME)).unwrap();
    assert_eq!(guard.changes.len(), 3);
    assert_eq!(guard.changes[0].key, "net.ipv4.ip_local_port_range", "in the order of the writes");
    assert_eq!(guard.changes[0].before, "32768 60999");
    assert_eq!(machine.value("net.core.somaxconn"), "16384");
    assert_eq!(machine.journals().len(), 1);
    let rolled_back = guard.roll_back();
    assert_eq!(rolled_back.restored.len(), 3);
    assert_eq!(rolled_back.drifted, []);
    assert_eq!(machine.snapshot(), before);
    assert!(!machine.journal_folder().exists(), "neither journal, lock nor folder stays");
}

#[test]
fn a_dropped_guard_and_a_panic_put_everything_back_too() {
    let machine = Machine::new();
    let before = machine.snapshot();
    drop(machine.apply(&profile(SOME)).unwrap());
    assert_eq!(machine.snapshot(), before);
    let panicked = std::panic::catch_unwind(|| {
        let _guard = machine.apply(&profile(SOME)).unwrap();
        panic!("on purpose");
    });
    assert!(panicked.is_err());
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn an_unknown_key_is_listed_and_nothing_is_applied_unless_it_is_optional() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let with_unknown = profile(&format!("{SOME}\n'net.ipv4.tcp_tw_recycle' = 1\n'fs.nosuch' = 2"));
    let error = machine.apply(&with_unknown).unwrap_err();
    let ApplyError::UnknownKeys { keys, .. } = &error else { panic!("{error}") };
    assert_eq!(keys, &["fs.nosuch", "net.ipv4.tcp_tw_recycle"]);
    assert_eq!(unknown_keys(&with_unknown, &machine.root()), ["fs.nosuch", "net.ipv4.tcp_tw_recycle"]);
    assert_eq!(machine.snapshot(), before);

    let optional = profile(&format!("{SOME}\n'net.ipv4.tcp_tw_recycle' = {{ value = 1, optional = true }}"));
    let guard = machine.apply(&optional).unwrap();
    assert_eq!(guard.changes.len(), 3);
    assert_eq!(guard.not_set[0].why, Why::UnknownKey);
    assert_eq!(unknown_keys(&optional, &machine.root()), [] as [String; 0]);
}

#[test]
fn a_vector_with_another_count_or_kind_than_the_kernels_is_refused_before_the_first_write() {
    let machine = Machine::new();
    machine.set("net.ipv4.any", "1\t2\t3");
    let before = machine.snapshot();
    for (line, why) in [
        ("'net.ipv4.any' = 8192", Why::WrongCount { present: 3, wanted: 1 }),
        ("'net.ipv4.any' = [1, 2, 3, 4]", Why::WrongCount { present: 3, wanted: 4 }),
        ("'net.core.somaxconn' = 'many'", Why::WrongKind("integers, not text")),
        ("'net.ipv4.tcp_congestion_control' = 5", Why::WrongKind("text, not integers")),
    ] {
        let error = machine.apply(&profile(&format!("'net.ipv4.tcp_wmem' = [1, 2, 3]\n{line}"))).unwrap_err();
        let ApplyError::BadValues { not_set, .. } = &error else { panic!("{line}: {error}") };
        assert_eq!(not_set[0].why, why, "{line}");
        assert!(!error.hint().is_empty());
        assert_eq!(machine.snapshot(), before, "{line}");
    }
}

#[test]
fn what_stands_already_in_another_spelling_is_not_written() {
    let machine = Machine::new();
    machine.set("net.ipv4.ip_local_reserved_ports", "8080,9000-9010");
    let wanted = profile(
        "'net.ipv4.ip_local_reserved_ports' = '9000-9010,8080'\n'net.ipv4.tcp_wmem' = [4096, 16384, 4194304]",
    );
    let guard = machine.apply(&wanted).unwrap();
    assert_eq!(guard.changes, []);
    assert_eq!(machine.journals(), [] as [&str; 0]);
}

#[test]
fn a_host_wide_limit_is_never_lowered() {
    let machine = Machine::new();
    let wanted =
        profile("'fs.file-max' = 1000000\n'fs.nr_open' = 2097152\n'net.ipv4.tcp_mem' = [1, 2, 900000]");
    let tcp_mem = machine.value("net.ipv4.tcp_mem");
    let guard = machine.apply(&wanted).unwrap();
    assert_eq!(guard.changes.iter().map(|c| c.key.as_str()).collect::<Vec<_>>(), ["fs.nr_open"]);
    let [file_max, memory] = &guard.not_set[..] else { panic!("{:?}", guard.not_set) };
    assert!(file_max.is_met() && file_max.command.is_none(), "{file_max:?}");
    assert!(file_max.to_string().contains("present value is already higher, left alone"), "{file_max}");
    assert_eq!(machine.value("fs.file-max"), "2466177");
    // Two of the three stand higher, and the third does not: that is no limit that is higher already.
    assert_eq!((&memory.why, memory.is_met()), (&Why::WouldTakeAway(ValueKind::Limit), false));
    assert!(memory.to_string().contains("some of the present numbers are higher"), "{memory}");
    let mut fields: Vec<&str> = tcp_mem.split_whitespace().collect();
    fields[2] = "900000";
    let command = format!("sudo sysctl -w 'net.ipv4.tcp_mem={}'", fields.join(" "));
    assert_eq!(memory.command.as_deref(), Some(command.as_str()), "it takes nothing away");
    assert_eq!(machine.value("net.ipv4.tcp_mem"), tcp_mem);
}

#[test]
fn host_wide_settings_wait_for_the_first_namespace_and_the_policy() {
    let machine = Machine::in_a_child_namespace();
    let wanted =
        profile(&format!("{SOME}\n'fs.nr_open' = 2097152\n'net.ipv4.tcp_mem' = [900000, 900000, 900000]"));
    let guard = machine.apply(&wanted).unwrap();
    assert_eq!(guard.changes.len(), 3);
    let whys: Vec<_> = guard.not_set.iter().map(|n| (n.key.as_str(), &n.why, n.command.is_some())).collect();
    assert_eq!(
        whys,
        [("fs.nr_open", &Why::HostWide, true), ("net.ipv4.tcp_mem", &Why::NotInThisNamespace, true)]
    );
    drop(guard);

    let before = machine.snapshot();
    let policy = Policy { unsettable: Unsettable::Refuse, ..Policy::default() };
    let error = machine.here().apply(&wanted, &applier("r"), policy).unwrap_err();
    assert!(matches!(&error, ApplyError::Unsettable { not_set, .. } if not_set.len() == 2), "{error}");
    assert!(error.to_string().contains("global"), "{error}");
    assert!(error.hint().contains("sudo sysctl -w 'fs.nr_open=2097152'"), "{}", error.hint());
    assert_eq!(machine.snapshot(), before);

    let first = Machine::new();
    let policy = Policy { host_wide: false, ..Policy::default() };
    let guard = first.here().apply(&wanted, &applier("r"), policy).unwrap();
    assert_eq!(guard.not_set.len(), 2);
    assert_eq!(first.value("fs.nr_open"), "1048576");
}

#[test]
fn a_privileged_port_limit_goes_before_the_range_that_needs_it_and_comes_back_after_it() {
    let keys_of = |machine: &Machine, sysctls: &str| -> Vec<String> {
        let guard = machine.apply(&profile(sysctls)).unwrap();
        guard.changes.iter().map(|change| change.key.clone()).collect()
    };
    let machine = Machine::new();
    let (range, start) = ("net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start");
    assert_eq!(keys_of(&machine, &format!("'{range}' = [500, 65535]\n'{start}' = 500")), [start, range]);
    machine.set(range, "1024\t65535");
    assert_eq!(keys_of(&machine, &format!("'{range}' = [5000, 65535]\n'{start}' = 5000")), [range, start]);
    assert_eq!(keys_of(&machine, "'fs.nr_open' = 2000000\n'net.core.somaxconn' = 5")[0], "fs.nr_open");
}

#[test]
fn a_second_applier_with_the_same_wishes_goes_on_and_one_with_others_is_refused_by_name() {
    let machine = Machine::new();
    let guard = machine.apply(&profile(SOME)).unwrap();
    let same = machine.here().apply(&profile(SOME), &applier("second"), Policy::default()).unwrap();
    assert_eq!(same.changes, []);
    drop(same);
    assert_eq!(
        machine.value("net.core.somaxconn"),
        "16384",
        "the first one's settings outlive the second one"
    );
    assert_eq!(machine.journals().len(), 1);

    let other = profile("'net.core.somaxconn' = 999");
    let error = machine.here().apply(&other, &applier("second"), Policy::default()).unwrap_err();
    let ApplyError::HeldBy { holder, key, .. } = &error else { panic!("{error}") };
    assert_eq!(
        (holder.program.as_str(), holder.pid, holder.run_id.as_str(), holder.profile.as_str(), key.as_str()),
        ("c10k-test", std::process::id(), "first", "test", "net.core.somaxconn")
    );
    assert!(error.to_string().contains(&format!("c10k-test (pid {}, run first)", std::process::id())));
    assert!(error.hint().contains("--no-apply"));
    assert_eq!(machine.value("net.core.somaxconn"), "16384");

    drop(guard);
    let late = machine.here().apply(&other, &applier("second"), Policy::default()).unwrap();
    assert_eq!(late.changes.len(), 1);
}

#[test]
fn drift_is_reported_and_left_alone_unless_asked_otherwise() {
    let machine = Machine::new();
    let guard = machine.apply(&profile(SOME)).unwrap();
    machine.set("net.core.somaxconn", "777");
    let rolled_back = guard.roll_back();
    assert_eq!(rolled_back.drifted.len(), 1);
    let told = rolled_back.to_string();
    assert!(told.contains("expected 16384, found 777; left alone (before: 4096)"), "{told}");
    assert_eq!(machine.value("net.core.somaxconn"), "777");
    assert_eq!(machine.value("net.ipv4.tcp_rmem"), "4096\t131072\t6291456");
    assert_eq!(machine.journals().len(), 1, "kept for one that wants it back after all");
    assert_eq!(machine.here().pending().unwrap(), None, "but nobody is nagged");
    assert_eq!(machine.here().recover(Drift::Report).unwrap(), [], "and it is told once");

    let policy = Policy { drift: Drift::Restore, ..Policy::default() };
    let guard = machine.here().apply(&profile(SOME), &applier("r"), policy).unwrap();
    machine.set("net.core.somaxconn", "888");
    let rolled_back = guard.roll_back();
    assert!(rolled_back.drifted[0].overwritten);
    assert_eq!(machine.value("net.core.somaxconn"), "777", "what stood when it was set anew");
    assert_eq!(machine.journals(), [] as [&str; 0]);
}

#[test]
fn a_setting_that_cannot_be_put_back_is_told_with_its_command_and_the_journal_stays() {
    let machine = Machine::new();
    let guard = machine.apply(&profile(SOME)).unwrap();
    std::fs::remove_file(machine.root().path("net.core.somaxconn").unwrap()).unwrap();
    let rolled_back = guard.roll_back();
    assert!(!rolled_back.is_complete());
    assert_eq!(rolled_back.commands(), ["sudo sysctl -w 'net.core.somaxconn=4096'"]);
    assert_eq!(machine.journals().len(), 1);
    machine.set("net.core.somaxconn", "16384");
    let recovered = machine.here().recover(Drift::Report).unwrap();
    assert!(matches!(&recovered[..], [Recovery::Restored { .. }]), "{recovered:?}");
    assert_eq!(machine.value("net.core.somaxconn"), "4096");
}

/// Applies, keeps what the journal said, rolls back, and puts the journal back changed by `change`.
fn with_a_left_over_journal(machine: &Machine, change: impl Fn(String) -> String) -> String {
    let guard = machine.apply(&profile(SOME)).unwrap();
    let name = machine.journals().remove(0);
    let text = std::fs::read_to_string(machine.journal_folder().join(&name)).unwrap();
    guard.roll_back();
    std::fs::DirBuilder::new().create(machine.journal_folder()).unwrap();
    let mut mode = std::fs::metadata(machine.journal_folder()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o700);
    std::fs::set_permissions(machine.journal_folder(), mode).unwrap();
    std::fs::write(machine.journal_folder().join(&name), change(text)).unwrap();
    name
}

#[test]
fn a_journal_that_is_damaged_or_of_another_boot_or_namespace_is_kept_aside_and_not_acted_upon() {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = boot.trim();
    let inode = c10k_kernel::namespace::network_inode().unwrap().to_string();
    let cookie = c10k_kernel::namespace::network_cookie().ok();
    type Change<'a> = Box<dyn Fn(String) -> String + 'a>;
    let changes: [(&str, Change<'_>); 8] = [
        ("damaged or cut short", Box::new(|text| text[..text.len() / 2].to_owned())),
        ("damaged or cut short", Box::new(|_| String::new())),
        ("damaged or cut short", Box::new(|text| text.replace("\"entries\"", "\"entires\""))),
        ("before the last boot", Box::new(|text| text.replace(boot, "00000000-0000-0000-0000-000000000000"))),
        (
            "another network namespace",
            Box::new(|text| text.replace(&format!("\"net_namespace\":{inode}"), "\"net_namespace\":1")),
        ),
        (
            // The kernel gives an inode again soon; the number of a namespace never.
            if cookie.is_some() { "a network namespace that is gone" } else { "damaged or cut short" },
            Box::new(|text| match cookie {
                Some(cookie) => text.replace(&format!("\"net_cookie\":{cookie}"), "\"net_cookie\":123456789"),
                None => String::new(),
            }),
        ),
        (
            "no process was given the last number",
            Box::new(|text| {
                let last = text.replace("\"id\":0", "\"id\":4294967295");
                last.replace("\"holders\":[0]", "\"holders\":[4294967295]")
            }),
        ),
        ("version 9", Box::new(|text| text.replace("\"version\":3", "\"version\":9"))),
    ];
    for (expected, change) in changes {
        let machine = Machine::new();
        let name = with_a_left_over_journal(&machine, change);
        // What the journal would put back if it were believed.
        machine.set("net.core.somaxconn", "16384");
        let before = machine.snapshot();
        let recovered = machine.here().recover(Drift::Report).unwrap();
        let [Recovery::SetAside { path, why, .. }] = &recovered[..] else {
            panic!("{expected}: {recovered:?}")
        };
        assert!(why.contains(expected), "{expected}: {why}");
        assert!(path.exists() && !machine.journals().contains(&name), "{expected}");
        assert_eq!(machine.snapshot(), before, "{expected}");
        assert_eq!(machine.here().recover(Drift::Report).unwrap(), [], "{expected}: told once");
    }
}

#[test]
fn a_journal_of_an_older_build_is_understood_and_put_back() {
    let machine = Machine::new();
    let before = machine.snapshot();
    with_a_left_over_journal(&machine, |text| {
        let mut journal: serde_json::Value = serde_json::from_str(&text).unwrap();
        journal["version"] = 2.into();
        for holder in journal["holders"].as_array_mut().unwrap() {
            // A process that is gone.
            (holder["pid"], holder["start_time"]) = (4_194_303.into(), 7.into());
            for newer in ["pid_namespace", "time_namespace", "lock"] {
                holder.as_object_mut().unwrap().remove(newer).unwrap();
            }
        }
        journal.to_string()
    });
    machine.set("net.core.somaxconn", "16384");
    let recovered = machine.here().recover(Drift::Report).unwrap();
    assert!(matches!(&recovered[..], [Recovery::Restored { .. }]), "{recovered:?}");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn where_no_namespace_can_be_looked_into_no_network_setting_is_lowered() {
    let machine = Machine::new();
    let scopes = Scopes::from_listing(&["net.core.netdev_max_backlog", "net.core.somaxconn"], None);
    let wanted = profile("'net.core.netdev_max_backlog' = 10\n'net.core.somaxconn' = 16384");
    let here = Here::at(machine.root(), scopes, machine.journal_folder()).unwrap();
    let guard = here.apply(&wanted, &applier("guess"), Policy::default()).unwrap();
    assert_eq!(
        guard.changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(),
        ["net.core.somaxconn"]
    );
    assert_eq!(guard.not_set[0].why, Why::MoreStands(ValueKind::Limit));
    assert_eq!(machine.value("net.core.netdev_max_backlog"), "1000");
}

#[test]
fn where_no_namespace_can_be_looked_into_ranges_and_lists_are_told_in_their_own_words() {
    let machine = Machine::new();
    machine.set("net.ipv4.ip_local_reserved_ports", "8080");
    machine.set("net.ipv4.ping_group_range", "0\t2147483647");
    machine.set("net.ipv4.tcp_fin_timeout", "60");
    let told = |sysctl: &str| {
        let wanted = profile(sysctl);
        let scopes = Scopes::from_listing(&wanted.keys(), None);
        let here = Here::at(machine.root(), scopes, machine.journal_folder()).unwrap();
        let guard = here.apply(&wanted, &applier("guess"), Policy::default()).unwrap();
        assert_eq!(guard.changes, [], "{sysctl}");
        let [not_set] = &guard.not_set[..] else { panic!("{sysctl}: {:?}", guard.not_set) };
        (not_set.clone(), not_set.to_string())
    };
    for (sysctl, words, command) in [
        (
            "'net.ipv4.ip_local_port_range' = [40000, 65535]",
            "the present range has ports that the wanted one has not",
            Some("net.ipv4.ip_local_port_range=32768 65535"),
        ),
        ("'net.ipv4.ip_local_port_range' = [40000, 50000]", "the present range is already wider", None),
        (
            "'net.ipv4.ip_local_reserved_ports' = '9000'",
            "the present list has ports that the wanted one has not",
            Some("net.ipv4.ip_local_reserved_ports=8080,9000"),
        ),
        (
            "'net.ipv4.tcp_rmem' = [4096, 16384, 262144]",
            "what stands is higher",
            Some("net.ipv4.tcp_rmem=4096 16384 262144"),
        ),
        (
            "'net.ipv4.ping_group_range' = [1, 0]",
            "what stands is higher",
            Some("net.ipv4.ping_group_range=1 0"),
        ),
        ("'net.ipv4.tcp_fin_timeout' = 15", "what stands is higher", Some("net.ipv4.tcp_fin_timeout=15")),
    ] {
        let (not_set, text) = told(sysctl);
        assert!(text.contains(words), "{sysctl}: {text}");
        assert!(command.is_none() || !text.contains("already"), "{sysctl}: {text}");
        assert_eq!(not_set.command, command.map(|setting| format!("sudo sysctl -w '{setting}'")), "{sysctl}");
        assert_eq!(not_set.is_met(), command.is_none(), "{sysctl}");
    }
    // A wider range takes nothing away.
    let wanted = profile("'net.ipv4.ip_local_port_range' = [1024, 65535]");
    let here = Here::at(machine.root(), Scopes::from_listing(&wanted.keys(), None), machine.journal_folder());
    let guard = here.unwrap().apply(&wanted, &applier("guess"), Policy::default()).unwrap();
    assert_eq!(guard.changes.len(), 1);
}

#[test]
fn in_a_namespace_too_an_unknown_key_is_refused_and_one_of_the_whole_host_is_listed() {
    let machine = Machine::in_a_child_namespace();
    let before = machine.snapshot();
    for unknown in ["net.ipv4.tcp_tw_recycle", "net.core.nosuch", "vm.nosuch"] {
        let error = machine.apply(&profile(&format!("{SOME}\n'{unknown}' = 1"))).unwrap_err();
        let ApplyError::UnknownKeys { keys, .. } = &error else { panic!("{error}") };
        assert_eq!(keys, &[unknown]);
        assert_eq!(machine.snapshot(), before);
    }
    let guard = machine.apply(&profile(&format!("{SOME}\n'net.ipv4.tcp_mem' = [9, 9, 9]"))).unwrap();
    assert_eq!((guard.changes.len(), &guard.not_set[0].why), (3, &Why::NotInThisNamespace));
}

#[test]
fn journals_of_others_in_the_same_folder_are_not_touched() {
    let machine = Machine::new();
    let guard = machine.apply(&profile(SOME)).unwrap();
    let theirs = machine.journal_folder().join("add-ips-7.journal");
    std::fs::write(&theirs, "{\"version\":1}").unwrap();
    guard.roll_back();
    assert_eq!(machine.here().roll_back(Drift::Restore).unwrap(), []);
    assert_eq!(machine.here().standing().unwrap(), []);
    assert!(theirs.exists());
}

#[test]
fn a_journal_left_behind_is_noticed_and_undone_before_anything_new_is_set() {
    let machine = Machine::new();
    // The one who wrote it died: its pid is used by somebody who started at another time.
    with_a_left_over_journal(&machine, |text| {
        let (head, rest) = text.split_once("\"start_time\":").unwrap();
        let (_, rest) = rest.split_once(',').unwrap();
        format!("{head}\"start_time\":1,{rest}")
    });
    for (key, value) in [
        ("net.core.somaxconn", "16384"),
        ("net.ipv4.tcp_rmem", "4096\t131072\t1048576"),
        ("net.ipv4.ip_local_port_range", "1024\t65535"),
    ] {
        machine.set(key, value);
    }
    let pending = machine.here().pending().unwrap().unwrap();
    assert_eq!((pending.holder.profile.as_str(), pending.keys.len()), ("test", 3));

    // What it wants stands already, left by the dead one: that must not hide the journal.
    let guard = machine.apply(&profile(SOME)).unwrap();
    assert!(matches!(&guard.recovered[..], [Recovery::Restored { .. }]), "{:?}", guard.recovered);
    assert_eq!(guard.changes.len(), 3);
    guard.roll_back();
    assert_eq!(machine.value("net.core.somaxconn"), "4096");
    assert_eq!(machine.here().pending().unwrap(), None);
}

#[test]
fn without_a_folder_for_the_journal_nothing_is_set() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let file = machine.folder().join("a-file");
    std::fs::write(&file, "").unwrap();
    let here = machine.here().with_journal_in(file.join("below"));
    let error = here.apply(&profile(SOME), &applier("r"), Policy::default()).unwrap_err();
    assert!(matches!(error, ApplyError::Journal(_)), "{error}");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn diff_shows_setting_present_wanted_scope_and_whether_it_can_be_set() {
    let machine = Machine::in_a_child_namespace();
    let text = "name = 'd'\nsummary = 's'\n[sysctl]\n'net.core.somaxconn' = 9\n'net.core.rmem_max' = 9\n\
                'net.ipv4.tcp_mem' = [1, 2, 3]\n'fs.nr_open' = 1048576\n[socket]\nbacklog = 9";
    let rows = diff(&Profile::from_text(text).unwrap(), &machine.live());
    let settings: Vec<&str> = rows.iter().map(|row| row.setting.as_str()).collect();
    assert_eq!(
        settings,
        ["fs.nr_open", "net.core.rmem_max", "net.core.somaxconn", "net.ipv4.tcp_mem", "socket.backlog"]
    );
    assert_eq!(rows[0].settable, Settable::AlreadySo);
    assert!(
        matches!(rows[1].settable, Settable::No { why: Why::MoreStands(ValueKind::Limit), .. }),
        "{:?}",
        rows[1]
    );
    assert_eq!((rows[2].present.as_deref(), rows[2].wanted.as_str()), (Some("4096"), "9"));
    assert_eq!((rows[2].scope, &rows[2].settable), (Scope::Namespace, &Settable::Yes));
    assert_eq!((rows[3].present.as_deref(), rows[3].scope), (None, Scope::Host));
    assert!(matches!(rows[3].settable, Settable::No { why: Why::NotInThisNamespace, .. }));
    assert_eq!(rows[4].scope, Scope::Process);
}
