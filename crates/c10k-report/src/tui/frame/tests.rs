//! Frames as text.

use std::time::Duration;

use c10k_record::{Live, Messages, Sample};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;

/// Rows of a ramp to `top` in `ramp` ticks, and of a stand there until `rows`.
fn rows(top: u64, ramp: u64, rows: u64) -> Vec<Sample> {
    let of = |tick: u64| {
        let up = top * tick.min(ramp) / ramp;
        let rate = if tick <= ramp { top as f64 * 4.0 / ramp as f64 } else { 0.0 };
        Sample {
            elapsed_ms: tick * 250,
            attempted: Some(up),
            established: Some(up),
            accepted: Some(up),
            verified: Some(up.saturating_sub(20)),
            connects_per_second: (tick > 0).then_some(rate),
            ..Sample::default()
        }
    };
    (0..=rows).map(of).collect()
}

fn ramp() -> View {
    View {
        title: "tuned · raw · loopback".to_owned(),
        live: Live {
            phase: "ramp",
            done: 45_120,
            target: 100_000,
            connects_per_second: Some(38_412.7),
            elapsed: Duration::from_millis(1_250),
            left: Some(Duration::from_millis(1_430)),
            ..Live::default()
        },
        target: 100_000,
        rows: rows(45_140, 5, 5),
        sockets: vec![
            ("LISTEN", Some(2)),
            ("CurrEstab", Some(90_280)),
            ("TIME-WAIT", Some(1)),
            ("orphan", Some(0)),
            ("inuse", Some(90_282)),
            ("alloc", None),
        ],
        accept_queue: (Some(1_024), Some(4_096)),
        lost: Vec::new(),
        memory: vec![("server".to_owned(), 7.0), ("swarm".to_owned(), 116.0), ("kernel".to_owned(), 8_222.0)],
        cores: vec![("server", Some(0.62)), ("swarm", Some(1.04)), ("softirq", Some(0.21)), ("idle", None)],
        cpus: 4,
        walls: vec![
            ("ram".to_owned(), 2_577_919),
            ("epoll-watches".to_owned(), 2_745_766),
            ("threads".to_owned(), 325_719_216),
        ],
        open: 45_120,
        word: None,
        is_stopping: false,
    }
}

fn hold() -> View {
    let live = Live {
        phase: "hold",
        done: 100_000,
        connects_per_second: None,
        left: Some(Duration::from_secs(6)),
        elapsed: Duration::from_secs(8),
        ..ramp().live
    };
    let parts =
        [("socket", 5_020.0), ("inode", 1_710.0), ("epoll", 410.0), ("file", 390.0), ("dentry", 389.0)];
    View {
        live,
        rows: rows(100_000, 12, 32),
        accept_queue: (Some(0), Some(4_096)),
        memory: parts.map(|(name, bytes)| (name.to_owned(), bytes)).to_vec(),
        open: 100_000,
        ..ramp()
    }
}

fn drawn(view: &View, color: bool, (width, height): (u16, u16)) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
    terminal.draw(|frame| draw(view, color, frame)).expect("memory");
    terminal.backend().clone()
}

fn shown(view: &View) -> String {
    drawn(view, false, (80, 24)).to_string()
}

#[test]
fn a_ramp_shows_its_counts_over_time_and_what_it_takes() {
    insta::assert_snapshot!("ramp", shown(&ramp()));
}

#[test]
fn a_hold_shows_the_parts_of_a_connection_and_its_countdown() {
    insta::assert_snapshot!("hold", shown(&hold()));
}

#[test]
fn a_proof_shows_its_echoes() {
    let messages = Some(Messages { kind: None, per_second: 101_000.0, p50_us: None, p99_us: None });
    let live = Live { phase: "verify", messages, left: None, ..hold().live };
    let word = Some("warning: the swarm did not run for 1.2 s".to_owned());
    insta::assert_snapshot!("verify", shown(&View { live, word, is_stopping: true, ..hold() }));
}

#[test]
fn a_shortfall_shows_its_losses_by_errno_and_a_queue_that_is_full() {
    let lost =
        [("ECONNREFUSED", 3_210), ("connect-timeout", 44), ("EMFILE", 7), ("corrupt", 2), ("short-echo", 1)];
    let view = View {
        live: Live { failed: 3_264, ..ramp().live },
        lost: lost.map(|(name, count)| (name.to_owned(), count)).to_vec(),
        accept_queue: (Some(4_097), Some(4_096)),
        walls: Vec::new(),
        ..ramp()
    };
    insta::assert_snapshot!("shortfall", shown(&view));
}

#[test]
fn a_workload_shows_its_rate_and_its_percentiles() {
    let messages =
        Some(Messages { kind: None, per_second: 20_113.0, p50_us: Some(510), p99_us: Some(2_480) });
    insta::assert_snapshot!("workload", shown(&View { live: Live { messages, ..hold().live }, ..hold() }));
}

#[test]
fn a_narrow_and_low_terminal_shows_the_counts_and_how_to_stop() {
    insta::assert_snapshot!("narrow", drawn(&ramp(), false, (40, 10)).to_string());
}

#[test]
fn every_size_is_drawn_and_nothing_of_a_view_is_too_large_for_it() {
    let most = View {
        title: "x".repeat(300),
        target: u64::MAX,
        rows: vec![Sample {
            attempted: Some(u64::MAX),
            connects_per_second: Some(1e300),
            ..Sample::default()
        }],
        sockets: vec![("LISTEN", Some(u64::MAX)); 6],
        accept_queue: (Some(u64::MAX), Some(0)),
        lost: vec![("ä".repeat(200), u64::MAX / 8); 5],
        memory: vec![("ä".repeat(200), 1e18); 9],
        cores: vec![("server", Some(1e9)), ("swarm", Some(f64::NAN))],
        walls: vec![("x".repeat(200), u64::MAX)],
        ..ramp()
    };
    for view in [ramp(), hold(), most, View::default()] {
        for width in [0, 1, 2, 5, 11, 20, 39, 40, 59, 60, 61, 80, 130] {
            for height in [0, 1, 2, 3, 4, 5, 9, 10, 15, 20, 21, 24, 45] {
                drawn(&view, true, (width, height));
            }
        }
    }
}

#[test]
fn colour_is_never_the_only_sign() {
    let lossy = View { lost: vec![("ECONNRESET".to_owned(), 9)], ..ramp() };
    let is_red = |backend: &TestBackend| backend.buffer().content.iter().any(|cell| cell.fg == Color::Red);
    let (colored, plain) = (drawn(&lossy, true, (80, 24)), drawn(&lossy, false, (80, 24)));
    assert!(is_red(&colored) && !is_red(&plain));
    assert_eq!(colored.to_string(), plain.to_string());
    assert!(plain.to_string().contains("! ECONNRESET"), "{plain}");
}
