//! Every record is what its published schema says, and the schema says nothing that no record has.

use std::collections::BTreeMap;

use c10k_record::{
    AgeBin, AgeSpread, AppliedSetting, Ceiling, CloseHow, ConnectRate, Connections, Cpu, Degree, Delayed,
    Evidence, Failure, FirewallRules, Gap, GapOf, GrowthEvidence, GrowthStop, Host, HostSnapshot, Latencies,
    LatencyHistogram, Listeners, LoadPlan, LossAges, LossOrder, MemoryPart, MemoryPerConnection, MetOnTheWay,
    NotApplied, Outcome, Outgoing, PhaseName, PhaseTimes, Plan, PortsInPlan, Predicted, ProcessInRun,
    ProfileInRun, Protocol, Rate, Record, Remedy, RunEvidence, RunState, SCHEMA_VERSION, Scope, ServerMode,
    ServerPlan, ServerReport, Setting, Side, SilentSample, Steps, TimeWait, Tool, Topology, Verdict,
    WallFound, Warning, Workload,
};
use serde_json::{Map, Value, json};

#[path = "common/validator.rs"]
mod validator;

use validator::faults;

fn schema() -> Value {
    serde_json::from_str(include_str!("../schema/record-v1.schema.json")).expect("the schema is JSON")
}

fn check(value: &Value) -> Vec<String> {
    let schema = schema();
    let mut found = Vec::new();
    faults(&schema, &schema, value, "record", &mut found);
    found
}

#[track_caller]
fn json_of(record: &Record) -> Value {
    serde_json::to_value(record).expect("a record is plain data")
}

/// Nothing is known but what a record cannot do without.
fn bare() -> Record {
    let tool = Tool { name: "c10k-swarm".to_owned(), version: "0.1.0".to_owned() };
    Record::begun(tool, "bare".to_owned(), Topology::Remote, Protocol::Raw, Workload::Hold)
}

/// Every field has a value, every list and map a member.
fn full() -> Record {
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
        order: Some(LossOrder::default()),
        silent: Some(SilentSample {
            last_ack_ms: some,
            quiet_ms: some,
            rtt_us: some,
            new_connects: Some(true),
            ..SilentSample::default()
        }),
        outgoing: Some(Outgoing::default()),
        listeners: Some(Listeners::default()),
        rules: Some(FirewallRules::default()),
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
        },
        load: LoadPlan {
            ips: Some("127.0.0.1-127.0.0.2".to_owned()),
            ports: Some("1024-65535".to_owned()),
            rate_per_second: Some(10.5),
            steps: Some(Steps { size: 5, count: 2 }),
            workers: Some(2),
            close: CloseHow::Fin,
            ping_every: Some(c10k_record::Span::secs(1)),
            path: Some("/chat".to_owned()),
            headers: vec!["Name: value".to_owned()],
            subprotocols: vec!["chat".to_owned()],
            ..LoadPlan::default()
        },
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
    record.met_on_the_way = vec![MetOnTheWay {
        wall: "accept-queue".to_owned(),
        title: "a queue".to_owned(),
        side: Side::Server,
        times: 9,
        cost: Some(delayed),
        evidence: vec![evidence],
        remedy: Some(remedy),
    }];
    record.gaps = vec![Gap { process: GapOf::Swarm, from_ms: 1, to_ms: 2000, suspended_ms: 3 }];
    record.sources_gone = Some(vec!["10.0.0.7".parse().expect("an address")]);
    record.verdicts =
        vec![Verdict { expr: "held = target".to_owned(), passed: Some(false), value: Some(7.0) }];
    record.warnings = vec![Warning::new("not-isolated", "EPERM")];
    record
}

#[test]
fn a_full_record_and_one_of_nulls_are_what_the_schema_says() {
    assert_eq!(check(&json_of(&full())), [] as [String; 0]);
    assert_eq!(check(&json_of(&bare())), [] as [String; 0]);
    let mut host = bare();
    host.host = Some(Host::default());
    assert_eq!(check(&json_of(&host)), [] as [String; 0]);
}

#[test]
fn a_value_that_is_no_number_any_more_is_null() {
    let mut record = full();
    record.memory_per_connection.unexplained_ratio = Some(f64::NAN);
    record.verdicts[0].value = Some(f64::INFINITY);
    assert_eq!(check(&json_of(&record)), [] as [String; 0]);
}

#[test]
fn a_missing_field_is_refused_wherever_it_is_missing() {
    let whole = json_of(&full());
    let members = |place: &str| -> Vec<String> {
        let object = whole.pointer(place).and_then(Value::as_object).expect("an object");
        object.keys().cloned().collect()
    };
    for place in [
        "",
        "/connections",
        "/latency_us/echo",
        "/host/limits",
        "/ceiling",
        "/ceiling/predicted",
        "/ceiling/walls/0",
        "/met_on_the_way/0",
        "/met_on_the_way/0/cost",
        "/gaps/0",
        "/cpu",
    ] {
        for name in members(place) {
            let mut record = whole.clone();
            record.pointer_mut(place).and_then(Value::as_object_mut).expect("an object").remove(&name);
            assert!(!check(&record).is_empty(), "{place}/{name} may be missing");
        }
    }
}

#[test]
fn a_wrong_value_is_refused() {
    let wrong = [
        ("/schema_version", json!(2)),
        ("/state", json!("done")),
        ("/connections/held", json!("7")),
        ("/connections/held", json!(null)),
        ("/connections/held", json!(-1)),
        ("/connections/held", json!(1.5)),
        ("/connections/failed/aborted", json!("2")),
        ("/latency_us/echo/p95", json!(1.5)),
        ("/verdicts/0/passed", json!(1)),
        ("/ceiling/walls/0/side", json!("client")),
        ("/ceiling", json!([])),
        ("/host/limits/port_range", json!([1024])),
        ("/host/limits/port_range", json!([1024, 70_000])),
        ("/warnings", json!({})),
        ("/memory_per_connection/parts/socket", json!(2520)),
    ];
    for (place, value) in wrong {
        let mut record = json_of(&full());
        *record.pointer_mut(place).unwrap_or_else(|| panic!("{place} leads nowhere")) = value.clone();
        assert!(!check(&record).is_empty(), "{place} may be {value}");
    }
}

#[test]
fn a_field_the_schema_does_not_know_is_refused() {
    let mut record = json_of(&full());
    record["connections"]["lost"] = json!(1);
    assert_eq!(check(&record), ["record.connections.lost is not in the schema"]);
}

#[test]
fn every_field_is_described_and_every_definition_is_used_by_a_full_record() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let text = schema.to_string();
    for (name, definition) in definitions {
        assert!(text.contains(&format!("\"#/$defs/{name}\"")), "{name} is used by nobody");
        described(definition, name);
    }
    described(&schema, "record");
    let mut unseen = Vec::new();
    covered(&schema, &schema, &json_of(&full()), "record", &mut unseen);
    assert_eq!(unseen, [] as [String; 0], "the schema has what no record has");
}

fn described(schema: &Value, place: &str) {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    assert!(!text.is_empty(), "{place} has no description");
    let empty = Map::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).unwrap_or(&empty) {
        described(property, &format!("{place}.{name}"));
    }
}

/// Properties of the schema that `value` does not have.
fn covered(root: &Value, schema: &Value, value: &Value, place: &str, unseen: &mut Vec<String>) {
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(path.trim_start_matches('#')).expect("a definition");
        covered(root, target, value, place, unseen);
    }
    if let Some(first) = schema.pointer("/anyOf/0") {
        covered(root, first, value, place, unseen);
    }
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        list.iter().for_each(|item| covered(root, items, item, place, unseen));
    }
    for (name, rule) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let place = format!("{place}.{name}");
        match value.get(name) {
            Some(member) if !member.is_null() => covered(root, rule, member, &place, unseen),
            _ => unseen.push(place),
        }
    }
}
