//! Records of some runs, as the tests of this room see them.

use c10k_record::{
    AppliedSetting, Ceiling, ClockAt, ClockLook, ConnectRate, Connections, Cpu, Degree, EndHost, Evidence,
    Failure, Host, LatencySummary, MemoryPart, MemoryPerConnection, NotApplied, Outcome, PhaseName,
    Predicted, Protocol, Rate, Record, Remedy, RunState, Sample, Scope, Setting, Side, TimeWait, Tool,
    Topology, TwoHosts, Verdict, WallFound, Warning, Workload,
};

fn begun(run_id: &str) -> Record {
    let tool = Tool { name: "c10k-lab".to_owned(), version: "0.1.0".to_owned() };
    let (topology, protocol) = (Topology::Loopback, Protocol::Raw);
    let mut record = Record::begun(tool, run_id.to_owned(), topology, protocol, Workload::Hold);
    record.started_at = "2026-01-02T03:04:05Z".to_owned();
    record
}

fn outcome(name: &str) -> Outcome {
    serde_json::from_value(name.into()).expect("an outcome is its name")
}

fn verdict(expr: &str, passed: bool, value: Option<f64>) -> Verdict {
    Verdict { expr: expr.to_owned(), passed: Some(passed), value, severity: c10k_record::Severity::Fail }
}

fn figures(p50: u64, p95: u64, p99: u64, max: u64, count: u64) -> LatencySummary {
    let (p90, p999) = (Some(p95), Some(max));
    LatencySummary { p50: Some(p50), p90, p95: Some(p95), p99: Some(p99), p999, max: Some(max), count }
}

/// The same with the ends on two machines.
pub(crate) fn on_two_hosts() -> Record {
    let mut record = held();
    record.topology = Topology::Remote;
    let here = record.host.clone();
    let there = here.clone().map(|host| Host {
        os: Some("Debian 12".to_owned()),
        kernel: Some("6.1.0".to_owned()),
        root: true,
        ..host
    });
    let end = |name: &str, host: Option<Host>, free: f64, unexplained: f64| EndHost {
        name: Some(name.to_owned()),
        host,
        build: Some("c10k-lab 0.1.0 (x86_64, 0123456789abcdef)".to_owned()),
        profile: record.profile.clone(),
        memory_per_connection: MemoryPerConnection {
            connections: Some(100_000),
            free_memory_bytes: Some(free),
            unexplained_ratio: Some(unexplained),
            ..MemoryPerConnection::default()
        },
        ..EndHost::default()
    };
    let (server, client) = (end("serverbox", there, 4_120.0, 0.012), end("clientbox", here, 4_310.0, 0.006));
    record.two_hosts = Some(TwoHosts {
        control: "192.168.1.10:9900".to_owned(),
        server,
        client,
        looks: 40,
        looks_missed: 2,
        ..TwoHosts::default()
    });
    let look =
        |at, at_ms, offset_ns, round_trip_ns| ClockLook { at, at_ms, offset_ns, round_trip_ns, tries: 8 };
    record.clock = vec![
        look(ClockAt::Start, 0, Some(10_000_000_000), Some(200_000)),
        look(ClockAt::End, 20_000, None, None),
    ];
    record
}

/// 100,000 of 100,000.
pub(crate) fn held() -> Record {
    let mut record = begun("20260102T030405Z-tuned-raw-hold");
    record.state = RunState::Complete;
    record.ended_at = Some("2026-01-02T03:04:32Z".to_owned());
    record.command = ["c10k-lab", "run", "--target", "100k"].map(str::to_owned).to_vec();
    record.host = Some(Host {
        os: Some("Debian 13".to_owned()),
        kernel: Some("6.18.0".to_owned()),
        cpu: Some("Some CPU".to_owned()),
        cpus: 2,
        memory_bytes: 24 << 30,
        root: false,
        virtualization: None,
        ..Host::default()
    });
    record.connections = Connections {
        target: 100_000,
        attempted: 100_000,
        established: 100_000,
        accepted: Some(100_000),
        verified: Some(100_000),
        held: 100_000,
        ghosts: Some(0),
        ..Connections::default()
    };
    record.verdicts = vec![
        verdict("held = target", true, Some(100_000.0)),
        verdict("failed <= 1%", true, Some(0.0)),
        verdict("echo_p95 <= 100ms", true, Some(1.9)),
    ];
    record.rate = Rate {
        connects_per_second: ConnectRate {
            mean: Some(38_412.4),
            without_pauses: Some(38_412.4),
            peak: Some(44_100.0),
        },
        messages_per_second: Some(101_000.0),
    };
    record.latency_us.connect = figures(410, 1_900, 2_600, 8_800, 100_000);
    record.latency_us.first_echo = figures(620, 2_400, 3_100, 9_900, 100_000);
    record.latency_us.echo = figures(510, 1_900, 2_500, 7_000, 100_000);
    let part = |server, client, estimated| MemoryPart {
        server_bytes: Some(server),
        client_bytes: Some(client),
        estimated,
    };
    record.memory_per_connection = MemoryPerConnection {
        connections: Some(100_000),
        server_user_bytes: Some(16.4),
        server_kernel_bytes: Some(4_012.0),
        client_user_bytes: Some(24.1),
        client_kernel_bytes: Some(4_210.0),
        parts: [
            ("socket".to_owned(), part(2_520.0, 2_520.0, false)),
            ("epoll".to_owned(), part(192.0, 192.0, true)),
        ]
        .into(),
        free_memory_bytes: Some(8_310.0),
        unexplained_ratio: Some(0.006),
        estimated: false,
    };
    record.time_wait = TimeWait { peak: Some(0), at_end: Some(0) };
    record.cpu = Cpu {
        ramp_us: Some(2_603_330),
        server_cores: Some(0.42),
        swarm_cores: Some(0.97),
        softirq_cores: Some(0.31),
        server_us_per_connection: Some(8.6),
        swarm_us_per_connection: Some(15.2),
    };
    record.profile.name = "tuned".to_owned();
    record.profile.applied = vec![AppliedSetting {
        key: "net.core.somaxconn".to_owned(),
        before: "4096".to_owned(),
        after: "65535".to_owned(),
    }];
    record.profile.not_applied = vec![NotApplied {
        key: "fs.file-max".to_owned(),
        wanted: "4000000".to_owned(),
        present: Some("2466177".to_owned()),
        scope: Scope::Host,
        why: "it reaches the whole host and this is not root".to_owned(),
        command: Some("sudo sysctl -w fs.file-max=4000000".to_owned()),
    }];
    record
}

/// The same, with connections begun at a rate.
pub(crate) fn at_a_rate() -> Record {
    let mut record = held();
    record.latency_us.connect_response = Some(figures(460, 2_000, 2_700, 9_000, 100_000));
    record.lateness_us = Some(figures(55, 80, 130, 900, 100_000));
    record
}

/// 59,980 of 100,000, with failures of two kinds.
pub(crate) fn short() -> Record {
    let mut record = held();
    record.run_id = "20260102T040405Z-stock-raw-hold".to_owned();
    record.profile.name = "stock".to_owned();
    record.profile.applied.clear();
    record.profile.not_applied.clear();
    let failure =
        |phase, name, count, first_at_ms| Failure { phase, outcome: outcome(name), count, first_at_ms };
    record.failures = vec![
        failure(PhaseName::Ramp, "EADDRNOTAVAIL", 512, 1_612),
        failure(PhaseName::Hold, "ECONNRESET", 20, 4_100),
    ];
    record.connections = Connections {
        target: 100_000,
        attempted: 60_512,
        established: 60_000,
        accepted: None,
        verified: Some(60_000),
        held: 59_980,
        ghosts: None,
        failed: [(outcome("EADDRNOTAVAIL"), 512), (outcome("ECONNRESET"), 20)].into(),
        ..Connections::default()
    };
    record.verdicts = vec![
        verdict("held = target", false, Some(59_980.0)),
        verdict("failed <= 1%", true, Some(0.88)),
        verdict("echo_p95 <= 100ms", false, None),
    ];
    record.memory_per_connection = MemoryPerConnection { estimated: true, ..MemoryPerConnection::default() };
    record.memory_per_connection.client_user_bytes = Some(31.0);
    let evidence = |source: &str, after, text: &str| Evidence {
        source: source.to_owned(),
        side: Side::Swarm,
        before: None,
        after: Some(after),
        text: text.to_owned(),
    };
    let wall = WallFound {
        name: "ports-exhausted".to_owned(),
        title: "no source port is left to this destination".to_owned(),
        side: Side::Swarm,
        hard: true,
        evidence: vec![
            evidence("EADDRNOTAVAIL", 512, "512 connections lost: cannot assign requested address"),
            evidence("source ports", 60_000, "the sources allow 60,000 connections"),
        ],
        degree: Some(Degree::Proven),
        remedy: Some(Remedy {
            summary: "Use 4 source addresses, or let the server listen on more ports or addresses."
                .to_owned(),
            settings: vec![Setting { key: "--ips".to_owned(), value: "127.0.0.1-127.0.0.4".to_owned() }],
            commands: vec!["c10k-swarm --ips 127.0.0.1-127.0.0.4 --target 100000".to_owned()],
            scope: Scope::Namespace,
        }),
    };
    record.ceiling = Some(Ceiling {
        connections: 59_980,
        wall: wall.name.clone(),
        hard: true,
        evidence: wall.evidence.clone(),
        degree: wall.degree,
        remedy: wall.remedy.clone(),
        walls: vec![wall],
        predicted: Some(Predicted {
            connections: 60_000,
            wall: "ports-exhausted".to_owned(),
            uncertainty_percent: 0,
        }),
        off_by: Some(-20),
    });
    record.warnings = vec![Warning::new("not-isolated", "no network namespace could be made: EPERM")];
    record
}

/// Stopped by Ctrl-C in the ramp.
pub(crate) fn aborted() -> Record {
    let mut record = begun("20260102T050405Z-tuned-raw-hold");
    record.state = RunState::Aborted;
    record.ended_at = Some("2026-01-02T05:04:07Z".to_owned());
    record.ended_because = Some("stopped by SIGINT".to_owned());
    record.profile.name = "tuned".to_owned();
    record.connections = Connections {
        target: 100_000,
        attempted: 41_000,
        established: 40_600,
        accepted: Some(40_590),
        verified: Some(40_500),
        ghosts: Some(10),
        open: Some(40_600),
        failed: [(Outcome::aborted(), 41_000)].into(),
        ..Connections::default()
    };
    record.verdicts = vec![Verdict {
        expr: "held = target".to_owned(),
        passed: None,
        value: None,
        severity: c10k_record::Severity::Fail,
    }];
    record
}

/// Its writer was killed: only the partial record is left.
pub(crate) fn unfinished() -> Record {
    let mut record = begun("20260102T060405Z-tuned-raw-hold");
    record.profile.name = "tuned".to_owned();
    record.connections.target = 100_000;
    record.connections.attempted = 30_500;
    record.connections.established = 30_000;
    record
}

/// Four seconds of a run, with a gap.
pub(crate) fn samples() -> Vec<Sample> {
    let sample = |second: u64, phase: &str| Sample {
        elapsed_ms: second * 1000,
        phase: phase.to_owned(),
        attempted: Some(second * 30_000),
        established: Some(second * 30_000),
        accepted: (second != 2).then_some(second * 30_000),
        verified: Some(second * 29_000),
        open: Some(second * 29_500),
        failed: Some(0),
        connects_per_second: Some(29_500.5),
        messages_per_second: Some(29_000.0),
        server_rss_bytes: Some((5 << 20) + second * 100_000),
        swarm_rss_bytes: Some((6 << 20) + second * 100_000),
        slab_bytes: Some((300 << 20) + second * (200 << 20)),
        mem_free_bytes: Some((20 << 30) - second * (250 << 20)),
        mem_available_bytes: None,
        page_cache_bytes: Some(1 << 30),
        time_wait: Some(0),
        listen_overflows: Some(0),
        accept_queue: Some(second * 3),
        server_cores: Some(0.4),
        swarm_cores: Some(0.9),
        softirq_cores: Some(0.3),
        ..Sample::default()
    };
    vec![sample(0, ""), sample(1, "ramp"), sample(2, "ramp"), sample(3, "hold"), sample(4, "close")]
}

/// Three intervals of an interval log, under three tags.
pub(crate) fn latency_log() -> String {
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
    let mut text = "#[Histogram log format version 1.3]\n".to_owned();
    for second in 0..3_u64 {
        for (tag, us) in [("connect", 300), ("echo.response", 900), ("echo.lateness", 20)] {
            let mut histogram = c10k_record::LatencyHistogram::default();
            (0..100).for_each(|n| histogram.record_us((second + 1) * us + n));
            let mut bytes = Vec::new();
            V2DeflateSerializer::new().serialize(histogram.as_hdr(), &mut bytes).expect("memory takes it");
            let encoded = data_encoding::BASE64.encode(&bytes);
            text += &format!("Tag={tag},{second}.000,1.000,9.000,{encoded}\n");
        }
    }
    text
}

/// A step of an echo workload, a stream, a fan-out and a churn, as far as a page shows them.
pub(crate) fn worked() -> Record {
    use c10k_record::{Churned, FannedOut, PhaseKind, Streamed, Worked, WorkedSlice};
    let slice = |n: u64| WorkedSlice {
        from_ms: n * 1000,
        to_ms: (n + 1) * 1000,
        messages_per_second: 50.0 * n as f64,
        response_p50_us: Some(400),
        response_p99_us: (n != 2).then_some(900 * (n + 1)),
        lateness_p99_us: Some(70),
    };
    let times = figures(400, 900, 1_900, 9_000, 500);
    let of = |name: &str, kind| Worked {
        name: name.to_owned(),
        kind,
        from_ms: 0,
        to_ms: 5_000,
        connections: 1_000,
        messages_intended: Some(500),
        messages_sent: 500,
        messages_answered: 499,
        messages_not_sent_in_time: 1,
        messages_never_sent: 0,
        messages_wrong: 0,
        messages_per_second: Some(99.8),
        response_us: times,
        service_us: times,
        lateness_us: Some(figures(20, 40, 70, 300, 500)),
        over_time: (0..5).map(slice).collect(),
        churn: None,
        stream: None,
        fanout: None,
        server_cores: Some(0.4),
        swarm_cores: None,
    };
    let mut record = held();
    let churn = Churned {
        closed: 500,
        reopened: 480,
        failed: 3,
        cycles_per_second: Some(96.0),
        ..Churned::default()
    };
    let stream = Streamed {
        viewers: 1_000,
        whole: 990,
        stalled_viewers: 10,
        stalls: 14,
        stall_us: times,
        ..Streamed::default()
    };
    let fanout = FannedOut { rounds: 5, receivers: 1_000, last_receiver_us: times, ..FannedOut::default() };
    record.work = vec![
        of("talk", PhaseKind::Echo),
        Worked { churn: Some(churn), ..of("come-and-go", PhaseKind::Churn) },
        Worked { stream: Some(stream), ..of("play", PhaseKind::Stream) },
        Worked { fanout: Some(fanout), ..of("call", PhaseKind::Fanout) },
    ];
    record
}

/// The page of a record of which nothing else is there.
pub(crate) fn page(record: &Record) -> String {
    crate::page_of_run(&crate::Shown {
        record,
        samples: &[],
        ramp: &[],
        latencies: &crate::LatencyLog::default(),
        ladder: &[],
        find: None,
        missing: &[],
        files: &[],
    })
}
