//! Where no thread or process can be started: every program says so and ends, and none panics.

mod common;

use common::Lab;

/// Runs the lab as an ordinary user who may have `most` threads, those of other programs of theirs included.
fn with_threads(most: u32, arguments: &[&str]) -> common::Ended {
    let limit = format!("--nproc={most}");
    Lab::new().by_ordinary_user().under(&["prlimit", &limit]).command(arguments).wait()
}

#[test]
fn without_a_further_thread_every_command_that_needs_one_says_so_with_code_3() {
    for arguments in [
        &["run", "--target", "50", "--hold", "100ms"][..],
        &["server", "--listen", "127.0.0.1:0"],
        &["swarm", "--server", "127.0.0.1:9", "--target", "5", "--events"],
        &["walls", "plant", "refused"],
        &["climb", "--max", "50"],
    ] {
        let ended = with_threads(1, arguments);
        assert!(!ended.stderr.contains("panicked"), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.status.code(), Some(3), "{arguments:?}: {}", ended.stderr);
        // What came of a climb is on stdout.
        let said = format!("{}{}", ended.stderr, ended.stdout).replace('\n', " ");
        assert!(said.contains("Resource temporarily unavailable"), "{arguments:?}: {said}");
    }
}

#[test]
fn with_a_few_threads_a_run_is_carried_out_or_refused_and_nothing_panics() {
    // How many there are already depends on what else this user runs.
    for most in 2..=12 {
        let ended = with_threads(most, &["run", "--target", "50", "--hold", "100ms"]);
        assert!(!ended.stderr.contains("panicked"), "{most}: {}", ended.stderr);
        assert!(matches!(ended.status.code(), Some(0 | 1 | 3 | 4)), "{most}: {}", ended.stderr);
    }
}

#[test]
fn commands_that_start_nothing_need_no_further_thread() {
    for arguments in [&["schema"][..], &["walls"], &["walls", "myths"], &["profile", "list"]] {
        with_threads(1, arguments).expect_exit(0);
    }
}
