use super::*;
use crate::address::{add, is_local, local_addresses, remove};
use crate::counters::ProcRoot;
use crate::sysctl::Access;
use crate::{conntrack, link, route, shaper};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

/// Runs a test's body in a forked child, where it is the only thread.
#[track_caller]
fn in_a_process_of_its_own(body: impl FnOnce()) {
    let mut passed = [0];
    let ended = raw_fork::fork_and_report(&mut passed, |passed| {
        body();
        passed[0] = 1;
    });
    assert!(ended.is_ok() && passed == [1], "the body failed in its own process: {ended:?}");
}

/// Enters a new namespace, or says loudly that this machine forbids it.
fn entered() -> bool {
    match enter_new() {
        Ok(_) => true,
        Err(NamespaceError::Refused(refusals)) => {
            skipped(&format!("no namespace may be made here: {}", list(&refusals)));
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[test]
fn only_in_the_first_user_namespace_is_every_id_its_own() {
    assert!(is_map_of_first("         0          0 4294967295\n"));
    assert!(!is_map_of_first("         0       1000          1\n") && !is_map_of_first(""));
}

#[test]
fn a_process_in_its_own_namespace_adds_addresses_and_sets_what_is_the_namespaces() {
    in_a_process_of_its_own(|| {
        let outside = network_inode().unwrap();
        if !entered() {
            return;
        }
        assert_ne!(network_inode().unwrap(), outside);
        assert!(address::is_up("lo").unwrap());

        let diary: IpAddr = "192.168.1.200".parse().unwrap();
        assert!(!is_local(diary).unwrap());
        add("lo", diary, 24).unwrap();
        assert!(is_local(diary).unwrap());
        assert!(
            local_addresses().unwrap().iter().any(|known| known.address == diary && known.device == "lo")
        );
        assert_eq!(add("lo", diary, 24).unwrap_err().raw_os_error(), Some(libc::EEXIST));
        remove("lo", diary, 24).unwrap();
        assert_eq!(remove("lo", diary, 24).unwrap_err().raw_os_error(), Some(libc::EADDRNOTAVAIL));
        let six: IpAddr = "fd00:c10c::5".parse().unwrap();
        if is_local("::1".parse().unwrap()).unwrap() {
            add("lo", six, 128).unwrap();
            assert!(is_local(six).unwrap(), "an address without duplicate detection is of use at once");
        }

        let root = SysctlRoot::default();
        assert_eq!(root.access("net.core.somaxconn"), Access::ReadWrite);
        root.write("net.core.somaxconn", "1234").unwrap();
        assert_eq!(root.read("net.core.somaxconn").unwrap(), "1234");
        assert_eq!(root.access("net.ipv4.tcp_mem"), Access::Absent);
        assert_eq!(root.access("net.core.rmem_max"), Access::ReadOnly);
    });
}

#[test]
fn an_ordinary_user_gets_a_namespace_too() {
    in_a_process_of_its_own(|| {
        if nix::unistd::geteuid().is_root() {
            // Nothing of this process is needed by user 65534 but /proc and system calls.
            nix::unistd::setgroups(&[]).unwrap();
            nix::unistd::setgid(65534.into()).unwrap();
            nix::unistd::setuid(65534.into()).unwrap();
            // A change of user makes /proc/self root's (proc_pid(5)); an ordinary start would not.
            nix::sys::prctl::set_dumpable(true).unwrap();
        }
        if entered() {
            assert!(nix::unistd::geteuid().is_root(), "mapped to root inside");
            assert!(address::is_up("lo").unwrap());
            add("lo", "192.168.1.230".parse().unwrap(), 24).unwrap();
            assert_ne!(SysctlRoot::default().access("fs.nr_open"), Access::ReadWrite);
        }
    });
}

#[test]
fn a_process_with_threads_is_refused_and_left_where_it_was() {
    in_a_process_of_its_own(|| {
        let before = network_inode().unwrap();
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        let error = enter_new().unwrap_err();
        drop(stop);
        let _ = thread.join().unwrap();
        assert!(matches!(error, NamespaceError::Threaded { threads: 2 }), "{error}");
        assert_eq!(network_inode().unwrap(), before);
    });
}

#[test]
fn a_look_into_a_fresh_namespace_changes_nothing_and_needs_no_lonely_process() {
    let before = network_inode().unwrap();
    let looks: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(|| scratch_listing(&["net.core.somaxconn", "net.core.nosuch", "no key"])))
        .collect();
    for look in looks {
        if let Some(seen) = look.join().unwrap() {
            assert_eq!(seen, [Seen::Writable, Seen::Absent, Seen::Absent]);
        }
    }
    assert_eq!(network_inode().unwrap(), before);
}

#[test]
fn a_refusal_names_the_step_and_the_errno() {
    let refusal = Refusal { isolation: Isolation::UserNet, step: Step::LoopbackUp, errno: Errno::EPERM };
    let error = NamespaceError::Refused(vec![refusal]);
    assert_eq!(
        error.to_string(),
        "no network namespace of our own: user and network namespace: bringing `lo` up in it was refused: \
         EPERM: Operation not permitted"
    );
    assert!(error.hint().contains("apparmor"));
}

#[test]
fn the_boot_has_a_name() {
    assert_eq!(boot_id().unwrap().len(), 36);
}

#[test]
fn two_namespaces_are_joined_by_a_pair_of_devices_and_share_nothing_else() {
    in_a_process_of_its_own(|| {
        if !entered() {
            return;
        }
        let beside = Beside::new().unwrap();
        let here = network_inode().unwrap();
        assert_ne!(beside.inode(), here);
        assert_eq!(beside.inside(|| network_inode().unwrap()).unwrap(), beside.inode());
        assert_eq!(network_inode().unwrap(), here, "the caller stays where it is");

        link::add_veth_pair("end0", "end1", &beside).unwrap();
        let error = link::add_veth_pair("end0", "end2", &beside).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
        assert_eq!(address::is_up("end1").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        let (server, client): (IpAddr, IpAddr) =
            ("192.168.1.10".parse().unwrap(), "192.168.1.200".parse().unwrap());
        add("end0", server, 24).unwrap();
        address::set_up("end0").unwrap();
        beside
            .inside(|| {
                add("end1", client, 24).unwrap();
                address::set_up("end1").unwrap();
                assert!(is_local(client).unwrap() && !is_local(server).unwrap());
                SysctlRoot::default().write("net.core.somaxconn", "77").unwrap();
            })
            .unwrap();
        assert!(!is_local(client).unwrap());
        assert_ne!(SysctlRoot::default().read("net.core.somaxconn").unwrap(), "77");

        link::carries(server, client, &beside, Duration::from_secs(5)).unwrap();
        let nobody = link::carries(server, "192.168.1.201".parse().unwrap(), &beside, Duration::ZERO);
        assert_eq!(nobody.unwrap_err().raw_os_error(), Some(libc::EADDRNOTAVAIL));
        let listener = TcpListener::bind((server, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let echoed = beside.inside(|| say_and_hear(to)).unwrap();
        let (mut stream, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), client);
        stream.read_exact(&mut [0; 2]).unwrap();
        drop(echoed);

        let at = link::hardware_address("end0").unwrap();
        assert_eq!(at.len(), 6);
        assert_eq!(link::hardware_address("end1").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        link::add_permanent_neighbour("end0", client, &at).unwrap();
        let lost = link::carries(server, client, &beside, Duration::ZERO);
        assert!(lost.is_err(), "what is said of a neighbour is believed: {at:?} is not where it is");

        link::remove("end0").unwrap();
        let gone = beside.inside(|| address::is_up("end1").unwrap_err()).unwrap();
        assert_eq!(gone.raw_os_error(), Some(libc::ENODEV), "a pair goes together");
    });
}

fn say_and_hear(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(b"hi").unwrap();
    stream
}

#[test]
fn addresses_in_no_common_network_reach_each_other_over_a_route_on_the_link() {
    in_a_process_of_its_own(|| {
        if !entered() {
            return;
        }
        let beside = Beside::new().unwrap();
        link::add_veth_pair("end0", "end1", &beside).unwrap();
        let (server, client): (IpAddr, IpAddr) =
            ("192.168.1.10".parse().unwrap(), "10.9.8.7".parse().unwrap());
        add("end0", server, 24).unwrap();
        let down = link::add_default_route_on_link("end0", server).unwrap_err();
        assert_eq!(down.raw_os_error(), Some(libc::ENETDOWN));
        address::set_up("end0").unwrap();
        link::add_default_route_on_link("end0", server).unwrap();
        let listener = TcpListener::bind((server, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let stream = beside
            .inside(|| {
                add("end1", client, 32).unwrap();
                address::set_up("end1").unwrap();
                link::add_default_route_on_link("end1", client).unwrap();
                say_and_hear(to)
            })
            .unwrap();
        assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());
        assert_eq!(stream.local_addr().unwrap().ip(), client);
    });
}

#[test]
fn connections_begin_with_the_window_of_the_route_between_their_ends() {
    in_a_process_of_its_own(|| {
        if !entered() {
            return;
        }
        let window = |stream: &TcpStream| raw_socket::tcp_info(stream.as_fd()).unwrap().tcpi_snd_cwnd;
        let connected = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            [window(&client), window(&listener.accept().unwrap().0)]
        };
        assert_eq!(connected(), [10, 10]);
        let routes = route::initial_windows("lo", false).unwrap();
        assert!(!routes.is_empty() && routes.iter().all(Option::is_none), "{routes:?}");
        assert_eq!(route::set_initial_window("lo", false, 37).unwrap(), routes.len());
        assert!(route::initial_windows("lo", false).unwrap().iter().all(|window| *window == Some(37)));
        assert_eq!(connected(), [37, 37]);
        // Once more, in place of the other.
        route::set_initial_window("lo", false, 4).unwrap();
        assert_eq!((route::initial_windows("lo", false).unwrap().len(), connected()), (routes.len(), [4, 4]));

        let beside = Beside::new().unwrap();
        if let Err(error) = link::add_veth_pair("end0", "end1", &beside) {
            skipped(&format!("no veth here: {error}"));
            return;
        }
        let (server, client) = ("192.168.1.10".parse().unwrap(), "192.168.1.200".parse().unwrap());
        add("end0", server, 24).unwrap();
        address::set_up("end0").unwrap();
        beside
            .inside(|| {
                add("end1", client, 24).unwrap();
                address::set_up("end1").unwrap();
            })
            .unwrap();
        link::carries(server, client, &beside, Duration::from_secs(5)).unwrap();
        route::set_initial_window("end0", false, 23).unwrap();
        let listener = TcpListener::bind((server, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let stream = beside.inside(|| TcpStream::connect(to).unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        assert_eq!([window(&accepted), window(&stream)], [23, 10], "each end has its own route");
    });
}

#[test]
fn a_child_is_started_in_the_other_namespace() {
    in_a_process_of_its_own(|| {
        if !entered() {
            return;
        }
        let beside = Beside::new().unwrap();
        let mut command = Command::new("readlink");
        command.arg("/proc/self/ns/net");
        beside.start_in(&mut command).unwrap();
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(said.trim(), format!("net:[{}]", beside.inode()));
    });
}

#[test]
fn a_namespace_has_a_number_that_no_other_one_gets() {
    in_a_process_of_its_own(|| {
        let Ok(outside) = network_cookie() else { return };
        assert_eq!(network_cookie().unwrap(), outside);
        if entered() {
            assert_ne!(network_cookie().unwrap(), outside);
        }
    });
}

#[test]
fn whether_two_processes_share_a_namespace_is_seen_without_leave_to_read_the_link() {
    in_a_process_of_its_own(|| {
        let (root, own, parent) =
            (ProcRoot::default(), std::process::id(), std::os::unix::process::parent_id());
        assert_eq!([own, parent].map(|pid| root.shares_by_files(pid)), [Some(true); 2]);
        if entered() {
            assert_eq!([own, parent].map(|pid| root.shares_by_files(pid)), [Some(true), Some(false)]);
            let told = [own, parent].map(|pid| root.shares_network_namespace(pid));
            assert_eq!(told, [Some(true), Some(false)]);
        }
        assert_eq!(root.shares_network_namespace(u32::MAX), None, "nobody has this pid");
    });
}

#[test]
fn connections_are_tracked_when_a_rule_asks_and_left_alone_when_another_says_so() {
    in_a_process_of_its_own(|| {
        if !entered() {
            return;
        }
        let entries = || conntrack::room().map(|(count, _)| count);
        if entries().is_none() || conntrack::track().is_err() {
            skipped("this kernel tracks no connections");
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        assert_eq!(entries(), Some(0));
        let connect = || TcpStream::connect(to).unwrap();
        let _one = connect();
        assert_eq!(entries(), Some(1), "both ends of a connection over lo share one entry");
        conntrack::fill(300).unwrap();
        assert_eq!(entries(), Some(301));
        assert_eq!(conntrack::fill(1).unwrap_err().raw_os_error(), Some(libc::EEXIST));
        conntrack::do_not_track().unwrap();
        let _two = connect();
        assert_eq!(entries(), Some(301));
    });
}

#[test]
fn a_shaped_device_says_its_rate_and_one_that_is_not_says_none() {
    in_a_process_of_its_own(|| {
        if !entered() {
            return;
        }
        assert_eq!(shaper::root_queue("lo").unwrap().and_then(|queue| queue.bits_per_second), None);
        if let Err(error) = shaper::shape("lo", 800_000, 4096, 20_000) {
            skipped(&format!("no tbf here: {error}"));
            return;
        }
        let queue = shaper::root_queue("lo").unwrap().unwrap();
        assert_eq!((queue.kind.as_str(), queue.bits_per_second, queue.dropped), ("tbf", Some(800_000), 0));
        // Five times what may wait.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            let _ = socket.send_to(&[0; 1000], "127.0.0.1:9");
        }
        let queue = shaper::root_queue("lo").unwrap().unwrap();
        assert!(queue.dropped > 0 && queue.backlog_bytes > 0 && queue.overlimits > 0, "{queue:?}");
        let line = shaper::line("lo").unwrap().unwrap();
        assert!(line.bits_per_second == 800_000 && line.sent_bits > 0 && line.dropped > 0, "{line:?}");
        shaper::shape("lo", 80_000_000_000, 1 << 20, 1 << 20).unwrap();
        let queue = shaper::root_queue("lo").unwrap().unwrap();
        assert_eq!(queue.bits_per_second, Some(80_000_000_000), "beyond 4 GB a second");
        assert_eq!(shaper::root_queue("no-such").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    });
}

#[test]
fn the_device_that_leads_to_an_address_is_told_and_none_where_there_is_no_route() {
    in_a_process_of_its_own(|| {
        if !entered() {
            return;
        }
        let towards = |ip: &str| link::device_towards(ip.parse().unwrap());
        assert_eq!(towards("127.0.0.9").unwrap(), "lo");
        assert_eq!(towards("10.1.2.3").unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
        let far = Beside::new().unwrap();
        match link::add_veth_pair("one", "two", &far) {
            Err(error) => skipped(&format!("no veth here: {error}")),
            Ok(()) => {
                add("one", "10.1.2.1".parse().unwrap(), 24).unwrap();
                address::set_up("one").unwrap();
                assert_eq!(towards("10.1.2.3").unwrap(), "one");
                assert_eq!(towards("10.1.2.1").unwrap(), "lo");
                assert_eq!(shaper::line("one").unwrap(), None, "the speed of veth is a word");
            }
        }
    });
}
