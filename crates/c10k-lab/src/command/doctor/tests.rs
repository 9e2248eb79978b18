use super::*;

fn outside(soft: u64) -> Outside {
    let mut outside = Outside::look(&Profile::load("stock").expect("shipped"));
    outside.nofile = Some(c10k_kernel::limits::Limit { soft, hard: 20_000 });
    outside.root = false;
    outside
}

fn host() -> HostSnapshot {
    HostSnapshot {
        server_nofile: Some(20_000),
        swarm_nofile: Some(20_000),
        nofile_hard: Some(20_000),
        may_raise_nofile: Some(true),
        server_tables: true,
        swarm_tables: true,
        nr_open: Some(1 << 20),
        file_max: Some(2_466_177),
        files_in_use: Some(1_000),
        port_range: Some((32_768, 60_999)),
        reserved_ports: Some(0),
        memory_available_bytes: Some(22 << 30),
        memory_total_bytes: Some(24 << 30),
        server_connection_bytes: Some(4_100),
        client_connection_bytes: Some(4_250),
        ..HostSnapshot::default()
    }
}

fn plan(target: u64) -> Plan {
    let load = LoadArgs { target: Some(Quantity(target)), ..LoadArgs::default() };
    resolve(&RunArgs { profile: Some("stock".to_owned()), load, ..RunArgs::default() }).expect("a plan")
}

fn calibration() -> Calibration {
    Calibration {
        connections: 6_000,
        connects_per_second: 40_000.0,
        uncertainty_percent: 35,
        server_us: Some(10.0),
        swarm_us: Some(15.0),
        measured_pair_bytes: Some(8_400.0),
        measured_in_turn: Some([8_300.0, 8_500.0]),
    }
}

#[test]
fn descriptors_and_ports_come_first_though_this_plan_passes_them() {
    let rows = rows(&plan(100_000), &host(), 0, &outside(1024), false, Some(&calibration()));
    let names: Vec<(&str, Option<u64>, bool)> =
        rows.iter().map(|row| (row.wall.as_str(), row.connections, row.in_this_plan)).collect();
    assert_eq!(
        names[..3],
        [
            ("nofile-server", Some(1016), false),
            ("nofile-swarm", Some(1016), false),
            ("ports-exhausted", Some(28_232), false)
        ],
        "{names:?}"
    );
    assert!(rows[..3].iter().all(|row| row.passed_by.is_some() && !row.lift.commands.is_empty()));
    let numbers: Vec<u64> = rows.iter().filter_map(|row| row.connections).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(
        rows.iter().filter(|row| row.in_this_plan).all(|row| row.connections.is_none_or(|n| n >= 100_000))
    );
    let rates: Vec<&str> =
        rows.iter().filter(|row| row.connections.is_none()).map(|row| row.wall.as_str()).collect();
    assert_eq!(rates, ["cpu-server", "cpu-swarm"]);
}

#[test]
fn an_ordinary_program_stops_at_its_soft_limit() {
    let rows = rows(&plan(100_000), &host(), 0, &outside(1024), true, None);
    assert_eq!((rows[0].wall.as_str(), rows[0].connections), ("nofile-server", Some(1016)));
    assert!(rows.iter().all(|row| row.in_this_plan));
    let ports = rows.iter().find(|row| row.wall == "ports-exhausted").expect("known");
    assert_eq!(ports.connections, Some(28_232));
    assert_eq!(
        ports.lift.commands[0],
        "c10k-lab run --profile stock --ips 127.0.0.1-127.0.0.4 --target 100000"
    );
}

#[test]
fn a_hard_limit_that_nobody_may_raise_is_not_offered_to_be_raised() {
    let mut host = host();
    host.may_raise_nofile = Some(false);
    let found = rows(&plan(100_000), &host, 0, &outside(1024), true, None);
    let commands = &found[0].lift.commands;
    assert_eq!(commands[0], "ulimit -Sn 20000", "{commands:?}");
    assert!(commands.iter().all(|command| !command.contains("prlimit")), "{commands:?}");
    host.may_raise_nofile = Some(true);
    let found = rows(&plan(100_000), &host, 0, &outside(1024), true, None);
    assert_eq!(found[0].lift.commands, ["sudo prlimit --pid $$ --nofile=101064:101064"]);
    host.nofile_hard = Some(1 << 20);
    let found = rows(&plan(100_000), &host, 0, &outside(1024), true, None);
    assert_eq!(found[0].lift.commands, ["ulimit -Sn 101064"]);
}

#[test]
fn memory_says_how_far_it_may_be_off() {
    let host = host();
    for (uncertainty, told) in [(0, 5), (10, 10)] {
        let rows = rows(&plan(100_000), &host, uncertainty, &outside(1024), false, Some(&calibration()));
        let ram = rows.iter().find(|row| row.wall == "ram").expect("memory was read");
        assert_eq!(ram.connections, Some(((22 << 30) - memory_reserve_bytes(24 << 30)) / 8_350));
        assert_eq!(ram.uncertainty_percent, told, "other programs take and give back 5 %");
    }
}

fn bytes(objects: Option<(u64, u64)>, measured: Option<f64>) -> ConnectionBytes {
    ConnectionBytes::of(objects, Some(&Calibration { measured_pair_bytes: measured, ..calibration() }))
}

#[test]
fn memory_is_reckoned_with_what_was_measured_unless_that_cannot_be_true() {
    let of = |measured| bytes(Some((4_100, 4_250)), measured);
    let near = of(Some(8_600.0));
    assert_eq!(
        (near.server + near.client, near.doubt, near.is_proven),
        (8_656, None, true),
        "a little more than the kernel's part: two tables' slots"
    );
    assert!(near.server < near.client, "the client's end has a bucket more");
    for measured in [80_000.0, 900.0] {
        let far = of(Some(measured));
        assert_eq!((far.server, far.client), (4_100, 4_250));
        assert_eq!(far.uncertainty(), 10, "{measured}: what was not believed makes nothing more certain");
        assert!(far.doubt.is_some_and(|text| text.contains("8,350")), "{measured}");
    }
    let by_size = ConnectionBytes { server: 4_100, client: 4_250, is_proven: false, doubt: None };
    assert_eq!(of(None), by_size);
    assert_eq!((of(Some(8_600.0)).uncertainty(), by_size.uncertainty()), (0, 10));
}

#[test]
fn where_the_sizes_may_not_be_read_what_was_measured_is_not_held_against_another_kernels() {
    let of = |measured| bytes(None, Some(measured));
    let other = of(13_000.0);
    assert_eq!((other.server + other.client, other.doubt.is_none()), (13_056, true));
    assert_eq!(other.uncertainty(), 10, "nothing bears it out");
    for measured in [-5_000.0, 0.0, 90_000.0] {
        let far = of(measured);
        assert_eq!((far.server, far.client), (SERVER_BYTES, CLIENT_BYTES));
        assert!(far.doubt.is_some(), "{measured}");
    }
    // Others came and went between its two halves: by chance the whole is not far off.
    let uneven = Calibration {
        measured_pair_bytes: Some(13_000.0),
        measured_in_turn: Some([8_000.0, 18_000.0]),
        ..calibration()
    };
    let doubted = ConnectionBytes::of(None, Some(&uneven));
    assert_eq!((doubted.server, doubted.client, doubted.uncertainty()), (SERVER_BYTES, CLIENT_BYTES, 10));
    assert!(
        doubted
            .doubt
            .is_some_and(|text| text.contains("8,000 B of memory a connection, both ends, and then 18,000"))
    );
    let borne_out = ConnectionBytes::of(
        Some((4_100, 4_250)),
        Some(&Calibration { measured_pair_bytes: Some(8_600.0), ..uneven }),
    );
    assert!(borne_out.is_proven, "the sizes of this kernel's objects say more");
    let nothing = ConnectionBytes::of(None, None);
    assert_eq!((nothing.server, nothing.client, nothing.uncertainty()), (SERVER_BYTES, CLIENT_BYTES, 10));
}

#[test]
fn the_table_answers_the_sizes_that_people_ask_for_and_the_target() {
    let table = machines(&plan(50_000), &host(), Some(&calibration()));
    let sizes: Vec<u64> = table.iter().map(|machine| machine.connections).collect();
    assert_eq!(sizes, [10_000, 50_000, 100_000, 1_000_000]);
    let million = &table[3];
    assert_eq!((million.source_addresses, million.source_addresses_by_default), (Some(36), 36));
    assert_eq!((million.tables_each_end, million.fits_here), (Some(51), Some(true)));
    assert_eq!(million.ramp_seconds, Some(25.0));
    assert_eq!(million.both_ends_bytes, 8_350_000_000);
}

#[test]
fn what_fits_here_fits_into_the_memory_group_too() {
    let fits = |limit: Option<u64>, used: Option<u64>, each: Option<u64>| {
        let host = HostSnapshot {
            cgroup_memory_bytes: limit,
            cgroup_memory_used_bytes: used,
            cgroup_connection_bytes: each,
            ..host()
        };
        let table = machines(&plan(50_000), &host, None);
        table.iter().map(|machine| machine.fits_here.expect("known")).collect::<Vec<_>>()
    };
    assert_eq!(fits(None, None, None), [true; 4]);
    // 10,000 pairs of 8,350 B take 80 MiB, 50,000 take 398, and 64 MiB are kept.
    assert_eq!(fits(Some(400 << 20), Some(10 << 20), None), [true, false, false, false]);
    assert_eq!(fits(Some(400 << 20), Some(300 << 20), None), [false; 4]);
    assert_eq!(fits(Some(400 << 20), Some(10 << 20), Some(5_630)), [true, true, false, false]);
}
