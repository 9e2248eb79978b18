//! A run under way, and its start.

use c10k_ceiling::KeptFree;
use c10k_collector::{LinkWatch, PerEnd};
use c10k_kernel::limits::{Resource, of_process};
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::stage::Stage;
use c10k_record::metrics::Exporter;
use c10k_record::{HostSnapshot, Plan, Record, RunFolder};

use crate::host::limits::as_one;
use crate::isolate::place::Place;
use crate::isolate::veth;
use crate::lead::broke::Broke;
use crate::lead::pair::Pair;
use crate::lead::said::Said;
use crate::lead::seen::Seen;
use crate::lead::standing::Course;
use crate::processes::acts::Acting;
use crate::processes::in_force;
use crate::processes::noise::make_noise;
use crate::processes::server::Found;
use crate::processes::start::Starting;
use crate::signals::Signals;

/// A run under way.
pub(crate) struct Lab<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) folder: RunFolder,
    pub(crate) record: Record,
    /// The limits of each end.
    pub(crate) limits: PerEnd<HostSnapshot>,
    pub(crate) signals: Signals,
    pub(crate) printer: &'a mut Printer,
    /// The two processes.
    pub(crate) pair: Pair,
    /// What they said.
    pub(crate) said: Said,
    /// What is watched.
    pub(crate) seen: Seen,
    /// What broke.
    pub(crate) broke: Broke,
    pub(crate) way: Way,
    /// Where it stands among its phases.
    pub(crate) course: Course,
    /// Serves its figures, where somebody wants them.
    pub(crate) exporter: Option<Exporter>,
}

/// What stands in the way of a run.
pub(crate) struct Way {
    pub(crate) stage: Stage,
    pub(crate) acting: Acting,
    /// Where growth ended for the sake of memory.
    pub(crate) kept_free: Option<KeptFree>,
}

impl<'a> Lab<'a> {
    /// Starts server and swarm and waits until both are ready.
    pub(crate) fn start(
        plan: &'a Plan,
        folder: RunFolder,
        mut record: Record,
        mut limits: PerEnd<HostSnapshot>,
        signals: Signals,
        (mut place, found, stage): (Place, Option<Found>, Stage),
        printer: &'a mut Printer,
    ) -> Result<Self, Refusal> {
        let file = folder.plan();
        let mut starting = Starting::new((plan, &file), &stage, &signals, &mut limits.server);
        let run_id = folder.run_id();
        let (server, listen) = starting.server(found, (place.isolation.is_some(), &run_id))?;
        let noise = make_noise(&stage, &listen).map_err(|error| {
            Refusal::host(format!("what the wall is planted with cannot be made: {error}"), "")
        })?;
        let towards = stage.towards.map_or_else(|| listen.clone(), |other| vec![other]);
        let hlog = folder.path().join("latency.hlog");
        let (swarm, capacity) = starting.swarm(&towards, &hlog, place.far.as_ref())?;
        let heard = starting.heard;
        if stage.read_back {
            let server = server.is_ours().then(|| server.pid()).flatten();
            in_force::check(&stage, &listen, (server, swarm.pid()), &limits.server)?;
        }
        limits.server.nproc = of_process(swarm.pid(), Resource::Processes).ok().map(|limit| limit.soft);
        // What lies between two hosts is none of this one's devices.
        let devices = if server.far().is_some() { Vec::new() } else { veth::devices(place.far.as_ref()) };
        let link = LinkWatch::begin(devices);
        limits.server.link_bits_per_second = link.narrowest().map(|link| link.bits_per_second);
        if let Some(host) = &mut record.host {
            host.limits = as_one(&limits);
        }
        // Of port 0 the kernel has made another one, and so has the lab where it has no namespace of its own.
        if let Some(plan) = &mut record.plan {
            plan.server.listen.clone_from(&listen);
        }
        let seen = Seen::begin(&mut place, &server, swarm.pid(), (&listen, &towards), link)?;
        let server_closed = server.is_to_be_found_here();
        let acting = Acting::new(&stage, noise);
        Ok(Self {
            plan,
            folder,
            record,
            limits,
            signals,
            printer,
            pair: Pair { server, swarm, heard, server_closed, swarm_closed: false, capacity, _place: place },
            said: Said::nothing(),
            seen,
            broke: Broke::default(),
            way: Way { stage, acting, kept_free: None },
            course: Course::default(),
            exporter: None,
        })
    }

    /// Whether the run is to come to its end now.
    pub(crate) fn is_stopped(&self) -> bool {
        let broke = self.broke.why.is_some() || self.broke.is_alone();
        self.signals.came() || broke || self.pair.swarm_closed
    }
}
