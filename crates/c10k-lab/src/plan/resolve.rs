//! From the command line to a resolved plan.

use std::net::{Ipv4Addr, SocketAddr};

use c10k_record::{
    Condition, DEFAULT_PORT, LoadPlan, Plan, Protocol, Quantity, SCHEMA_VERSION, ServerMode, ServerPlan,
    Topology, VerdictError, Workload, add_conditions, default_conditions, drop_default_on_echoes,
};
use c10k_swarm::ips::{AddressError, IpList, PortWindow};

use crate::plan::args::RunArgs;
use crate::plan::veth;
use crate::say::refusal::Refusal;

/// The plan of an ordinary run: 100,000 raw connections over loopback, tuned, held for 10 s.
fn default_plan() -> Plan {
    Plan {
        schema_version: SCHEMA_VERSION,
        profile: "tuned".to_owned(),
        topology: Topology::Loopback,
        protocol: Protocol::Raw,
        workload: Workload::Hold,
        target: 100_000,
        verdicts: Vec::new(),
        server: ServerPlan {
            listen: vec![([127, 0, 0, 1], DEFAULT_PORT).into()],
            mode: ServerMode::Echo,
            workers: None,
            max_connections: None,
            foreign: false,
        },
        load: LoadPlan::default(),
    }
}

/// The plan that these arguments ask for, every default filled in.
pub(crate) fn resolve(args: &RunArgs) -> Result<Plan, Refusal> {
    let mut plan = match &args.plan {
        Some(path) => Plan::load(path).map_err(|error| {
            Refusal::text(error.to_string(), "every run's folder holds a plan.toml that can be repeated")
        })?,
        None => default_plan(),
    };
    let (target, load) = args
        .load
        .resolve(&plan.load, plan.target)
        .map_err(|usage| Refusal::text(usage, "c10k-lab run --help shows every flag with an example"))?;
    plan.target = target;
    plan.load = load;
    if let Some(profile) = &args.profile {
        plan.profile.clone_from(profile);
    }
    if let Some(topology) = args.topology.filter(|topology| *topology != plan.topology) {
        move_to(topology, &mut plan, args.load.ips.is_some());
    }
    if plan.topology == Topology::Remote {
        return Err(Refusal::text(
            "one machine cannot be both ends of the topology 'remote'",
            "use --topology loopback or veth; for two machines run c10k-server and c10k-swarm by themselves",
        ));
    }
    plan.protocol = args.protocol.unwrap_or(plan.protocol);
    ask_for(args, &mut plan)?;
    plan.server.mode = args.mode.unwrap_or(plan.server.mode);
    plan.server.workers = args.server_workers.or(plan.server.workers);
    plan.server.max_connections = match args.max_connections {
        Some(Quantity(0)) => {
            return Err(Refusal::text("--max-connections 0 takes nobody", "expected at least 1"));
        }
        Some(Quantity(most)) => Some(most),
        None => plan.server.max_connections,
    };
    plan.check().map_err(|text| Refusal::text(text, "c10k-lab run --help shows what each may be"))?;
    if plan.server.mode == ServerMode::Hold && plan.load.probe {
        return Err(Refusal::text(
            "--mode hold discards bytes, so no probe would ever come back",
            "add --no-probe; nothing is verified then, and held means still open at the end",
        ));
    }
    check_sources(&plan)?;
    plan.verdicts = conditions(std::mem::take(&mut plan.verdicts), &args.verdicts, plan.load.probe)?;
    Ok(plan)
}

/// The defaults, what a plan changes of them, and what the command line changes of both.
fn conditions(mut of_plan: Vec<Condition>, flags: &[String], probe: bool) -> Result<Vec<Condition>, Refusal> {
    let asked: Vec<Condition> = flags
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(|error: VerdictError| Refusal::text(error.to_string(), error.hint()))?;
    if !probe {
        drop_default_on_echoes(&mut of_plan);
    }
    let mut conditions = default_conditions(probe);
    add_conditions(&mut conditions, &of_plan);
    add_conditions(&mut conditions, &asked);
    Ok(conditions)
}

/// What the requests of WebSocket clients say.
fn ask_for(args: &RunArgs, plan: &mut Plan) -> Result<(), Refusal> {
    let load = &mut plan.load;
    load.path = args.path.clone().or(load.path.take());
    for (asked, planned) in [(&args.headers, &mut load.headers), (&args.subprotocols, &mut load.subprotocols)]
    {
        if !asked.is_empty() {
            planned.clone_from(asked);
        }
    }
    if let Some(path) = load.path.as_ref().filter(|path| !path.starts_with('/')) {
        return Err(Refusal::text(
            format!("the path '{path}' does not begin with /"),
            "for example --path /chat",
        ));
    }
    let asks = load.path.is_some() || !load.headers.is_empty() || !load.subprotocols.is_empty();
    if plan.protocol != Protocol::Ws && (asks || load.ping_every.is_some()) {
        return Err(Refusal::text(
            "--path, --header, --subprotocol and --ping-every are WebSocket's",
            "add --protocol ws",
        ));
    }
    Ok(())
}

/// Puts a plan of another topology onto this one: the addresses of the one are not to be had in the other. Ports
/// stay, and so do sources that were named for this run.
fn move_to(topology: Topology, plan: &mut Plan, sources_are_named: bool) {
    plan.topology = topology;
    let server = match topology {
        Topology::Veth => veth::SERVER,
        Topology::Loopback | Topology::Remote => Ipv4Addr::LOCALHOST,
    };
    for address in &mut plan.server.listen {
        *address = SocketAddr::new(server.into(), address.port());
    }
    plan.server.listen.sort_unstable();
    plan.server.listen.dedup();
    if !sources_are_named {
        plan.load.ips = None;
    }
}

/// Texts that name no sources are told before anything is made or started.
fn check_sources(plan: &Plan) -> Result<(), Refusal> {
    let server = plan.server.listen.first().ok_or_else(|| {
        Refusal::text("the plan's [server] listens nowhere", "for example listen = [\"127.0.0.1:9000\"]")
    })?;
    if let Some(text) = &plan.load.ips {
        let list: IpList = text.parse().map_err(|error: AddressError| {
            Refusal::text(error.to_string(), "for example --ips 127.0.0.1-127.0.0.8")
        })?;
        if let Some(other) = list.addresses().iter().find(|ip| ip.is_ipv4() != server.is_ipv4()) {
            return Err(Refusal::text(
                format!("the source {other} cannot reach {server}: one is IPv4, the other IPv6"),
                "give sources of the server's family with --ips",
            ));
        }
        if let Some(other) = list.addresses().iter().find(|ip| ip.is_unspecified() || ip.is_multicast()) {
            return Err(Refusal::text(
                format!("the source {other} is no address that one machine has"),
                "name unicast addresses, such as 127.0.0.1-127.0.0.8 or 192.168.1.200-230",
            ));
        }
    }
    if let Some(text) = &plan.load.ports {
        text.parse::<PortWindow>().map_err(|error| {
            Refusal::text(error.to_string(), "for example --ports 1024-65535, first and last port")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use c10k_swarm::LoadArgs;

    use super::*;

    #[test]
    fn without_a_word_it_is_the_run_of_the_readme() {
        let plan = resolve(&RunArgs::default()).expect("the default");
        assert_eq!((plan.target, plan.profile.as_str()), (100_000, "tuned"));
        assert_eq!(plan.verdicts.len(), 3);
    }

    #[test]
    fn another_topology_takes_other_addresses_and_keeps_the_ports() {
        let args = RunArgs { topology: Some(Topology::Veth), ..RunArgs::default() };
        let plan = resolve(&args).expect("veth");
        assert_eq!(plan.server.listen, [([192, 168, 1, 10], 9000).into()]);
        let folder = tempfile::tempdir().expect("a folder");
        let named = LoadPlan { ips: Some("192.168.1.200".to_owned()), ..plan.load };
        let written = c10k_record::RunFolder::create(folder.path(), &Plan { load: named, ..plan });
        let path = written.expect("a plan is written").path().join("plan.toml");
        let again = |topology| {
            resolve(&RunArgs { plan: Some(path.clone()), topology, ..RunArgs::default() }).expect("a plan")
        };
        assert_eq!(again(None).load.ips.as_deref(), Some("192.168.1.200"));
        assert_eq!(again(Some(Topology::Veth)).server.listen, [([192, 168, 1, 10], 9000).into()]);
        let moved = again(Some(Topology::Loopback));
        assert_eq!((moved.load.ips, moved.server.listen), (None, vec![([127, 0, 0, 1], 9000).into()]));
    }

    #[test]
    fn a_server_that_discards_needs_a_swarm_without_probes() {
        let mut args = RunArgs { mode: Some(ServerMode::Hold), ..RunArgs::default() };
        assert_eq!(resolve(&args).expect_err("probes").exit, c10k_record::Exit::BadText);
        args.load = LoadArgs { no_probe: true, ..LoadArgs::default() };
        assert_eq!(resolve(&args).expect("no probes").verdicts.len(), 2);
    }

    #[test]
    fn what_only_a_websocket_asks_for_is_refused_without_it() {
        for change in [
            (|args| args.path = Some("/chat".to_owned())) as fn(&mut RunArgs),
            |args| args.headers.push("X: y".to_owned()),
            |args| args.subprotocols.push("chat".to_owned()),
            |args| args.load.ping_every = Some(c10k_record::Span::secs(1)),
        ] {
            let mut args = RunArgs::default();
            change(&mut args);
            assert_eq!(resolve(&args).expect_err("raw").exit, c10k_record::Exit::BadText, "{args:?}");
            args.protocol = Some(Protocol::Ws);
            assert!(resolve(&args).is_ok(), "{args:?}");
        }
        let args =
            RunArgs { path: Some("chat".to_owned()), protocol: Some(Protocol::Ws), ..RunArgs::default() };
        assert_eq!(resolve(&args).expect_err("no slash").exit, c10k_record::Exit::BadText);
    }

    #[test]
    fn a_verdict_that_cannot_be_read_is_refused_before_anything_runs() {
        let args = RunArgs { verdicts: vec!["speed > 3".to_owned()], ..RunArgs::default() };
        assert!(resolve(&args).expect_err("no such name").message.contains("speed > 3"));
    }
}
