//! The units of systemd.

use std::path::Path;
use std::process::{Command, Output};

use super::{PROGRAM, help, known_flags, text};

const UNITS: [&str; 3] = ["c10k-server.service", "c10k-collector.service", "c10k-profile.service"];

/// The worst exposure that `systemd-analyze security` may find, in tenths: 0 is best, 100 worst. What sets sysctls is root
/// and has to be worse than what serves.
const WORST: [(&str, u32); 3] =
    [("c10k-server.service", 20), ("c10k-collector.service", 20), ("c10k-profile.service", 30)];

fn unit(name: &str) -> String {
    text(&format!("packaging/systemd/{name}"))
}

/// The values of a key, in their order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let of_key = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    of_key.map(str::to_owned).collect()
}

#[track_caller]
fn value(unit: &str, key: &str) -> String {
    let mut all = values(unit, key);
    assert_eq!(all.len(), 1, "{key}: {all:?}");
    all.remove(0)
}

/// Each unit in a folder, with the program under test in the place of the installed ones: `verify` wants to find them.
fn with_program_under_test(folder: &Path) {
    for name in ["c10k-lab", "c10k-server", "c10k-collector"] {
        std::os::unix::fs::symlink(PROGRAM, folder.join(name)).expect("a link");
    }
    let here = format!("{}/", folder.display());
    for name in UNITS {
        let changed = unit(name).replace("/usr/local/bin/", &here);
        std::fs::write(folder.join(name), changed).expect("written");
    }
}

/// Runs it in the folder; nothing where the program is missing, which is said.
fn systemd_analyze(test: &str, folder: &Path, words: &[&str]) -> Option<Output> {
    let run =
        Command::new("systemd-analyze").args(words).current_dir(folder).env("SYSTEMD_COLORS", "0").output();
    if run.is_err() {
        eprintln!("SKIPPED {test}: there is no systemd-analyze here (Debian: apt-get install systemd)");
    }
    run.ok()
}

#[test]
fn systemd_accepts_each_unit_without_a_word() {
    let folder = tempfile::tempdir().expect("a folder");
    with_program_under_test(folder.path());
    for name in UNITS {
        let words = ["verify", "--man=no", &format!("./{name}")];
        let Some(output) = systemd_analyze("systemd_accepts_each_unit_without_a_word", folder.path(), &words)
        else {
            return;
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        // Of the machine's own units it may say what it likes.
        let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("c10k")).collect();
        assert!(of_ours.is_empty() && output.status.success(), "{name}: {}\n{said}", output.status);
    }
    // That it can find something: a key that there is not.
    std::fs::write(
        folder.path().join("c10k-wrong.service"),
        "[Service]\nExecStart=/bin/true\nNoNewPriv=yes\n",
    )
    .expect("written");
    let words = ["verify", "--man=no", "./c10k-wrong.service"];
    let output = systemd_analyze("", folder.path(), &words).expect("it was there before");
    assert!(String::from_utf8_lossy(&output.stderr).contains("NoNewPriv"), "{output:?}");
}

#[test]
fn each_unit_is_exposed_no_more_than_what_it_does_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    with_program_under_test(folder.path());
    for (name, worst) in WORST {
        let threshold = format!("--threshold={worst}");
        let words = ["security", "--offline=true", "--no-pager", &threshold, &format!("./{name}")];
        let test = "each_unit_is_exposed_no_more_than_what_it_does_needs";
        let Some(output) = systemd_analyze(test, folder.path(), &words) else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let score = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
        eprintln!("{}", score.trim());
        assert!(!score.is_empty() && output.status.success(), "{name}: {}\n{said}", output.status);
    }
}

#[test]
fn what_the_units_start_are_the_programs_with_flags_that_they_know() {
    for name in UNITS {
        let unit = unit(name);
        for line in ["ExecStart", "ExecStop"].iter().flat_map(|key| values(&unit, key)) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let program =
                words[0].strip_prefix("/usr/local/bin/").expect("where the documentation installs it");
            match program.strip_prefix("c10k-").expect("one of ours") {
                "lab" => known_flags(&words[1..3], &words[3..]),
                other => known_flags(&[other], &words[1..]),
            }
        }
    }
    let server = unit("c10k-server.service");
    let collector = value(&unit("c10k-collector.service"), "ExecStart");
    let port =
        value(&server, "ExecStart").split(' ').find_map(|word| word.strip_prefix(':').map(str::to_owned));
    assert!(collector.contains(&format!("--port {}", port.expect("a port"))), "{collector}");
}

#[test]
fn the_units_say_what_the_programs_need_of_them() {
    let (server, collector) = (unit("c10k-server.service"), unit("c10k-collector.service"));
    // Descriptors: as many as fs.nr_open allows where nobody has raised it.
    assert_eq!(value(&server, "LimitNOFILE"), "1048576");
    // One user, or the collector may not look at the server's descriptors; and no namespace of users between them.
    assert_eq!(value(&server, "User"), value(&collector, "User"));
    assert_eq!(values(&server, "PrivateUsers"), [] as [String; 0]);
    // sock_diag(7) is asked by netlink.
    assert!(value(&collector, "RestrictAddressFamilies").contains("AF_NETLINK"));
    for unit in [&server, &collector] {
        assert_eq!(value(unit, "CapabilityBoundingSet"), "");
        for (key, wanted) in [("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("DynamicUser", "yes")]
        {
            assert_eq!(value(unit, key), wanted, "{key}");
        }
        // Exit codes that no further start mends.
        assert_eq!(value(unit, "RestartPreventExitStatus"), "2 3");
    }
    // Pending output has its time, and some more, before it is killed.
    let drain = help(&["server"]);
    let drain =
        drain.split("--drain").nth(1).and_then(|rest| rest.split("[default: ").nth(1)).expect("a default");
    let seconds =
        |text: &str| text.split('s').next().and_then(|number| number.parse::<u32>().ok()).expect("seconds");
    assert!(seconds(&value(&server, "TimeoutStopSec")) > seconds(drain));
}
