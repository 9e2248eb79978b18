//! What a swarm is asked to do: its flags above a plan, or above the defaults.

use c10k_record::{
    Condition, LoadPlan, PhasePlan, Plan, SCHEMA_VERSION, ServerMode, ServerPlan, Topology, WorkPlan,
    Workload, default_conditions,
};

use crate::args::SwarmArgs;
use crate::preflight::{all_works, refuse_nobody_closes, refuse_two_ways, refuse_unproven};

/// The target of a swarm that is not told one: C10K.
const DEFAULT_TARGET: u64 = 10_000;

/// What stands below the flags: a plan, or nothing.
struct Base {
    target: u64,
    load: LoadPlan,
    workload: Workload,
    work: WorkPlan,
    phases: Vec<PhasePlan>,
    verdicts: Vec<Condition>,
}

impl Default for Base {
    fn default() -> Self {
        Self {
            target: DEFAULT_TARGET,
            load: LoadPlan::default(),
            workload: Workload::Hold,
            work: WorkPlan::default(),
            phases: Vec::new(),
            verdicts: Vec::new(),
        }
    }
}

impl From<Plan> for Base {
    fn from(plan: Plan) -> Self {
        let Plan { target, load, workload, work, phases, verdicts, .. } = plan;
        Self { target, load, workload, work, phases, verdicts }
    }
}

/// All that is asked for: `args` above a plan. Where the servers are is not in it yet.
///
/// # Errors
/// One line where flags or plan contradict each other.
pub(crate) fn whole(args: &SwarmArgs, plan: Option<Plan>) -> Result<Plan, String> {
    let base = plan.map_or_else(Base::default, Base::from);
    let (target, load) = args.load.resolve(&base.load, base.target)?;
    let workload = args.work.workload(base.workload);
    let work = args.work.resolve(&base.work)?;
    let kinds = base.phases.iter().filter_map(|phase| phase.kind.workload());
    let workloads: Vec<Workload> = kinds.chain([workload]).collect();
    args.work.check_use(&workloads)?;
    refuse_two_ways(&base.phases, workload, &load)?;
    for work in all_works(&base.phases, workload, &work) {
        refuse_unproven(&work, &load)?;
        refuse_nobody_closes(&work, args.protocol())?;
    }
    // One that is led is judged by its leader.
    let of_plan = Some(base.verdicts).filter(|verdicts| !args.commanded && !verdicts.is_empty());
    let mode = if load.probe { ServerMode::Echo } else { ServerMode::Hold };
    Ok(Plan {
        schema_version: SCHEMA_VERSION,
        profile: args.profile().to_owned(),
        topology: Topology::Remote,
        protocol: args.protocol(),
        workload,
        target,
        verdicts: of_plan.unwrap_or_else(|| default_conditions(load.probe)),
        server: ServerPlan {
            listen: Vec::new(),
            mode,
            workers: None,
            max_connections: None,
            foreign: true,
            control: None,
            reached_at: Vec::new(),
            ssh: None,
        },
        load,
        work,
        phases: base.phases,
    })
}
