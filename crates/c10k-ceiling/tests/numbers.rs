//! A number at which connections stop names the limit that leaves it, and a near miss names none.

use c10k_ceiling::{Fingerprint, Said, number_in, read_number, wall};
use c10k_record::HostSnapshot;

/// The first guess where nothing is known of the host: its first wall, and whether there is a guess.
fn first(number: u64) -> Option<&'static str> {
    let found = read_number(&Said::exactly(number), &HostSnapshot::default());
    found.first().map(|guess| guess.walls.first().copied().unwrap_or("no wall"))
}

#[test]
fn numbers_that_many_hosts_leave_are_known_and_near_misses_are_not() {
    const PORTS: Option<&str> = Some("ports-exhausted");
    const FDS: Option<&str> = Some("nofile-server");
    for (number, name) in [
        (97, Some("server-max-connections")),
        (98, None),
        (128, Some("accept-queue")),
        (129, Some("accept-queue")),
        (130, None),
        (151, Some("server-max-connections")),
        (512, Some("server-max-connections")),
        (513, None),
        (768, Some("server-max-connections")),
        (819, FDS),
        (820, None),
        (991, None),
        (993, FDS),
        (1_003, FDS),
        (1_017, FDS),
        (1_021, FDS),
        (1_024, FDS),
        (1_025, None),
        (3_976, Some("no wall")),
        (4_000, None),
        (4_001, FDS),
        (4_031, FDS),
        (4_065, FDS),
        (4_091, FDS),
        (4_097, Some("accept-queue")),
        (4_098, None),
        (4_915, Some("threads")),
        (5_000, None),
        (9_984, Some("server-max-connections")),
        (10_001, None),
        (14_115, PORTS),
        (14_117, None),
        (16_384, PORTS),
        (19_969, FDS),
        (20_001, None),
        (28_199, None),
        (28_225, PORTS),
        (28_231, PORTS),
        (28_232, PORTS),
        (28_233, PORTS),
        (28_234, None),
        (32_255, PORTS),
        (32_257, None),
        (32_750, Some("threads")),
        (46_001, PORTS),
        (50_000, None),
        (56_464, PORTS),
        (56_465, None),
        (64_499, None),
        (64_511, PORTS),
        (64_512, PORTS),
        (64_513, None),
        (65_530, FDS),
        (84_696, PORTS),
        (100_000, None),
        (129_024, PORTS),
        (131_072, Some("conntrack")),
        (131_073, None),
        (262_144, Some("conntrack")),
        (262_145, None),
        (524_273, FDS),
        (524_199, None),
        (524_289, None),
        (1_048_560, Some("nr-open")),
        (1_048_577, None),
        (2_000_000, None),
    ] {
        assert_eq!(
            first(number),
            name,
            "{number}: {:?}",
            read_number(&Said::exactly(number), &HostSnapshot::default())
        );
    }
}

/// A host with limits that no other has.
fn host() -> HostSnapshot {
    HostSnapshot {
        nofile_soft: Some(7_000),
        nofile_hard: Some(90_000),
        port_range: Some((40_000, 49_999)),
        reserved_ports: Some(1_000),
        somaxconn: Some(333),
        epoll_watches: Some(700_000),
        conntrack_max: Some(48_000),
        nproc: Some(6_000),
        file_max: Some(i64::MAX as u64),
        ..HostSnapshot::default()
    }
}

fn here(number: u64) -> Vec<Fingerprint> {
    read_number(&Said::exactly(number), &host())
}

#[test]
fn limits_of_this_host_come_first_whole_and_in_parts() {
    for (number, name, says) in [
        (6_985, "nofile-server", "soft RLIMIT_NOFILE here is 7,000: the number is 15 less"),
        (7_000, "nofile-server", "is 7,000"),
        (3_490, "nofile-server", "half of it"),
        (1_745, "nofile-server", "a quarter of it"),
        (89_980, "nofile-server", "hard RLIMIT_NOFILE here is 90,000"),
        (44_980, "nofile-server", "half of it"),
        (9_000, "ports-exhausted", "less the 1,000 reserved ones"),
        (8_995, "ports-exhausted", "40000-49999"),
        (18_000, "ports-exhausted", "2 times that"),
        (27_000, "ports-exhausted", "3 times that"),
        (4_500, "ports-exhausted", "half of it"),
        (334, "accept-queue", "one above its backlog"),
        (350_000, "epoll-watches", "half of it: a connection takes two with both ends"),
        (175_000, "epoll-watches", "a quarter"),
        (48_000, "conntrack", "nf_conntrack_max here is 48,000"),
        (5_800, "threads", "RLIMIT_NPROC here is 6,000"),
    ] {
        let found = here(number);
        let guess = found.first().unwrap_or_else(|| panic!("{number}"));
        assert!(
            guess.of_this_host && guess.walls[0] == name && guess.is.contains(says),
            "{number}: {found:?}"
        );
    }
    for number in [7_001, 90_001, 9_001, 335, 350_001, 48_001, 6_800, 2_600] {
        assert_eq!(here(number), [], "{number}");
    }
    // What this host does not give may still be known.
    assert!(!here(28_232)[0].of_this_host);
}

#[test]
fn every_guess_names_walls_of_the_guide_and_how_to_prove_it() {
    for number in 64..1_100_000 {
        let found = read_number(&Said::exactly(number), &HostSnapshot::default());
        assert!(found.len() <= 4, "{number}");
        for guess in found {
            assert!(guess.walls.iter().all(|name| wall(name).is_some()), "{guess:?}");
            assert!(guess.is.len() > 20 && guess.prove.len() > 20, "{guess:?}");
        }
    }
}

#[test]
fn a_number_that_was_rounded_names_what_lies_within() {
    let of = |said: &str| {
        let said = number_in(said).expect("a number");
        read_number(&said, &HostSnapshot::default()).first().map(|guess| guess.walls[0])
    };
    assert_eq!(of("stuck at 28k"), Some("ports-exhausted"));
    assert_eq!(of("64k"), Some("ports-exhausted"));
    assert_eq!(of("28.2k"), Some("ports-exhausted"));
    assert_eq!(of("524k"), Some("nofile-server"));
    assert_eq!(of("77k"), None);
    assert_eq!(of("2M"), None);
}
