//! `c10k-lab profile apply|rollback|status` as commands, what they make of processes that were killed, and a hash
//! of its own for a run's namespace; all inside network namespaces of the tests' own.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::process::{Command, Stdio};

use c10k_kernel::sysctl::SysctlRoot;
use common::{Lab, namespaces_allowed};
use nix::sys::signal::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

/// Runs shell code as root of a user, network and mount namespace of its own, where the journals lie in a `/run` that
/// nobody else sees, with `$lab` the program and `$key` the file
/// of `net.core.somaxconn`; what it wrote on stdout, and on stderr.
#[track_caller]
fn inside(code: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("mine.toml"),
        "name = 'mine'\nsummary = 'of a test'\n[sysctl]\n'net.core.somaxconn' = 999\n'net.ipv4.tcp_retries2' = 8\n",
    )
    .unwrap();
    std::fs::write(
        folder.path().join("other.toml"),
        "name = 'other'\nsummary = 'of a test'\n[sysctl]\n'net.core.somaxconn' = 1000\n",
    )
    .unwrap();
    let code = format!(
        "set -u; mount -t tmpfs tmpfs /run; lab=$0; key=/proc/sys/net/core/somaxconn\nnow() {{ echo \"$1 $(cat $key) $(cat /proc/sys/net/ipv4/tcp_retries2)\"; }}\n{code}"
    );
    let output = Command::new("unshare")
        .args(["-Urnm", "sh", "-c", &code, PROGRAM])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_apply_sets_stays_until_rollback_puts_it_back_and_both_can_be_said_twice() {
    if !namespaces_allowed("profile apply and rollback") {
        return;
    }
    let (said, heard) = inside(
        "now before
        $lab profile apply ./mine.toml; echo exit $?; now applied
        $lab profile apply ./mine.toml; echo exit $?
        $lab profile status | grep -c 'in force'
        $lab profile rollback; echo exit $?; now after
        $lab profile rollback; echo exit $?
        $lab profile status",
    );
    assert_eq!(
        said, "before 4096 15\nexit 0\napplied 999 8\nexit 0\n2\nexit 0\nafter 4096 15\nexit 0\n",
        "{heard}"
    );
    for words in [
        "set net.core.somaxconn: 4096 -> 999",
        "nothing was to be changed",
        "put back net.core.somaxconn: 999 -> 4096",
        "nothing to roll back",
        "nothing is set by any profile",
    ] {
        assert_eq!(heard.matches(words).count(), 1, "{words}: {heard}");
    }
}

#[test]
fn a_second_profile_with_other_values_is_refused_with_the_time_of_the_first() {
    if !namespaces_allowed("two profiles") {
        return;
    }
    let (said, heard) = inside(
        "$lab profile apply ./mine.toml 2>/dev/null; $lab profile apply ./other.toml; echo exit $?; now still
        $lab server --listen 127.0.0.1:0 --profile ./other.toml; echo exit $?
        $lab profile rollback 2>/dev/null; $lab profile apply ./other.toml 2>/dev/null; echo exit $?; cat $key",
    );
    assert_eq!(said, "exit 3\nstill 999 8\nexit 3\nexit 0\n1000\n", "{heard}");
    assert_eq!(heard.matches("applied by `profile apply` at 2").count(), 2, "{heard}");
    assert_eq!(heard.matches("profile rollback` takes it off").count(), 2, "{heard}");
}

#[test]
fn what_somebody_else_changed_is_reported_left_alone_and_put_back_by_force() {
    if !namespaces_allowed("drift") {
        return;
    }
    let (said, heard) = inside(
        "$lab profile apply ./mine.toml 2>/dev/null; echo 777 > $key
        $lab profile rollback; echo exit $?; now drifted
        $lab profile rollback 2>/dev/null; echo exit $?; now still
        $lab profile rollback --force --json 2>/dev/null; echo exit $?; now forced",
    );
    let lines: Vec<&str> = said.lines().collect();
    let document: serde_json::Value = serde_json::from_str(lines[4]).unwrap();
    assert_eq!(document["drifted"][0]["found"], "777");
    assert_eq!(document["drifted"][0]["overwritten"], true);
    let others = [&lines[..4], &lines[5..]].concat();
    assert_eq!(others, ["exit 0", "drifted 777 15", "exit 0", "still 777 15", "exit 0", "forced 4096 15"]);
    assert!(heard.contains("expected 999, found 777; left alone (before: 4096)"), "{heard}");
    assert!(heard.contains("profile rollback --force"), "{heard}");
}

#[test]
fn what_a_killed_server_leaves_is_told_by_the_next_command_of_any_kind_and_rolled_back() {
    if !namespaces_allowed("a killed server") {
        return;
    }
    let (said, heard) = inside(
        "$lab server --listen 127.0.0.1:0 --profile ./mine.toml 2>/dev/null & server=$!
        tries=0; while [ $(cat /proc/sys/net/ipv4/tcp_retries2) != 8 ] && [ $tries -lt 600 ]; do sleep 0.05; tries=$((tries + 1)); done
        sleep 0.5; kill -9 $server; wait $server 2>/dev/null; now left
        for command in 'schema' 'report nosuch' 'profile list' 'profile show stock' 'profile diff stock' \\
            'walls' 'walls tcp-mem' 'walls myths' 'walls plant tcp-mem' 'doctor --target 10' \\
            'climb --max 0' 'run --target 5 --hold 10ms' 'run --target 5 --hold 10ms --profile c1m'; do
            [ $($lab $command 2>&1 >/dev/null | grep -c 'profile rollback') = 1 ] || echo not by $command
        done
        timeout 2 $lab server --listen 127.0.0.1:0 --no-apply 2>&1 | grep -c 'profile rollback'
        $lab swarm --server 127.0.0.1:9 --target 1 --no-apply 2>&1 | grep -c 'profile rollback'
        $lab profile status | grep -q 'left over' || echo no status
        $lab profile rollback; echo exit $?; now after
        $lab schema 2>&1 >/dev/null | grep -c 'profile rollback'",
    );
    assert_eq!(said, "left 999 8\n1\n1\nexit 0\nafter 4096 15\n0\n", "{heard}");
    assert!(heard.contains("c10k-server") && heard.contains("put back"), "{heard}");
}

#[test]
fn a_setting_that_cannot_be_put_back_is_told_by_the_exit_code_of_the_roll_back() {
    if !namespaces_allowed("a setting that cannot be put back") {
        return;
    }
    let (said, heard) = inside(
        "mount --bind /proc/sys /proc/sys || exit
        $lab profile apply ./mine.toml 2>/dev/null; mount -o remount,bind,ro /proc/sys
        $lab profile rollback; echo exit $?; now still; mount -o remount,bind,rw /proc/sys
        $lab profile rollback 2>/dev/null; echo exit $?; now after",
    );
    assert_eq!(said, "exit 4\nstill 999 8\nexit 0\nafter 4096 15\n", "{heard}");
    assert!(heard.contains("error: not everything could be put back") && heard.contains("hint: "), "{heard}");
}

#[test]
fn a_server_that_relies_on_what_another_one_set_keeps_it_when_that_one_goes() {
    if !namespaces_allowed("two servers") {
        return;
    }
    let (said, heard) = inside(
        "start() { $lab server --listen 127.0.0.1:0 --profile ./mine.toml 2>>log & }
        ready() { tries=0; while [ $(grep -c listening log) != $1 ] && [ $tries -lt 600 ]; do sleep 0.05; tries=$((tries + 1)); done; }
        touch log; start; first=$!; ready 1; start; second=$!; ready 2; now both
        kill $first; wait $first; echo exit $?; now one
        kill $second; wait $second; echo exit $?; now none",
    );
    assert_eq!(said, "both 999 8\nexit 0\none 999 8\nexit 0\nnone 4096 15\n", "{heard}");
}

#[test]
fn nothing_is_set_where_not_everything_can_be() {
    if !namespaces_allowed("all or nothing") {
        return;
    }
    let (said, heard) = inside(
        "printf \"name = 'host'\\nsummary = 'x'\\n[sysctl]\\n'net.core.somaxconn' = 999\\n'net.ipv4.tcp_max_orphans' = 99999999\\n\" > host.toml
        $lab profile apply ./host.toml --host-wide; echo exit $?; now refused
        $lab profile apply ./host.toml; echo exit $?; now the-rest
        $lab profile rollback 2>/dev/null; now after
        printf \"name = 'bad'\\nsummary = 'x'\\n[sysctl]\\n'net.core.somaxconn' = 999\\n'net.ipv4.tcp_retries2' = [1, 2]\\n\" > bad.toml
        $lab profile apply ./bad.toml 2>/dev/null; echo exit $?; now bad
        printf \"name = 'odd'\\nsummary = 'x'\\n[sysctl]\\n'net.core.somaxconn' = 999\\n'net.ipv4.tcp_congestion_control' = 'nosuch'\\n\" > odd.toml
        $lab profile apply ./odd.toml 2>/dev/null; echo exit $?; now odd
        $lab profile status",
    );
    assert_eq!(
        said,
        "exit 3\nrefused 4096 15\nexit 0\nthe-rest 999 15\nafter 4096 15\nexit 2\nbad 4096 15\nexit 3\nodd 4096 15\n",
        "{heard}"
    );
    assert!(heard.contains("global") && heard.contains("--host-wide raises"), "{heard}");
    assert!(heard.contains("nothing is set by any profile"), "{heard}");
}

#[test]
fn a_run_may_have_a_hash_of_its_own_which_lowers_nothing_that_follows_from_its_size() {
    if !namespaces_allowed("a hash of its own") {
        return;
    }
    let root = SysctlRoot::default();
    let number = |key: &str| root.read(key).unwrap().parse::<i64>().unwrap();
    let hosts = number("net.ipv4.tcp_ehash_entries").abs();
    let wanted = hosts * 2;
    let text = format!("name = 'hash'\nsummary = 'of a test'\n[namespace]\nehash_entries = {wanted}\n");
    for ordinary in [false, true] {
        let lab = Lab::new().with_file("hash.toml", &text);
        let lab = if ordinary { lab.by_ordinary_user() } else { lab };
        let mut running =
            lab.start(&["--profile", "./hash.toml", "--target", "200", "--hold", "60s", "--json"]);
        running.wait_for_hold(200);
        let server = running.server();
        let look = |key: &str| {
            let target = server.pid.to_string();
            let output =
                Command::new("nsenter").args(["--net", "--target", &target, "sysctl", "-n", key]).output();
            let output = output.ok().filter(|output| output.status.success())?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<i64>().ok()
        };
        match look("net.ipv4.tcp_ehash_entries") {
            Some(entries) => {
                // Shared with the host it would be negative.
                assert_eq!(entries, wanted);
                for key in ["net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_max_syn_backlog"] {
                    assert!(look(key).unwrap() >= number(key), "{key}");
                }
            }
            None => eprintln!("SKIPPED the look into the namespace: it takes root, nsenter and sysctl"),
        }
        running.signal(Signal::SIGINT);
        let record = running.wait().record();
        let [set] = &record.profile.applied[..] else { panic!("{:?}", record.profile) };
        assert_eq!((set.key.as_str(), set.after.as_str()), ("namespace.ehash_entries", &*wanted.to_string()));
        assert_eq!(set.before, format!("{hosts}, shared with the host"));
    }
    assert_eq!(number("net.ipv4.tcp_child_ehash_entries"), 0, "the host's own setting is not touched");
}

#[test]
fn a_hash_that_is_no_larger_than_the_hosts_is_not_made() {
    if !namespaces_allowed("a small hash") {
        return;
    }
    let text = "name = 'small'\nsummary = 'of a test'\n[namespace]\nehash_entries = 64\n";
    let lab = Lab::new().with_file("small.toml", text);
    let ended = lab.run(&["--profile", "./small.toml", "--target", "100", "--hold", "200ms", "--json"]);
    let profile = ended.expect_held(100).profile;
    assert!(profile.applied.is_empty() && profile.not_applied.is_empty(), "{profile:?}");
}
