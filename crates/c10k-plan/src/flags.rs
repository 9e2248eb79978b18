//! A plan as command lines: the one that a person pastes to run it again, and those of server and swarm.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

use c10k_record::{
    LoadPlan, PhaseKind, Plan, Protocol, Pushed, ServerMode, Topology, Workload, default_conditions,
};

/// The words of a command, flag by flag.
struct Words(Vec<String>);

impl Words {
    fn of(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// A flag with its value, where there is one.
    fn add<T: Display>(&mut self, flag: &str, value: Option<T>) {
        self.0.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value.to_string()]));
    }

    /// A flag with its value, where that is not the default.
    fn unless<T: Display + PartialEq>(&mut self, flag: &str, default: &T, value: &T) {
        self.add(flag, Some(value).filter(|value| *value != default));
    }
}

/// The words of a command for the same run, made of its plan: what is not said is the default. How long it waits and
/// holds, and how it closes, is left to the one who pastes it.
pub fn again(plan: &Plan) -> Vec<String> {
    if !plan.phases.is_empty() {
        // No words say phases: the file of the run's folder does.
        return Words::of(&["c10k-lab", "run", "plan.toml"]).0;
    }
    let mut words = Words::of(&["c10k-lab", "run", "--profile", &plan.profile]);
    words.unless("--protocol", &Protocol::Raw, &plan.protocol);
    of_server(plan, &mut words);
    of_load(&plan.load, &mut words);
    of_work(plan, &mut words);
    let load = &plan.load;
    let defaults = default_conditions(load.probe);
    for verdict in plan.verdicts.iter().filter(|verdict| !defaults.contains(verdict)) {
        words.add("--verdict", Some(verdict));
    }
    words.add("--path", load.path.as_ref());
    for (flag, values) in [("--header", &load.headers), ("--subprotocol", &load.subprotocols)] {
        values.iter().for_each(|value| words.add(flag, Some(value)));
    }
    if !load.probe {
        words.0.push("--no-probe".to_owned());
    }
    words.0
}

/// The words of where its server is, and of what it does.
fn of_server(plan: &Plan, words: &mut Words) {
    let server = &plan.server;
    let is_far = server.control.is_some() || server.ssh.is_some();
    match server.listen.first().filter(|_| server.foreign && !is_far) {
        Some(at) => words.add("--server-port", Some(at.port())),
        None => words.unless("--topology", &Topology::Loopback, &plan.topology),
    }
    words.add("--control", server.control);
    words.add("--server", addresses(&server.reached_at));
    words.add("--ssh", server.ssh.as_ref());
    // What a server beside a control port does is the far end's.
    if server.control.is_none() {
        words.unless("--mode", &ServerMode::Echo, &server.mode);
        words.add("--server-workers", server.workers);
        words.add("--max-connections", server.max_connections);
    }
}

/// Addresses as one value of a flag; `None` for none.
fn addresses(all: &[SocketAddr]) -> Option<String> {
    let each: Vec<String> = all.iter().map(ToString::to_string).collect();
    Some(each.join(",")).filter(|text| !text.is_empty())
}

/// The words of how its connections are made.
fn of_load(load: &LoadPlan, words: &mut Words) {
    let default = LoadPlan::default();
    words.add("--ips", load.ips.as_ref());
    words.add("--ports", load.ports.as_ref());
    words.add("--rate", load.rate_per_second.map(|rate| format!("{}/s", rate.ceil())));
    words.unless("--in-flight", &default.in_flight, &load.in_flight);
    words.unless("--probe-bytes", &default.probe_bytes, &load.probe_bytes);
    words.add("--workers", load.workers);
    words.add("--steps", load.steps);
    words.unless("--arrivals", &default.arrivals, &load.arrivals);
    words.add("--seed", load.seed);
    words.add("--ping-every", load.ping_every);
}

/// The words of its workload.
fn of_work(plan: &Plan, words: &mut Words) {
    let work = &plan.work;
    let text = |value: Option<f64>| value.map(|rate| format!("{rate}/s"));
    words.unless("--workload", &Workload::Hold, &plan.workload);
    words.add("--beat", work.beat);
    words.add("--messages", text(work.messages_per_second));
    words.add("--message-rate", text(work.message_rate_per_second));
    words.add("--in-flight-messages", work.in_flight_messages);
    words.add("--payload", work.payload);
    words.add("--churn", text(work.churn_per_second));
    words.add("--churn-close", work.churn_close);
    words.add("--bitrate", work.bitrate);
    words.add("--fanout-every", work.fanout_every);
}

/// What the plan cannot know of a server: in a namespace of its own the lab has every port; elsewhere the kernel chooses
/// a free one. The profile is applied by the lab.
pub fn server_arguments(plan: &Plan, file: &Path, isolated: bool) -> Vec<OsString> {
    let listen = plan.server.listen.iter().map(|address| {
        let mut address = *address;
        if !isolated {
            address.set_port(0);
        }
        address.to_string()
    });
    let listen: Vec<String> = listen.collect();
    let listen = listen.join(",");
    let words =
        ["--plan".as_ref(), file.as_os_str(), "--listen".as_ref(), listen.as_ref(), "--no-apply".as_ref()];
    words.map(OsStr::to_os_string).to_vec()
}

/// The words of `c10k-lab serve` for the server of a plan, without where it listens.
///
/// # Errors
/// A profile that is a file of this machine, or phases that want different things of one server.
pub fn serve_words(plan: &Plan) -> Result<Vec<String>, String> {
    if Path::new(&plan.profile).is_absolute() {
        return Err(format!(
            "the profile {} is a file of this machine, and the far server would look for it on its own",
            plan.profile
        ));
    }
    let mut words = Words::of(&["--profile", &plan.profile]);
    words.add("--protocol", Some(plan.protocol));
    words.add("--mode", Some(plan.server.mode));
    words.add("--workers", plan.server.workers);
    words.add("--max-connections", plan.server.max_connections);
    if let Some(Pushed { kind, work, duration }) = plan.pushed()? {
        let is_stream = kind == PhaseKind::Stream;
        words.add("--workload", Some(if is_stream { "stream" } else { "fanout" }));
        words.add("--bitrate", work.bitrate.filter(|_| is_stream));
        words.add("--stream-duration", duration.filter(|_| is_stream));
        words.add("--fanout-every", work.fanout_every.filter(|_| !is_stream));
        words.add("--payload", work.payload.filter(|_| !is_stream));
    }
    Ok(words.0)
}

/// What the plan cannot know of a swarm: where its server listens really, and that the lab leads it.
pub fn swarm_arguments(file: &Path, servers: &[SocketAddr], hlog: &Path) -> Vec<OsString> {
    let servers = addresses(servers).unwrap_or_default();
    let mut words: Vec<OsString> =
        ["--server", &servers, "--no-apply", "--commanded"].map(Into::into).to_vec();
    words.extend(
        ["--plan".as_ref(), file.as_os_str(), "--hlog".as_ref(), hlog.as_os_str()].map(OsStr::to_os_string),
    );
    words
}

#[cfg(test)]
mod tests {
    use c10k_record::{Span, Steps, Topology};

    use super::{again, serve_words};
    use crate::args::RunArgs;
    use crate::resolve::resolve;
    use crate::ssh::SshArgs;

    #[test]
    fn the_command_for_the_same_run_makes_the_same_plan() {
        let mut args = RunArgs {
            protocol: Some(c10k_record::Protocol::Ws),
            verdicts: vec!["failed <= 0".to_owned(), "echo_p999<=1s".to_owned()],
            ..RunArgs::default()
        };
        args.load.steps = Some(Steps { size: 50, count: 3 });
        args.load.ping_every = Some(Span::secs(2));
        let words = again(&resolve(&args).expect("a plan")).join(" ");
        for flag in ["--steps 50x3", "--ping-every 2s", "--verdict failed <= 0", "--verdict echo_p999 <= 1s"]
        {
            assert!(words.contains(flag), "{flag}: {words}");
        }
        assert_eq!(words.matches("--verdict").count(), 2, "defaults need no word: {words}");
    }

    #[test]
    fn the_way_to_a_server_behind_a_tunnel_is_part_of_the_command() {
        let at = |text: &str| text.parse().expect("an address");
        let (control, server) = (Some(at("127.0.0.1:9900")), vec![at("10.0.0.1:9000"), at("10.0.0.1:9001")]);
        let args = RunArgs { control, server, max_connections: None, ..RunArgs::default() };
        assert_eq!(
            again(&resolve(&args).expect("a plan")).join(" "),
            "c10k-lab run --profile tuned --topology remote --control 127.0.0.1:9900 --server \
             10.0.0.1:9000,10.0.0.1:9001"
        );
        let here = RunArgs { max_connections: Some(c10k_record::Quantity(5)), ..RunArgs::default() };
        let mut here = resolve(&here).expect("a plan");
        assert_eq!(again(&here).join(" "), "c10k-lab run --profile tuned --max-connections 5");
        here.server.foreign = true;
        let words = again(&here).join(" ");
        assert_eq!(words, "c10k-lab run --profile tuned --server-port 9000 --max-connections 5");
    }

    fn of_ssh(args: RunArgs) -> RunArgs {
        RunArgs { ssh: SshArgs { ssh: Some("root@far".parse().expect("a host")), ..args.ssh }, ..args }
    }

    #[test]
    fn a_far_server_is_started_with_what_the_plan_says_of_it() {
        let args = of_ssh(RunArgs {
            protocol: Some(c10k_record::Protocol::Ws),
            server_workers: Some(3),
            max_connections: Some(c10k_record::Quantity(500)),
            ..RunArgs::default()
        });
        let plan = resolve(&args).expect("a plan");
        assert_eq!((plan.topology, plan.server.control), (Topology::Remote, None));
        let words = serve_words(&plan).expect("words").join(" ");
        assert_eq!(words, "--profile tuned --protocol ws --mode echo --workers 3 --max-connections 500");
        let again = again(&plan).join(" ");
        assert!(
            again.contains("--topology remote --ssh root@far") && again.contains("--server-workers 3"),
            "{again}"
        );
        let of_file = c10k_record::Plan { profile: "/home/me/own.toml".to_owned(), ..plan };
        assert!(serve_words(&of_file).is_err_and(|error| error.contains("/home/me/own.toml")));
    }

    #[test]
    fn what_only_ssh_has_a_use_for_is_refused_without_it_and_both_ends_here_are_refused_with_it() {
        for args in [
            RunArgs { ssh: SshArgs { push: true, ..SshArgs::default() }, ..RunArgs::default() },
            RunArgs {
                ssh: SshArgs { ssh_args: vec!["-4".to_owned()], ..SshArgs::default() },
                ..RunArgs::default()
            },
        ] {
            assert!(
                resolve(&args).is_err_and(|refusal| refusal.hint.is_some_and(|hint| hint.contains("--ssh")))
            );
        }
        let here = of_ssh(RunArgs { topology: Some(Topology::Veth), ..RunArgs::default() });
        assert!(resolve(&here).is_err_and(|refusal| refusal.message.contains("--ssh root@far")));
        let nowhere = RunArgs { topology: Some(Topology::Remote), ..RunArgs::default() };
        assert!(
            resolve(&nowhere).is_err_and(|refusal| refusal.hint.is_some_and(|hint| hint.contains("--ssh")))
        );
    }
}
