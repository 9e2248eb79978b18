//! A plan as command lines: the one that a person pastes to run it again, and those of server and swarm.

use std::path::Path;

use c10k_record::{LoadPlan, Plan, Protocol, ServerMode, Topology, default_conditions};

/// The words of a command for the same run, made of its plan: what is not said is the default. How long it waits and
/// holds, and how it closes, is left to the one who pastes it.
pub(crate) fn again(plan: &Plan) -> Vec<String> {
    let default = LoadPlan::default();
    let mut words: Vec<String> = ["c10k-lab", "run", "--profile", &plan.profile].map(str::to_owned).to_vec();
    let mut add = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([flag.to_owned(), value]);
        }
    };
    let unless = |same: bool, value: String| (!same).then_some(value);
    add("--protocol", unless(plan.protocol == Protocol::Raw, plan.protocol.to_string()));
    match plan.server.listen.first() {
        Some(server) if plan.server.foreign => add("--server-port", Some(server.port().to_string())),
        _ => add("--topology", unless(plan.topology == Topology::Loopback, plan.topology.to_string())),
    }
    add("--mode", unless(plan.server.mode == ServerMode::Echo, "hold".to_owned()));
    add("--server-workers", plan.server.workers.map(|workers| workers.to_string()));
    add("--max-connections", plan.server.max_connections.map(|most| most.to_string()));
    let load = &plan.load;
    add("--ips", load.ips.clone());
    add("--ports", load.ports.clone());
    add("--rate", load.rate_per_second.map(|rate| format!("{}/s", rate.ceil())));
    add("--in-flight", unless(load.in_flight == default.in_flight, load.in_flight.to_string()));
    add("--probe-bytes", unless(load.probe_bytes == default.probe_bytes, load.probe_bytes.to_string()));
    add("--workers", load.workers.map(|workers| workers.to_string()));
    add("--steps", load.steps.map(|steps| steps.to_string()));
    add("--ping-every", load.ping_every.map(|every| every.to_string()));
    let defaults = default_conditions(load.probe);
    for verdict in plan.verdicts.iter().filter(|verdict| !defaults.contains(verdict)) {
        add("--verdict", Some(verdict.to_string()));
    }
    add("--path", load.path.clone());
    for (flag, values) in [("--header", &load.headers), ("--subprotocol", &load.subprotocols)] {
        values.iter().for_each(|value| add(flag, Some(value.clone())));
    }
    if !load.probe {
        words.push("--no-probe".to_owned());
    }
    words
}

/// In a namespace of its own the lab has every port; elsewhere the kernel chooses a free one.
pub(crate) fn server_arguments(plan: &Plan, isolated: bool) -> Vec<String> {
    let listen: Vec<String> = plan
        .server
        .listen
        .iter()
        .map(|address| {
            let mut address = *address;
            if !isolated {
                address.set_port(0);
            }
            address.to_string()
        })
        .collect();
    let mut arguments = vec![
        "--listen".to_owned(),
        listen.join(","),
        "--profile".to_owned(),
        plan.profile.clone(),
        "--no-apply".to_owned(),
        "--protocol".to_owned(),
        plan.protocol.to_string(),
        "--mode".to_owned(),
        plan.server.mode.to_string(),
    ];
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value]);
        }
    };
    option("--workers", plan.server.workers.map(|n| n.to_string()));
    option("--max-connections", plan.server.max_connections.map(|n| n.to_string()));
    arguments
}

pub(crate) fn swarm_arguments(plan: &Plan, listen: &[std::net::SocketAddr], hlog: &Path) -> Vec<String> {
    let load = &plan.load;
    let servers: Vec<String> = listen.iter().map(ToString::to_string).collect();
    let mut arguments: Vec<String> = [
        ("--server", servers.join(",")),
        ("--protocol", plan.protocol.to_string()),
        ("--profile", plan.profile.clone()),
        ("--target", plan.target.to_string()),
        ("--in-flight", load.in_flight.to_string()),
        ("--connect-timeout", load.connect_timeout.to_string()),
        ("--handshake-timeout", load.handshake_timeout.to_string()),
        ("--probe-timeout", load.probe_timeout.to_string()),
        ("--probe-bytes", load.probe_bytes.to_string()),
        ("--close", load.close.to_string()),
        ("--hlog", hlog.display().to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    arguments.extend(["--no-apply".to_owned(), "--commanded".to_owned()]);
    if !load.probe {
        arguments.push("--no-probe".to_owned());
    }
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value]);
        }
    };
    option("--ips", load.ips.clone());
    option("--ports", load.ports.clone());
    option("--rate", load.rate_per_second.map(|rate| (rate as u64).to_string()));
    option("--workers", load.workers.map(|n| n.to_string()));
    option("--ping-every", load.ping_every.map(|every| every.to_string()));
    // Where it connects is said above; of this the path counts, and what stands in the Host header.
    let host = servers.first().map_or("", String::as_str);
    option("--url", load.path.as_ref().map(|path| format!("ws://{host}{path}")));
    load.headers.iter().for_each(|header| option("--header", Some(header.clone())));
    load.subprotocols.iter().for_each(|name| option("--subprotocol", Some(name.clone())));
    arguments
}

#[cfg(test)]
mod tests {
    use c10k_record::{Span, Steps};

    use super::again;
    use crate::plan::args::RunArgs;
    use crate::plan::resolve::resolve;

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
}
