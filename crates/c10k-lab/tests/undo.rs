//! Settings come back, or are named, where their journal cannot be written, cannot be read or is somebody else's. Each
//! test runs in network and mount namespaces of its own, which takes root.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::process::Command;

/// What a script says in namespaces of its own, with `$LAB`, `value` for a setting, and an empty /run.
#[track_caller]
fn in_namespaces(script: &str) -> Option<String> {
    let prepared = format!(
        "mount -t tmpfs -o size=64k tmpfs /run || exit 77\n\
         value() {{ cat /proc/sys/net/core/somaxconn; }}\n{script}"
    );
    let output = Command::new("unshare")
        .args(["-m", "-n", "sh", "-c", &prepared])
        .env("LAB", env!("CARGO_BIN_EXE_c10k-lab"))
        .env_remove("XDG_RUNTIME_DIR")
        .output();
    let output = output.ok().filter(|_| nix::unistd::geteuid().is_root());
    let Some(output) = output.filter(|output| output.status.code() != Some(77)) else {
        eprintln!("SKIPPED: it needs root, unshare(1) and mount(8)");
        return None;
    };
    Some(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn what_is_kept_goes_back_though_its_journal_is_on_a_filesystem_that_is_read_only_or_full() {
    for harm in ["mount -o remount,ro /run", "cat /dev/zero > /run/full 2>/dev/null"] {
        let said = in_namespaces(&format!(
            "before=$(value); $LAB profile apply tuned >/dev/null 2>&1; [ $(value) != $before ] && echo applied\n\
             {harm}; $LAB profile rollback; echo exit $?; [ $(value) = $before ] && echo back"
        ));
        let Some(said) = said else { return };
        assert!(said.contains("applied\n") && said.contains("exit 0\nback\n"), "{harm}: {said}");
        assert!(said.contains("put back net.core.somaxconn"), "{harm}: {said}");
        assert!(!harm.contains("remount") || said.contains("so it still names what was put back"), "{said}");
        assert!(!said.contains("in force as long as"), "{harm}: {said}");
    }
}

#[test]
fn of_a_damaged_journal_it_is_said_what_stands_and_what_a_fresh_namespace_has() {
    let said = in_namespaces(
        "$LAB profile apply tuned >/dev/null 2>&1; J=$(echo /run/c10k-lab/*.journal)\n\
         head -c 300 $J > /run/cut; cat /run/cut > $J\n\
         $LAB profile rollback; echo exit $?; $LAB profile rollback; echo again $?\n\
         echo 4096 > /proc/sys/net/core/somaxconn",
    );
    let Some(said) = said else { return };
    assert!(said.contains("exit 4\n") && said.contains("again 4\n"), "{said}");
    assert!(said.contains("net.core.somaxconn is 16384: a fresh network namespace has 4096"), "{said}");
    assert!(said.contains("hint: sudo sysctl -w 'net.core.somaxconn=4096' && "), "{said}");
    assert!(!said.contains("nothing to roll back"), "{said}");
}
