//! Packets that are lost between the ends, each in another way, in network namespaces that the test makes: as root the
//! kernel says for what reason it dropped them, and what it did not drop is lost on the way.

mod field_net;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use c10k_record::{Degree, Record};
use field_net::{LAB, Net, PATIENCE, Way, expect, is_installed, lab_on_pid, skipped};

/// What one of them has dropped the counters of all see.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const HURRY: [&str; 6] = ["--connect-timeout", "3500ms", "--probe-timeout", "4s", "--target", "40"];
/// The same from an address that the client has besides its own.
const FROM_A_SECOND: [&str; 2] = ["--ips", "10.93.0.9"];

/// An echo server behind the router; its pid. `way_back` is how its machine reaches the clients.
fn serve(way: &mut Way, way_back: &[&str]) -> u32 {
    if !way_back.is_empty() {
        way.server.run(&[&["ip", "route", "add"], way_back].concat());
    }
    way.server.start(&[LAB, "server", "--listen", "10.92.0.2:9000"])
}

const BY_THE_ROUTER: [&str; 3] = ["10.91.0.0/24", "via", "10.92.0.1"];

fn run(way: &Way, pid: u32, more: &[&str]) -> Record {
    lab_on_pid(&way.client, pid, "200ms", &[&HURRY[..], more].concat())
}

/// Whether the record has the kernel's reasons; where it has none it says why, and the test goes no further.
fn has_reasons(record: &Record) -> bool {
    let drops = record.evidence.drops.as_ref().expect("each run says whether it counts them");
    match &drops.why_not {
        None => assert!(drops.counted.contains_key("NETFILTER_DROP"), "{drops:?}"),
        Some(why) => skipped(&format!("no reasons of drops can be counted here: {why}")),
    }
    drops.why_not.is_none()
}

#[track_caller]
fn named_by(record: &Record, wall: &str, source: &str) {
    let ceiling = expect(record, wall, Degree::Proven);
    assert!(ceiling.evidence.iter().any(|evidence| evidence.source == source), "{source}: {ceiling:#?}");
    assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
}

#[test]
fn a_way_that_carries_all_has_no_name_and_its_record_has_the_reasons_all_the_same() {
    let _alone = alone();
    let Some(mut way) = Way::new() else { return };
    let pid = serve(&mut way, &BY_THE_ROUTER);
    way.server_listens();
    let record = run(&way, pid, &[]);
    assert_eq!((record.connections.held, &record.ceiling), (40, &None), "{:?}", record.connections);
    if has_reasons(&record) {
        let drops = record.evidence.drops.expect("asked for");
        assert!(drops.busy_ms > 0 && drops.quiet_ms > 0, "{drops:?}");
    }
}

#[test]
fn a_rule_of_a_router_that_drops_every_second_connection_is_named_by_the_reason() {
    let _alone = alone();
    let Some(mut way) = Way::new() else { return };
    if !is_installed("nft", "-v") {
        return;
    }
    let pid = serve(&mut way, &BY_THE_ROUTER);
    way.server_listens();
    way.router.nft(
        "table ip l {\n chain f { type filter hook forward priority 0; tcp dport 9000 tcp sport & 1 == 1 drop\n }\n}\n",
    );
    let record = run(&way, pid, &[]);
    let c = &record.connections;
    assert!(c.held > 0 && c.held < 40, "{c:?}");
    if has_reasons(&record) {
        named_by(&record, "firewall-drop", "NETFILTER_DROP");
    } else {
        // Whose rule it is, if it is one, nobody can say.
        expect(&record, "path-loss", Degree::Proven);
    }
}

#[test]
fn a_router_that_filters_by_the_way_back_is_named_by_the_reason() {
    let _alone = alone();
    let Some(mut way) = Way::new() else { return };
    way.router.set("net.ipv4.conf.all.rp_filter", "1");
    way.client.run(&["ip", "address", "add", "10.93.0.9/32", "dev", "c0"]);
    let pid = serve(&mut way, &["default", "via", "10.92.0.1"]);
    way.server_listens();
    let record = run(&way, pid, &FROM_A_SECOND);
    assert_eq!(record.connections.held, 0, "{:?}", record.connections);
    // The router's own counter is not read: it stands at neither end.
    if has_reasons(&record) {
        named_by(&record, "rp-filter", "IP_RPFILTER");
    }
}

#[test]
fn a_missing_way_back_is_named_at_the_router_by_the_reason_and_at_the_servers_end_by_its_count() {
    let _alone = alone();
    let Some(mut way) = Way::new() else { return };
    for (net, device) in [(&way.router, "rc"), (&way.router, "rs"), (&way.server, "s0")] {
        net.set("net.ipv4.conf.all.rp_filter", "0");
        net.set(&format!("net.ipv4.conf.{device}.rp_filter"), "0");
    }
    way.client.run(&["ip", "address", "add", "10.93.0.9/32", "dev", "c0"]);
    let pid = serve(&mut way, &BY_THE_ROUTER);
    way.server_listens();
    // The server's machine knows no way to that source.
    let record = run(&way, pid, &FROM_A_SECOND);
    assert_eq!(record.connections.held, 0, "{:?}", record.connections);
    named_by(&record, "no-route", "OutNoRoutes");
    // Now it does, and the router does not.
    way.server.run(&["ip", "route", "add", "10.93.0.0/24", "via", "10.92.0.1"]);
    let record = run(&way, pid, &FROM_A_SECOND);
    assert_eq!(record.connections.held, 0, "{:?}", record.connections);
    if has_reasons(&record) {
        named_by(&record, "no-route", "IP_INNOROUTES");
    }
}

#[test]
fn answers_that_go_into_a_black_hole_or_to_a_neighbour_that_does_not_answer_have_no_way() {
    let _alone = alone();
    let Some(mut way) = Way::new() else { return };
    for device in ["all", "s0"] {
        way.server.set(&format!("net.ipv4.conf.{device}.rp_filter"), "0");
    }
    way.client.run(&["ip", "address", "add", "10.93.0.9/32", "dev", "c0"]);
    way.server.run(&["ip", "route", "add", "blackhole", "10.93.0.0/24"]);
    let pid = serve(&mut way, &BY_THE_ROUTER);
    way.server_listens();
    let record = run(&way, pid, &FROM_A_SECOND);
    named_by(&record, "no-route", "OutNoRoutes");
    way.server.run(&["ip", "route", "del", "blackhole", "10.93.0.0/24"]);
    way.server.run(&["ip", "route", "add", "10.93.0.0/24", "via", "10.92.0.77"]);
    let record = run(&way, pid, &FROM_A_SECOND);
    assert_eq!(record.connections.held, 0, "{:?}", record.connections);
    if has_reasons(&record) {
        named_by(&record, "no-route", "NEIGH_FAILED");
    }
}

/// A wire between two namespaces that is a program: it takes each frame out of one tap device and puts it into the other,
/// but for those that it loses. Of frames with a
/// SYN it loses four in ten, but for those of the first two handshakes, by which the lab sees that there is a way; of others
/// one in fifty.
const WIRE: &str = r"
import ctypes, fcntl, os, random, select, struct, sys
def tap(name):
    fd = os.open('/dev/net/tun', os.O_RDWR)
    # TUNSETIFF; IFF_TAP | IFF_NO_PI
    fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', name, 0x0002 | 0x1000))
    return fd
one = tap(b'c0')
there = os.open('/proc/%s/ns/net' % sys.argv[1], os.O_RDONLY)
if ctypes.CDLL(None, use_errno=True).setns(there, 0):
    raise OSError(ctypes.get_errno(), 'setns')
other = tap(b's0')
chance = random.Random(7)
syns = 0
while True:
    for fd in select.select([one, other], [], [])[0]:
        frame = os.read(fd, 65536)
        is_syn = len(frame) > 47 and frame[12:14] == b'\x08\x00' and frame[23] == 6 and frame[47] & 2
        syns += bool(is_syn)
        if syns > 4 and chance.random() < (0.4 if is_syn else 0.02):
            continue
        try:
            os.write(other if fd == one else one, frame)
        except OSError:
            pass
";

#[test]
fn a_wire_that_loses_frames_at_no_queue_of_either_end_is_a_path_that_loses() {
    let _alone = alone();
    if !is_installed("python3", "--version") {
        return;
    }
    let (Some(mut client), Some(mut server)) = (Net::new(), Net::new()) else { return };
    let pid = server.start(&["sleep", "600"]).to_string();
    client.start(&["python3", "-c", WIRE, &pid]);
    let until = Instant::now() + PATIENCE;
    for (net, device, address) in [(&client, "c0", "10.94.0.1/24"), (&server, "s0", "10.94.0.2/24")] {
        while !net
            .command(&["ip", "address", "add", address, "dev", device])
            .output()
            .expect("ip")
            .status
            .success()
        {
            if Instant::now() > until {
                return skipped("no tap devices can be made here");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        net.run(&["ip", "link", "set", device, "up"]);
    }
    let pid = server.start(&[LAB, "server", "--listen", "10.94.0.2:9000"]);
    server.listens_on("10.94.0.2:9000");
    let patience = ["--connect-timeout", "3500ms", "--probe-timeout", "10s", "--target", "200"];
    let record = lab_on_pid(&client, pid, "200ms", &patience);
    let c = &record.connections;
    assert!(c.held > 0 && c.held < 200, "{c:?}");
    let ceiling = expect(&record, "path-loss", Degree::Proven);
    assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
    for source in ["TCPSynRetrans", "ListenDrops", "softnet_dropped", "filters"] {
        assert!(ceiling.evidence.iter().any(|evidence| evidence.source == source), "{source}: {ceiling:#?}");
    }
    has_reasons(&record);
}
