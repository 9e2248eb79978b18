//! `c10k-lab doctor`: before any load, the walls of this host under a plan in the order in which they bite, and how
//! much machine it takes.

pub(crate) mod facts;
mod finding;
mod page;

use c10k_ceiling::{
    CLIENT_BYTES, KERNEL_PORTS, PlanView, Prediction, RatePrediction, SERVER_BYTES, memory_reserve_bytes,
    predict, predict_rate, wall,
};
use c10k_kernel::process;
use c10k_plan::args::RunArgs;
use c10k_plan::resolve::resolve;
use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::say::words::side_name;
use c10k_plan::veth;
use c10k_plan::view::plan_view;
use c10k_profile::Profile;
use c10k_record::{Exit, HostSnapshot, Plan, Predicted, Protocol, Quantity, Topology, Warning, human_count};
use c10k_swarm::LoadArgs;
use clap::Args;

use crate::command::calibrate::{Calibration, calibrate};
use crate::host::describe;
use crate::host::object_bytes::object_bytes;
use crate::isolate::place;
use facts::Outside;
use finding::{Calibrated, Finding, Machine, Row};

/// The sizes that people ask for.
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// A calibration is not believed that is further than this part from the sizes of the objects: something else took or
/// gave back memory meanwhile.
const MOST_APART: f64 = 0.25;
/// By how much a connection of another kernel may cost more, or less, than the one that was measured for the walls.
const OTHER_KERNELS: f64 = 3.0;

/// `c10k-lab doctor`. Of a server on another machine it knows nothing: run it there too, each end has its own walls.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A shipped profile (stock, tuned, diary, c1m) or the path of one: stock is this host as it is, any other one is
    /// seen as `c10k-lab run` would apply it in a namespace of its own [default: tuned].
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Connections to be held, as --target says it too.
    #[arg(value_name = "TARGET", conflicts_with = "target")]
    wanted: Option<Quantity>,
    /// Connections to be held: 5000, 10,000, 100k, 1M [default: 100k].
    #[arg(long, value_name = "N", aliases = ["max", "connections"], short_alias = 'n', allow_hyphen_values = true)]
    target: Option<Quantity>,
    /// Where the two ends stand: loopback, or veth (two namespaces of this machine), as for `c10k-lab run`.
    #[arg(long, value_name = "TOPOLOGY")]
    topology: Option<Topology>,
    /// What is spoken over TCP: raw, or ws (WebSocket).
    #[arg(long, default_value = "raw", value_name = "raw|ws")]
    protocol: Protocol,
    /// The most connections the server takes, as for `c10k-lab run`.
    #[arg(long, value_name = "N")]
    max_connections: Option<Quantity>,
    /// Source addresses, as for `c10k-lab run`.
    #[arg(long, value_name = "LIST")]
    ips: Option<String>,
    /// Source ports, as for `c10k-lab run`.
    #[arg(long, value_name = "FIRST-LAST")]
    ports: Option<String>,
    /// For an ordinary program instead of the lab's own: one descriptor table at each end and, without --ips, one
    /// source address.
    #[arg(long)]
    plain: bool,
    /// Every wall, however far above the target, and what a diagnosis can look at here.
    #[arg(long)]
    all: bool,
    /// Make no connections at all: memory is told from sizes alone then, and no rate.
    #[arg(long)]
    no_calibration: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Colours on stderr.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// Carries it out.
pub(crate) fn run(args: &DoctorArgs, printer: &mut Printer) -> Exit {
    match examine(args) {
        Ok((finding, outside)) => {
            let exit = if finding.reachable { Exit::Done } else { Exit::HostCannot };
            printer.notes(&finding.warnings, args.profile.as_deref().unwrap_or("tuned"));
            if args.json {
                printer.data(&serde_json::to_string(&finding).unwrap_or_default());
            } else {
                let width = printer.style(true).width;
                printer.data(&page::page(&finding, &outside, args.all, width));
            }
            exit
        }
        Err(refusal) => refusal.tell(printer),
    }
}

/// The plan whose walls are looked for, and its profile.
fn plan_of(args: &DoctorArgs) -> Result<(Plan, Profile), Refusal> {
    let load = LoadArgs {
        target: args.target.or(args.wanted),
        ips: args.ips.clone(),
        ports: args.ports.clone(),
        ..LoadArgs::default()
    };
    let mut plan = resolve(&RunArgs {
        profile: args.profile.clone(),
        topology: args.topology,
        max_connections: args.max_connections,
        load,
        ..RunArgs::default()
    })
    .map_err(|refusal| Refusal {
        hint: refusal.hint.map(|hint| hint.replace("c10k-lab run --help", "c10k-lab doctor --help")),
        ..refusal
    })?;
    plan.protocol = args.protocol;
    let profile =
        Profile::load(&plan.profile).map_err(|error| Refusal::text(error.to_string(), error.hint()))?;
    veth::fill_in_sources(&mut plan, &profile)?;
    Ok((plan, profile))
}

fn examine(args: &DoctorArgs) -> Result<(Finding, Outside), Refusal> {
    let (plan, profile) = plan_of(args)?;
    // The host first: what is host-wide cannot be seen from inside.
    let outside = Outside::look(&profile);
    let evidence = c10k_collector::sources_of_evidence();
    let place = place::enter(&plan, &profile)?;
    let inside = describe::snapshot(&profile, outside.root);
    let isolated = place.isolation.is_some();
    let mut host = if profile.sysctl.is_empty() {
        outside.host.clone()
    } else {
        outside.with_profile(&inside, isolated)
    };
    (host.server_nofile, host.swarm_nofile) = (inside.server_nofile, inside.swarm_nofile);
    (host.server_tables, host.swarm_tables) = (inside.server_tables, inside.swarm_tables);
    host.backlog = inside.backlog;
    if plan.topology == Topology::Veth {
        // A link that the lab makes carries what the processors can.
        host.link_bits_per_second = None;
    }
    let mut warnings = place.warnings;
    let calibration = if args.no_calibration {
        None
    } else {
        calibrate(&plan.profile, plan.protocol, &mut host)
            .map_err(|why| warnings.push(Warning::new("not-calibrated", format!("no calibration: {why}"))))
            .ok()
    };
    let bytes = ConnectionBytes::of(object_bytes(plan.is_ipv6()), calibration.as_ref());
    (host.server_connection_bytes, host.client_connection_bytes) = (Some(bytes.server), Some(bytes.client));
    let memory_uncertainty = bytes.uncertainty();
    warnings.extend(bytes.doubt.map(|text| Warning::new("calibration-not-used", text)));
    let walls = rows(&plan, &host, memory_uncertainty, &outside, args.plain, calibration.as_ref());
    let first = walls
        .iter()
        .filter(|row| row.in_this_plan)
        .find(|row| row.connections.is_some_and(|connections| connections < plan.target));
    let predicted = first.and_then(|row| {
        let uncertainty_percent = row.uncertainty_percent;
        Some(Predicted { connections: row.connections?, wall: row.wall.clone(), uncertainty_percent })
    });
    let finding = Finding {
        profile: profile.name,
        topology: plan.topology,
        protocol: plan.protocol,
        target: plan.target,
        plain: args.plain,
        reachable: predicted.is_none(),
        predicted,
        walls,
        machines: machines(&plan, &host, calibration.as_ref()),
        calibration: calibration.map(|c| Calibrated {
            connections: c.connections,
            connects_per_second: c.connects_per_second as u64,
            uncertainty_percent: c.uncertainty_percent,
            server_us_per_connection: c.server_us,
            swarm_us_per_connection: c.swarm_us,
            measured_pair_bytes: c.measured_pair_bytes.map(|bytes| bytes as u64),
        }),
        host,
        evidence,
        warnings,
    };
    Ok((finding, outside))
}

// Walls ------------------------------------------------------------------------------------------------

/// All walls: those of the plan, those that only an ordinary program meets, and those that bound a rate.
/// `memory_uncertainty` is how far the memory of a connection may be off, percent.
fn rows(
    plan: &Plan,
    host: &HostSnapshot,
    memory_uncertainty: u8,
    outside: &Outside,
    is_plain: bool,
    calibration: Option<&Calibration>,
) -> Vec<Row> {
    let view = plan_view(plan, host);
    let (plain_host, plain_view) = plain(host, &view, outside);
    let to_row =
        |prediction: Prediction, in_this_plan, passed_by| row(prediction, in_this_plan, passed_by, outside);
    let ordinary = predict(&plain_host, &plain_view);
    let mut rows: Vec<Row> = if is_plain {
        ordinary.into_iter().map(|prediction| to_row(prediction, true, None)).collect()
    } else {
        let own = predict(host, &view);
        let passed: Vec<Row> = ordinary
            .into_iter()
            .filter(|other| {
                !own.iter().any(|mine| mine.wall == other.wall && mine.connections <= other.connections)
            })
            .filter_map(|other| Some((how_it_is_passed(&other.wall, &view)?, other)))
            .map(|(how, other)| to_row(other, false, Some(how)))
            .collect();
        own.into_iter().map(|prediction| to_row(prediction, true, None)).chain(passed).collect()
    };
    for row in rows.iter_mut().filter(|row| row.wall == "ram") {
        row.uncertainty_percent = row.uncertainty_percent.max(memory_uncertainty);
    }
    rows.sort_by_key(|row| row.connections);
    rows.extend(predict_rate(host, &view).map(|rate| link_row(rate, outside)));
    rows.extend(
        calibration.into_iter().flat_map(|calibration| rates(plan, host, &view, calibration, outside)),
    );
    rows
}

/// The same plan by an ordinary program: the descriptors that the shell allows in one table, one source address.
fn plain(host: &HostSnapshot, view: &PlanView, outside: &Outside) -> (HostSnapshot, PlanView) {
    let soft = outside.nofile.map(|limit| limit.soft);
    let host = HostSnapshot {
        server_nofile: soft,
        swarm_nofile: soft,
        server_tables: false,
        swarm_tables: false,
        server_per_table: None,
        swarm_per_table: None,
        // It runs where this shell is, and what waits here keeps ports from it.
        time_wait: outside.time_wait_of(view),
        ..host.clone()
    };
    let sources = if view.ips.is_some() { view.sources } else { 1 };
    (host, PlanView { sources, pool: None, ..view.clone() })
}

fn how_it_is_passed(wall: &str, view: &PlanView) -> Option<String> {
    match wall {
        "nofile-server" | "nofile-swarm" | "nr-open" => Some(
            "the lab's server and swarm have a descriptor table for each worker, each with that limit"
                .to_owned(),
        ),
        "ports-exhausted" | "ports-reserved" => Some(format!(
            "the lab's swarm takes {} addresses of 127.0.0.0/8 by itself",
            human_count(view.sources)
        )),
        _ => None,
    }
}

fn row(prediction: Prediction, in_this_plan: bool, passed_by: Option<String>, outside: &Outside) -> Row {
    let about = wall(&prediction.wall);
    let mut lift = prediction.lift;
    lift.commands = lift.commands.iter().map(|command| outside.line(command)).collect();
    // Of a program that is not the lab's own the other descriptors are not known.
    let descriptors = ["nofile-server", "nofile-swarm"].contains(&prediction.wall.as_str());
    let unknown = u8::from(descriptors && (passed_by.is_some() || !in_this_plan));
    Row {
        title: about.map_or_else(String::new, |wall| wall.title.to_owned()),
        side: about.map_or("host", |wall| side_name(wall.side)),
        wall: prediction.wall,
        connections: Some(prediction.connections),
        rate_per_second: None,
        uncertainty_percent: prediction.uncertainty_percent.max(unknown),
        now: prediction.now,
        lift,
        in_this_plan,
        passed_by,
    }
}

/// Memory of one connection, bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ConnectionBytes {
    server: u64,
    client: u64,
    /// Whether it was measured and the sizes of this kernel's objects bear that out.
    is_proven: bool,
    /// Why what was measured is not reckoned with.
    doubt: Option<String>,
}

impl ConnectionBytes {
    /// As it was measured, divided between the ends as the sizes of this kernel's objects are. What is far from those is
    /// not believed; where they may not be read, only what no kernel takes is not.
    fn of(objects: Option<(u64, u64)>, calibration: Option<&Calibration>) -> Self {
        let (server, client) = objects.unwrap_or((SERVER_BYTES, CLIENT_BYTES));
        let by_size = Self { server, client, is_proven: false, doubt: None };
        let Some(measured) = calibration.and_then(Calibration::pair_bytes) else { return by_size };
        let sizes = (server + client) as f64;
        let (least, most) = match objects {
            Some(_) => (1.0 - MOST_APART, 1.0 + MOST_APART),
            None => (1.0 / OTHER_KERNELS, OTHER_KERNELS),
        };
        let turns = calibration.and_then(|calibration| calibration.measured_in_turn);
        if let (None, Some([first, second])) = (objects, turns)
            && (first - second).abs() > MOST_APART * first.min(second)
        {
            let text = format!(
                "the calibration measured {} B of memory a connection, both ends, and then {}: other programs took or \
                 gave back memory meanwhile, and the {} that others measured are reckoned with",
                human_count(first.max(0.0) as u64),
                human_count(second.max(0.0) as u64),
                human_count(server + client)
            );
            return Self { doubt: Some(text), ..by_size };
        }
        if !(least * sizes..=most * sizes).contains(&measured) {
            let of =
                if objects.is_some() { "the objects that it is made of take" } else { "others measured" };
            let text = format!(
                "the calibration measured {} B of memory a connection, both ends, where {of} {}: other programs took \
                 or gave back memory meanwhile, and the latter is what is reckoned with",
                human_count(measured.max(0.0) as u64),
                human_count(server + client)
            );
            return Self { doubt: Some(text), ..by_size };
        }
        let of_server = (measured * server as f64 / sizes) as u64;
        let client = measured as u64 - of_server;
        Self { server: of_server, client, is_proven: objects.is_some(), doubt: None }
    }

    /// How far it may be off beyond what other programs take and give back, percent.
    fn uncertainty(&self) -> u8 {
        if self.is_proven { 0 } else { 10 }
    }
}

/// What the link between the ends bounds.
fn link_row(rate: RatePrediction, outside: &Outside) -> Row {
    let about = wall(&rate.wall);
    let mut lift = rate.lift;
    lift.commands = lift.commands.iter().map(|command| outside.line(command)).collect();
    Row {
        title: about.map_or_else(String::new, |wall| wall.title.to_owned()),
        side: about.map_or("host", |wall| side_name(wall.side)),
        wall: rate.wall,
        connections: None,
        rate_per_second: Some(rate.connections_per_second),
        uncertainty_percent: rate.uncertainty_percent,
        now: rate.now,
        lift,
        in_this_plan: true,
        passed_by: None,
    }
}

/// Processor time bounds connections a second and not their number.
fn rates(
    plan: &Plan,
    host: &HostSnapshot,
    view: &PlanView,
    calibration: &Calibration,
    outside: &Outside,
) -> Vec<Row> {
    let cpus = process::cpus_allowed() as f64;
    let ends = [("cpu-server", calibration.server_us), ("cpu-swarm", calibration.swarm_us)];
    let rows = ends.into_iter().filter_map(|(name, us)| {
        let (about, us) = (wall(name)?, us.filter(|us| *us > 0.0)?);
        // Both ends share the processors of one machine.
        let rate = (cpus * 1e6 / us).min(calibration.connects_per_second) as u64;
        let mut lift = (about.lift)(host, view);
        lift.commands = lift.commands.iter().map(|command| outside.line(command)).collect();
        Some(Row {
            wall: name.to_owned(),
            title: about.title.to_owned(),
            side: side_name(about.side),
            connections: None,
            rate_per_second: Some(rate),
            uncertainty_percent: calibration.uncertainty_percent,
            now: format!(
                "{us:.0} µs of processor time a connection at this end, {cpus:.0} processors for both ends; it bounds \
                 the ramp, not the number: {} take {:.1} s",
                human_count(plan.target),
                plan.target as f64 / calibration.connects_per_second.max(1.0)
            ),
            lift,
            in_this_plan: true,
            passed_by: None,
        })
    });
    rows.collect()
}

// Machines ---------------------------------------------------------------------------------------------

fn machines(plan: &Plan, host: &HostSnapshot, calibration: Option<&Calibration>) -> Vec<Machine> {
    let mut sizes = SIZES.to_vec();
    sizes.push(plan.target);
    sizes.sort_unstable();
    sizes.dedup();
    // One connection of each end by the walls' own arithmetic, so that the table and the wall agree.
    let server = host.server_connection_bytes.unwrap_or(SERVER_BYTES);
    let client = host.client_connection_bytes.unwrap_or(CLIENT_BYTES);
    let free = host
        .memory_available_bytes
        .map(|available| available.saturating_sub(host.memory_total_bytes.map_or(0, memory_reserve_bytes)));
    // Both ends run in the group of the one who starts them, and what it leaves bounds them as the machine does.
    let free_in_group = host.cgroup_memory_bytes.map(|limit| {
        let left = limit.saturating_sub(host.cgroup_memory_used_bytes.unwrap_or(0));
        left.saturating_sub(memory_reserve_bytes(limit))
    });
    let charged = host.cgroup_connection_bytes.filter(|bytes| *bytes > 0).unwrap_or(server + client);
    let per_table = host.server_nofile.map(|nofile| nofile.saturating_sub(16).clamp(1, 1 << 17));
    let ports = plan_view(plan, host).ports_per_pair(host).filter(|ports| *ports > 0);
    let machine = |connections: u64| {
        let both = connections.saturating_mul(server + client);
        Machine {
            connections,
            server_bytes: connections.saturating_mul(server),
            client_bytes: connections.saturating_mul(client),
            both_ends_bytes: both,
            fits_here: free.map(|free| {
                let in_group = free_in_group.is_none_or(|free| connections.saturating_mul(charged) <= free);
                both <= free && in_group
            }),
            descriptors_each_end: connections,
            tables_each_end: per_table.map(|each| connections.div_ceil(each)),
            source_addresses: ports.map(|ports| connections.div_ceil(ports)),
            source_addresses_by_default: connections.div_ceil(KERNEL_PORTS),
            ramp_seconds: calibration.map(|c| connections as f64 / c.connects_per_second.max(1.0)),
        }
    };
    sizes.into_iter().map(machine).collect()
}

#[cfg(test)]
mod tests;
