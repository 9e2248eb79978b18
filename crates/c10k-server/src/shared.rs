//! What the keeper and all workers share, and what they tell the keeper.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use c10k_record::ServerMode;
use c10k_wire::push::Content;
use c10k_wire::raw::Answer;
use c10k_wire::ws;

use crate::counters::Counters;
use crate::lane::{Lane, LaneTable};
use crate::push::{Fanout, PushPlan};
use crate::slots::{Gauge, Slots};
use crate::speech::WsSettings;

/// Stack of a thread of the server: a worker's buffers are on the heap.
pub(crate) const STACK_BYTES: usize = 128 << 10;

/// Made by the keeper before the first worker starts.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) slots: Slots,
    pub(crate) gauge: Gauge,
    pub(crate) settings: WorkerSettings,
    pub(crate) language: Language,
    pub(crate) push: Option<Push>,
    ending: AtomicBool,
}

/// What every worker does alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) mode: ServerMode,
    /// Whether a worker has a descriptor table of its own.
    pub(crate) own_tables: bool,
    /// Whether a worker that is woken waits for its turn.
    pub(crate) waits_for_turn: bool,
    /// Processor time that is burnt for each connection, to show that a comparison finds it.
    pub(crate) burn: Option<Duration>,
    /// Descriptors a table may hold.
    pub(crate) table_limit: u32,
    /// `None` = a peer may stall for ever.
    pub(crate) stall_timeout: Option<Duration>,
    /// How long pending output may take to leave at the end.
    pub(crate) drain: Duration,
}

/// What all workers speak.
#[derive(Debug)]
pub(crate) enum Language {
    /// Bytes as they are.
    Raw(Answer),
    /// WebSocket.
    Ws(Arc<WsSettings>, Answer),
}

/// What all workers push.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) plan: PushPlan,
    pub(crate) content: Content,
    pub(crate) fanout: Arc<Fanout>,
}

impl From<PushPlan> for Push {
    fn from(plan: PushPlan) -> Self {
        Self { plan, content: Content::default(), fanout: Arc::default() }
    }
}

impl Shared {
    /// How long it is from one message to all to the next; `None` = there are none.
    pub(crate) fn messages_every(&self) -> Option<Duration> {
        match self.push.as_ref()?.plan {
            PushPlan::Fanout { every, .. } => Some(every.0),
            PushPlan::Stream { .. } => None,
        }
    }

    /// Makes the next message to all and tells the workers of it.
    pub(crate) fn make_message(&self) {
        let Some(Push { plan: PushPlan::Fanout { payload, .. }, content, fanout }) = &self.push else {
            return;
        };
        let begin = |bytes: usize, out: &mut Vec<u8>| match self.language {
            Language::Raw(_) => {}
            Language::Ws(..) => ws::begin_binary(bytes, out),
        };
        if fanout.make(*payload, content, begin) {
            self.lanes.iter().for_each(|lane| lane.bell.ring());
        }
    }
}

/// What a worker is given of its own.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPart {
    pub(crate) lane_table: Arc<LaneTable>,
    pub(crate) counters: Arc<Counters>,
}

/// What the keeper is told, by workers, signals and stdin.
#[derive(Debug)]
pub(crate) enum Note {
    /// A worker has its table and serves.
    Started {
        /// Connections its table can hold.
        capacity: u32,
    },
    /// A worker could not start.
    StartFailed {
        /// Its lane.
        lane: usize,
        /// What it was given, for the next one that is tried.
        part: WorkerPart,
        /// Why.
        error: io::Error,
    },
    /// All tables of a lane are full: start another.
    TableWanted {
        /// The lane.
        lane: usize,
    },
    /// Epoll has no room for another connection.
    NoWatch {
        /// What epoll_ctl(2) said.
        error: io::Error,
    },
    /// A worker has ended.
    Ended {
        /// Why it ended although nobody told it to.
        error: Option<String>,
    },
    /// SIGINT, SIGTERM, SIGHUP or SIGQUIT.
    Signal,
    /// A line on stdin.
    Line(String),
}

impl Shared {
    pub(crate) fn new(
        lanes: Vec<Lane>,
        slots: Slots,
        settings: WorkerSettings,
        language: Language,
        push: Option<PushPlan>,
    ) -> Self {
        let (gauge, ending) = (Gauge::default(), AtomicBool::new(false));
        Self { lanes, slots, gauge, settings, language, push: push.map(Push::from), ending }
    }

    /// Whether the server ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Refuses new connections and tells every worker to drain.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        for lane in &self.lanes {
            lane.listeners.iter().for_each(crate::listen::Listener::stop);
            lane.bell.ring();
        }
    }
}
