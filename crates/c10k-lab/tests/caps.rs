//! A server of somebody else's that stands at a number of connections has the same name whatever was asked for: just above
//! that number, twice and ten times as much; led by the lab and by a swarm alone.

mod field_net;

use c10k_record::{Degree, ProcessInRun, Record};
use field_net::servers::Nginx;
use field_net::{LAB, Net, is_installed};

/// A server in a network namespace of its own; both end with this value.
struct Capped {
    net: Net,
    folder: tempfile::TempDir,
}

impl Capped {
    /// `None`, said aloud, where no namespace can be made or the program is not installed.
    fn new(program: &str, asked: &str, start: impl FnOnce(&mut Net) -> tempfile::TempDir) -> Option<Self> {
        if !is_installed(program, asked) {
            return None;
        }
        let mut net = Net::new()?;
        let folder = start(&mut net);
        Some(Self { net, folder })
    }

    fn nginx(nginx: &Nginx) -> Option<Self> {
        Self::new("nginx", "-v", |net| nginx.start(net))
    }

    /// A run of the lab, and one of a swarm alone.
    fn runs(&self, hold: &str, arguments: &[&str]) -> [Record; 2] {
        let results = self.folder.path().join("results").display().to_string();
        let lab = ["run", "--server-port", "9000", "--results", &results];
        [&lab[..], &["swarm", "--server", "127.0.0.1:9000"]].map(|who| {
            // Few at a time: of those that are begun at once it is not known who came first.
            let load = ["--json", "--hold", hold, "--close", "rst", "--in-flight", "16"];
            let output =
                self.net.command(&[&[LAB], who, &load, arguments].concat()).output().expect("it runs");
            serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("no record: {}", String::from_utf8_lossy(&output.stderr)))
        })
    }
}

#[track_caller]
fn expect_server_limit(record: &Record) {
    let ceiling = record.ceiling.as_ref().unwrap_or_else(|| panic!("no wall: {:?}", record.connections));
    let name = (ceiling.wall.as_str(), ceiling.degree);
    let (failed, order) = (&record.connections.failed, record.evidence.order);
    assert_eq!(name, ("server-limit", Some(Degree::Likely)), "{failed:?} {order:?} {ceiling:#?}");
    assert_eq!(ceiling.walls.len(), 1, "{ceiling:#?}");
}

#[test]
fn nginx_without_worker_connections_has_one_name_at_every_target() {
    let Some(server) = Capped::nginx(&Nginx::new(1, 300)) else { return };
    for record in server.runs("2500ms", &["--protocol", "ws", "--target", "100"]) {
        assert_eq!((record.connections.held, record.ceiling), (100, None));
        assert_eq!((record.evidence.order, record.evidence.words), (None, Vec::new()));
        let holds = |process: &ProcessInRun| process.counted && process.connections == Some(100);
        assert!(record.processes.iter().any(holds), "{:?}", record.processes);
    }
    // It has room for about 149, each with a connection of its own behind it, and gives up some for others.
    for target in ["157", "300", "1500"] {
        for record in server.runs("500ms", &["--protocol", "ws", "--target", target]) {
            assert!((130..=149).contains(&record.connections.held), "{:?}", record.connections);
            expect_server_limit(&record);
            let listeners = record.evidence.listeners.expect("they were looked at");
            assert!(listeners.count > 0 && listeners.least_backlog == 1024, "{listeners:?}");
        }
    }
}

#[test]
fn nginx_that_answers_503_beyond_a_number_is_quoted() {
    let nginx = Nginx {
        http: "limit_conn_zone $server_port zone=all:1m;",
        location: "limit_conn all 100;",
        ..Nginx::new(1, 4000)
    };
    let Some(server) = Capped::nginx(&nginx) else { return };
    for target in ["105", "200", "1000"] {
        for record in server.runs("500ms", &["--protocol", "ws", "--target", target]) {
            assert_eq!(record.connections.held, 100, "{:?}", record.connections);
            expect_server_limit(&record);
            let [words] = &record.evidence.words[..] else { panic!("{:?}", record.evidence.words) };
            let status = "HTTP/1.1 503 Service Temporarily Unavailable";
            assert!(words.text.starts_with(status) && words.text.contains("nginx"), "{words:?}");
            assert_eq!(words.count, record.connections.failed.values().sum::<u64>());
        }
    }
}

/// Echoes to so many, and tells all others why it does not.
const TELLS: &str = r#"
import asyncio, sys
most, open_now = int(sys.argv[1]), 0

async def serve(reader, writer):
    global open_now
    if open_now >= most:
        writer.write(b"-ERR max number of clients reached\r\n")
        writer.close()
        return
    open_now += 1
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    open_now -= 1

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 9000, backlog=1024)
    await server.serve_forever()

asyncio.run(main())
"#;

#[test]
fn a_line_in_the_place_of_an_echo_is_quoted() {
    let tells = |net: &mut Net| {
        net.start(&["python3", "-c", TELLS, "100"]);
        net.await_listener(9000);
        tempfile::tempdir().expect("a folder")
    };
    let Some(server) = Capped::new("python3", "--version", tells) else { return };
    for target in ["105", "200", "1000"] {
        for record in server.runs("500ms", &["--target", target]) {
            assert_eq!(record.connections.held, 100, "{:?}", record.connections);
            let [words] = &record.evidence.words[..] else { panic!("{:?}", record.evidence.words) };
            assert_eq!(words.text, "-ERR max number of clients reached");
            let order = record.evidence.order.expect("some were lost");
            assert!(order.is_a_cap(), "{order:?}");
        }
    }
}
