//! A kernel that has nothing left for another connection: its refusals are put into the server's way.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use c10k_record::ServerEvent;
use common::{Server, expect_echo, limited};

/// Refuses for as long as a file of the call's name lies in the folder `C10K_SHORTAGE`: epoll_ctl(2) what is to be
/// watched beyond what is watched now, with ENOSPC as at `fs.epoll.max_user_watches`; accept4(2) everything, with
/// ENFILE as at `fs.file-max`; unshare(2) everything, with ENOMEM. These limits are the whole machine's, so no test may
/// reach them.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Watches that have become free within the shortage; what is watched, by the thread whose table it is in. */
static atomic_int room;
static __thread unsigned char watched[65536];

static int is_short(const char *call) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("C10K_SHORTAGE"), call);
    return access(path, F_OK) == 0;
}

static void forget(int fd) {
    if (fd >= 0 && watched[fd & 65535]) {
        watched[fd & 65535] = 0;
        if (is_short("epoll_ctl")) atomic_fetch_add(&room, 1);
    }
}

int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event) {
    if (what == EPOLL_CTL_ADD) {
        if (is_short("epoll_ctl") && atomic_fetch_sub(&room, 1) <= 0) {
            atomic_fetch_add(&room, 1);
            errno = ENOSPC;
            return -1;
        }
        watched[fd & 65535] = 1;
    }
    int done = syscall(SYS_epoll_ctl, epoll, what, fd, event);
    if (what == EPOLL_CTL_DEL && done == 0) forget(fd);
    return done;
}

int close(int fd) {
    forget(fd);
    return syscall(SYS_close, fd);
}

int accept4(int listener, struct sockaddr *peer, socklen_t *size, int flags) {
    if (is_short("accept4")) {
        errno = ENFILE;
        return -1;
    }
    return syscall(SYS_accept4, listener, peer, size, flags);
}

int unshare(int what) {
    if (is_short("unshare")) {
        errno = ENOMEM;
        return -1;
    }
    return syscall(SYS_unshare, what);
}
"#;

/// A server of one lane, whose system calls can be made to fail from `folder`, with a descriptor limit; None where
/// there is no C compiler.
fn server_short_of(folder: &Path, nofile: u32) -> Option<Server> {
    server_with(folder, nofile, &[])
}

/// The same, with more arguments.
fn server_with(folder: &Path, nofile: u32, more: &[&str]) -> Option<Server> {
    let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&source, SHIM).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).output();
    if !compiled.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no C compiler, with which a shortage is made");
        return None;
    }
    let mut command = limited(nofile);
    command.env("LD_PRELOAD", shim).env("C10K_SHORTAGE", folder);
    Some(Server::start_with(command, &[&["--workers", "1"], more].concat()))
}

#[test]
fn while_epoll_has_no_room_the_queue_is_kept_and_nobody_is_closed() {
    const CROWD: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = server_short_of(folder.path(), 1024) else { return };
    let inside = server.connect();
    expect_echo(&inside, b"before");
    let lack = folder.path().join("epoll_ctl");
    std::fs::write(&lack, "").unwrap();
    let waiting: Vec<TcpStream> = (0..CROWD).map(|_| server.connect()).collect();
    // The one for which there was no watch has got the one in reserve.
    server.wait_for("a pause", |report| report.paused > 0);
    expect_echo(&waiting[0], b"the last that was let in");
    server.expect_idle("out of watches");
    expect_echo(&inside, b"meanwhile");
    let report = server.fresh_report();
    assert_eq!((report.paused, report.open, report.accepted), (1, 2, 2), "{report:?}");
    assert!(report.accept_errors["ENOSPC"] > 0 && report.failed.is_empty(), "{report:?}");

    // One goes and one comes.
    drop(inside);
    expect_echo(&waiting[1], b"his place");
    let report = server.fresh_report();
    assert_eq!((report.open, report.accepted, report.closed), (2, 3, 1), "{report:?}");

    std::fs::remove_file(&lack).unwrap();
    for stream in &waiting {
        expect_echo(stream, b"all of the queue");
    }
    let ended = server.stop();
    assert_eq!(
        (ended.report.accepted, ended.report.failed.len()),
        (1 + CROWD as u64, 0),
        "{:?}",
        ended.report
    );
    assert_eq!(ended.stderr.matches("hint: fs.epoll.max_user_watches is").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_server_that_waits_for_a_slot_needs_no_further_watch_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = server_with(folder.path(), 1024, &["--max-connections", "2"]) else { return };
    let first: Vec<TcpStream> = (0..2).map(|_| server.connect()).collect();
    first.iter().for_each(|stream| expect_echo(stream, b"inside"));
    std::fs::write(folder.path().join("epoll_ctl"), "").unwrap();
    let third = server.connect();
    server.wait_for("a pause", |report| report.paused > 0);
    server.expect_idle("out of slots and watches");
    drop(first);
    expect_echo(&third, b"a slot and a watch");
    assert!(server.stop().report.failed.is_empty());
}

#[test]
fn while_the_machine_has_no_descriptor_the_queue_is_kept_and_nothing_spins() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = server_short_of(folder.path(), 1024) else { return };
    let inside = server.connect();
    expect_echo(&inside, b"before");
    let lack = folder.path().join("accept4");
    std::fs::write(&lack, "").unwrap();
    let waiting: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    let report = server.wait_for("a pause", |report| report.paused > 0);
    assert!(report.accept_errors["ENFILE"] > 0, "{report:?}");
    server.expect_idle("out of descriptors");
    expect_echo(&inside, b"meanwhile");

    std::fs::remove_file(&lack).unwrap();
    waiting.iter().for_each(|stream| expect_echo(stream, b"descriptors are there again"));
    let report = server.stop().report;
    assert_eq!((report.paused, report.accepted, report.failed.len()), (1, 51, 0), "{report:?}");
}

#[test]
fn while_no_further_table_can_be_started_it_is_one_pause_and_the_same_table_that_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = server_short_of(folder.path(), 64) else { return };
    if matches!(server.ready, ServerEvent::Ready { own_tables: false, .. }) {
        eprintln!("SKIPPED: this place forbids unshare(CLONE_FILES)");
        return;
    }
    let lack = folder.path().join("unshare");
    std::fs::write(&lack, "").unwrap();
    let streams: Vec<TcpStream> = (0..80).map(|_| server.connect()).collect();
    server.wait_for("a pause", |report| report.paused > 0);
    for _ in 0..3 {
        let report = server.fresh_report();
        assert!((report.paused, report.tables) == (1, 1) && report.open < 64, "{report:?}");
    }
    server.expect_idle("out of tables");

    std::fs::remove_file(&lack).unwrap();
    streams.iter().for_each(|stream| expect_echo(stream, b"a second table"));
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    let mut lanes: Vec<String> = names.filter(|name| name.starts_with("lane-")).collect();
    lanes.sort();
    assert_eq!(lanes, ["lane-0.0\n", "lane-0.1\n"]);
    let ended = server.stop();
    assert_eq!(ended.report.paused, 1, "{:?}", ended.report);
    assert_eq!(ended.stderr.matches("cannot start another descriptor table").count(), 1, "{}", ended.stderr);
}
