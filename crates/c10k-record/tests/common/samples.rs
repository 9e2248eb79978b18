//! Records of which nothing is known, and of which everything is.

use std::collections::BTreeMap;

use c10k_record::{
    AgeBin, AgeSpread, AppliedSetting, Baseline, BegunOrder, BitRate, Ceiling, ChurnClose, Churned, ClockAt,
    ClockLook, CloseHow, Compared, ConnectRate, Connections, Cpu, Degree, Delayed, DropCount, DropReasons,
    EndHost, Evidence, Failure, FannedOut, FirewallRules, Gap, GapOf, GrowthEvidence, GrowthStop, Host,
    HostSnapshot, InShards, Latencies, LatencyHistogram, Listeners, LoadPlan, LossAges, LossOrder, LostPart,
    MemoryPart, MemoryPerConnection, MetOnTheWay, NotApplied, Outcome, Outgoing, Payload, PhaseKind,
    PhaseName, PhasePlan, PhaseTimes, Plan, PortsInPlan, Predicted, ProcessInRun, ProfileInRun, Protocol,
    Rate, Record, Remedy, RunEvidence, RunState, SCHEMA_VERSION, Scope, ServerMode, ServerPlan, ServerReport,
    ServerWords, Setting, ShardPart, Side, SilentSample, Steps, Streamed, TimeWait, Tool, Topology, TwoHosts,
    Verdict, WallFound, Warning, WorkPlan, Worked, WorkedSlice, Workload,
};
/// Every key of a workload says something.
fn work_plan() -> WorkPlan {
    WorkPlan {
        beat: Some(c10k_record::Span::secs(60)),
        messages_per_second: Some(1.5),
        message_rate_per_second: Some(1.5),
        in_flight_messages: Some(7),
        payload: Some(Payload { min_bytes: 32, max_bytes: 1024 }),
        churn_per_second: Some(1.5),
        churn_close: Some(ChurnClose::Rst),
        bitrate: Some(BitRate { bits_per_second: 500_000 }),
        fanout_every: Some(c10k_record::Span::secs(1)),
    }
}

/// Nothing is known but what a record cannot do without.
pub(crate) fn bare() -> Record {
    let tool = Tool { name: "c10k-swarm".to_owned(), version: "0.1.0".to_owned() };
    Record::begun(tool, "bare".to_owned(), Topology::Remote, Protocol::Raw, Workload::Hold)
}

/// What came of a workload, as far as one can tell all of it.
fn worked(latencies: Latencies) -> Worked {
    let (some, latency) = (Some(7), latencies.echo);
    Worked {
        name: "peak".to_owned(),
        kind: PhaseKind::Echo,
        from_ms: 1,
        to_ms: 2,
        connections: 7,
        messages_intended: some,
        messages_sent: 7,
        messages_answered: 7,
        messages_not_sent_in_time: 0,
        messages_never_sent: 0,
        messages_wrong: 0,
        messages_per_second: Some(1.5),
        response_us: latency,
        service_us: latency,
        lateness_us: Some(latency),
        over_time: vec![WorkedSlice {
            response_p50_us: some,
            response_p99_us: some,
            lateness_p99_us: some,
            ..WorkedSlice::default()
        }],
        churn: Some(Churned {
            cycles_per_second: Some(1.5),
            time_wait_client_peak: some,
            time_wait_server_peak: some,
            latency_us: latencies,
            ..Churned::default()
        }),
        stream: Some(Streamed {
            bits_per_second: Some(1.5),
            stall_us: latency,
            start_up_us: latency,
            ..Streamed::default()
        }),
        fanout: Some(FannedOut {
            receipt_us: latency,
            first_receiver_us: latency,
            median_receiver_us: latency,
            p99_receiver_us: latency,
            last_receiver_us: latency,
            ..FannedOut::default()
        }),
        server_cores: Some(1.5),
        swarm_cores: Some(1.5),
    }
}

/// One of two hosts, with what is known of the one.
fn end_host(record: &Record) -> EndHost {
    EndHost {
        name: Some("box".to_owned()),
        host: record.host.clone(),
        build: Some("c10k-lab 0.1.0".to_owned()),
        profile: record.profile.clone(),
        memory_per_connection: record.memory_per_connection.clone(),
        lowest_memory_available_bytes: Some(7),
        established: Some(7),
        counters: [("ListenOverflows".to_owned(), 7)].into(),
        unreadable: vec!["/proc/slabinfo".to_owned()],
    }
}

/// Every field has a value, every list and map a member.
pub(crate) fn full() -> Record {
    let some = Some(7);
    let evidence = Evidence {
        source: "EMFILE".to_owned(),
        side: Side::Server,
        before: some,
        after: some,
        text: "seen".to_owned(),
    };
    let remedy = Remedy {
        summary: "Raise it.".to_owned(),
        settings: vec![Setting { key: "limits.nofile".to_owned(), value: "7".to_owned() }],
        commands: vec!["ulimit -n 7".to_owned()],
        scope: Scope::Process,
    };
    let mut histogram = LatencyHistogram::default();
    histogram.record_us(42);
    let figures = histogram.summary();
    let outcomes: BTreeMap<String, u64> = [("ECONNRESET".to_owned(), 1)].into();
    let part = MemoryPart { server_bytes: Some(2520.5), client_bytes: Some(2520.0), estimated: true };
    let limits = HostSnapshot {
        server_nofile: some,
        swarm_nofile: some,
        nofile_hard: some,
        nofile_soft: some,
        server_tables: true,
        swarm_tables: true,
        nr_open: some,
        file_max: some,
        files_in_use: some,
        file_max_bypassed: true,
        port_range: Some((1024, 65535)),
        reserved_ports: some,
        somaxconn: some,
        backlog: some,
        max_syn_backlog: some,
        max_tw_buckets: some,
        time_wait: some,
        tw_reuse: some,
        timestamps: some,
        netdev_max_backlog: some,
        tcp_mem_pages: Some([1, 2, u64::MAX]),
        max_orphans: some,
        epoll_watches: some,
        watches_apart: true,
        conntrack_max: some,
        conntrack_entries: some,
        memory_available_bytes: some,
        cgroup_memory_bytes: some,
        cgroup_memory_folder: Some("/sys/fs/cgroup/box".to_owned()),
        cgroup_memory_file: Some("memory.max".to_owned()),
        nproc: some,
        nproc_hard: some,
        nproc_bypassed: true,
        pids_max: some,
        pids_current: some,
        pids_folder: Some("/sys/fs/cgroup/box".to_owned()),
        threads_max: some,
        pid_max: some,
        threads_in_use: some,
        user_threads: some,
        server_per_table: some,
        server_processes: some,
        server_room: some,
        swarm_per_table: some,
        may_raise_nofile: Some(true),
        threads_left: some,
        neighbours_max: some,
        neighbours_max_ipv6: some,
        link_bits_per_second: some,
        memory_total_bytes: some,
        cgroup_memory_used_bytes: some,
        cgroup_memory_kept_bytes: some,
        cgroup_connection_bytes: some,
        server_connection_bytes: some,
        client_connection_bytes: some,
        other: [("net.ipv4.tcp_syncookies".to_owned(), "1".to_owned())].into(),
    };
    let mut record = bare();
    record.end(RunState::Complete);
    record.ended_because = Some("nothing broke".to_owned());
    record.growth_stopped = Some(GrowthStop::NoPorts);
    record.growth_evidence = Some(GrowthEvidence {
        at_ms: 1,
        errno: Some(Outcome::named("EMFILE")),
        ports: Some(PortsInPlan { planned: 3, in_use: 1, time_wait: 1, taken: 1 }),
    });
    let spread = Some(AgeSpread { bins: vec![AgeBin::default()], ..AgeSpread::default() });
    record.evidence = RunEvidence {
        ages: Some(LossAges { since_connect: spread.clone(), since_last_byte: spread.clone(), at: spread }),
        order: Some(LossOrder { begun: Some(BegunOrder::default()), ..LossOrder::default() }),
        silent: Some(SilentSample {
            last_ack_ms: some,
            quiet_ms: some,
            rtt_us: some,
            new_connects: Some(true),
            ..SilentSample::default()
        }),
        outgoing: Some(Outgoing::default()),
        listeners: Some(Listeners::default()),
        rules: Some(FirewallRules { refuse: some, ..FirewallRules::default() }),
        drops: Some(DropReasons {
            counted: [("NETFILTER_DROP".to_owned(), DropCount { own: 3, beyond: 1, quiet: 1 })].into(),
            why_not: Some("it may be counted by root alone".to_owned()),
            ..DropReasons::default()
        }),
        words: vec![ServerWords::default()],
    };
    record.host = Some(Host {
        os: Some("Linux".to_owned()),
        kernel: Some("6.18".to_owned()),
        cpu: Some("one".to_owned()),
        cpus: 2,
        memory_bytes: 1,
        root: true,
        virtualization: Some("kvm".to_owned()),
        limits,
    });
    record.profile = ProfileInRun {
        name: "tuned".to_owned(),
        applied: vec![AppliedSetting { key: "k".to_owned(), before: "1".to_owned(), after: "2".to_owned() }],
        not_applied: vec![NotApplied {
            key: "k".to_owned(),
            wanted: "2".to_owned(),
            present: Some("1".to_owned()),
            scope: Scope::Host,
            why: "EPERM".to_owned(),
            command: Some("sudo true".to_owned()),
        }],
    };
    record.plan = Some(Plan {
        schema_version: SCHEMA_VERSION,
        profile: "tuned".to_owned(),
        topology: Topology::Veth,
        protocol: Protocol::Raw,
        workload: Workload::Hold,
        target: 10,
        verdicts: c10k_record::default_conditions(true),
        server: ServerPlan {
            listen: vec!["127.0.0.1:9000".parse().expect("an address")],
            mode: ServerMode::Hold,
            workers: Some(2),
            max_connections: Some(9),
            foreign: true,
            control: Some("127.0.0.1:9900".parse().expect("an address")),
            reached_at: vec!["10.0.0.1:9000".parse().expect("an address")],
            ssh: Some("root@far".to_owned()),
        },
        load: LoadPlan {
            ips: Some("127.0.0.1-127.0.0.2".to_owned()),
            ports: Some("1024-65535".to_owned()),
            rate_per_second: Some(10.5),
            steps: Some(Steps { size: 5, count: 2 }),
            workers: Some(2),
            close: CloseHow::Fin,
            ping_every: Some(c10k_record::Span::secs(1)),
            arrivals: c10k_record::Spread::Poisson,
            seed: some,
            path: Some("/chat".to_owned()),
            headers: vec!["Name: value".to_owned()],
            subprotocols: vec!["chat".to_owned()],
            ..LoadPlan::default()
        },
        work: work_plan(),
        phases: vec![PhasePlan {
            name: "peak".to_owned(),
            kind: PhaseKind::Echo,
            target: some,
            rate_per_second: Some(1.0),
            duration: Some(c10k_record::Span::secs(1)),
            work: work_plan(),
        }],
    });
    record.command = vec!["c10k-lab".to_owned()];
    record.connections = Connections {
        target: 10,
        attempted: 10,
        established: 9,
        accepted: some,
        verified: some,
        held: 7,
        at_server: some,
        ghosts: some,
        released: 1,
        open: some,
        failed: [(Outcome::aborted(), 2)].into(),
    };
    record.failures =
        vec![Failure { phase: PhaseName::Verify, outcome: Outcome::corrupt(), count: 1, first_at_ms: 5 }];
    record.rate = Rate {
        connects_per_second: ConnectRate { mean: Some(1.5), without_pauses: Some(1.8), peak: Some(2.0) },
        messages_per_second: Some(3.0),
    };
    let delayed = Delayed {
        connects: 9,
        connects_at_steps: 9,
        longest_connect_us: some,
        first_echoes: 1,
        longest_first_echo_us: some,
    };
    record.latency_us = Latencies {
        connect: figures,
        connect_response: Some(figures),
        handshake: Some(figures),
        echo: figures,
        first_echo: figures,
        late: Some(delayed),
    };
    record.lateness_us = Some(figures);
    record.memory_per_connection = MemoryPerConnection {
        connections: some,
        server_user_bytes: Some(-0.5),
        server_kernel_bytes: Some(4000.0),
        client_user_bytes: Some(1.0),
        client_kernel_bytes: Some(4200.0),
        parts: [("socket".to_owned(), part)].into(),
        free_memory_bytes: Some(8300.0),
        unexplained_ratio: Some(-0.01),
        estimated: true,
    };
    record.time_wait = TimeWait { peak: some, at_end: some };
    record.cpu = Cpu {
        ramp_us: some,
        server_cores: Some(0.5),
        swarm_cores: Some(0.5),
        softirq_cores: Some(0.5),
        server_us_per_connection: Some(9.0),
        swarm_us_per_connection: Some(15.0),
    };
    record.phases = vec![PhaseTimes { phase: PhaseName::Ramp, from_ms: 0, to_ms: some }];
    record.processes = vec![ProcessInRun {
        pid: 7,
        name: Some("server".to_owned()),
        listens: true,
        counted: true,
        connections: some,
        estimated: true,
        rss_bytes: some,
        pss_bytes: some,
        private_bytes: some,
        descriptors: some,
        nofile: some,
        threads: some,
        cpu_seconds: Some(0.5),
    }];
    record.server = Some(ServerReport {
        opened: Some(1),
        failed: outcomes.clone(),
        accept_errors: outcomes,
        ..ServerReport::default()
    });
    record.ceiling = Some(Ceiling {
        connections: 7,
        wall: "nofile-server".to_owned(),
        walls: vec![WallFound {
            name: "nofile-server".to_owned(),
            title: "a limit".to_owned(),
            side: Side::Host,
            hard: true,
            evidence: vec![evidence.clone()],
            degree: Some(Degree::Likely),
            remedy: Some(remedy.clone()),
        }],
        hard: true,
        evidence: vec![evidence.clone()],
        degree: Some(Degree::Proven),
        remedy: Some(remedy.clone()),
        predicted: Some(Predicted {
            connections: 8,
            wall: "nofile-server".to_owned(),
            uncertainty_percent: 1,
        }),
        off_by: Some(-1),
    });
    record.wall_ahead = Some(Predicted { connections: 9, wall: "ram".to_owned(), uncertainty_percent: 5 });
    record.met_on_the_way = vec![MetOnTheWay {
        wall: "accept-queue".to_owned(),
        title: "a queue".to_owned(),
        side: Side::Server,
        times: 9,
        cost: Some(delayed),
        evidence: vec![evidence],
        remedy: Some(remedy),
    }];
    record.two_hosts = Some(TwoHosts {
        control: "127.0.0.1:9900".to_owned(),
        server: end_host(&record),
        client: end_host(&record),
        lost_at_ms: some,
        lost_because: Some("no answer".to_owned()),
        ..TwoHosts::default()
    });
    record.clock =
        vec![ClockLook { at: ClockAt::Middle, at_ms: 7, offset_ns: Some(-7), round_trip_ns: some, tries: 8 }];
    record.gaps = vec![Gap { process: GapOf::Swarm, from_ms: 1, to_ms: 2000, suspended_ms: 3 }];
    record.sources_gone = Some(vec!["10.0.0.7".parse().expect("an address")]);
    record.verdicts = vec![Verdict {
        expr: "held = target".to_owned(),
        passed: Some(false),
        value: Some(7.0),
        severity: c10k_record::Severity::Fail,
    }];
    record.shards = Some(InShards {
        of: 3,
        counted: 2,
        attempt: 1,
        together_ms: some,
        clock_error_us: some,
        lost: vec![LostPart { shard: 2, why: "it left no result".to_owned() }],
        parts: vec![ShardPart {
            shard: 1,
            host: "box1".to_owned(),
            target: 7,
            established: 7,
            held: 7,
            failed: 0,
            began_after_ms: some,
            end: "held".to_owned(),
        }],
    });
    record.baseline = Some(Baseline {
        run_id: "before".to_owned(),
        path: "results/before".to_owned(),
        differences: vec!["kernel: 6.12 in the baseline, 6.18 here".to_owned()],
        compared: vec![Compared {
            expr: "held >= 8 - 1%".to_owned(),
            baseline: 8.0,
            value: Some(7.0),
            ratio: Some(0.875),
        }],
    });
    record.warnings = vec![Warning::new("not-isolated", "EPERM")];
    record.notes = vec![Warning::new("hold-is-short", "a hold of 10 s")];
    record.work = vec![worked(record.latency_us)];
    record
}
