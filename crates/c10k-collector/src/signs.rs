//! What the ticks of a run say together about a server that says nothing itself.

use std::time::Duration;

use crate::observation::{HolderSeen, ListenerSeen, Observation};

/// So long must connections wait while nobody is accepted to be a server that has stopped accepting.
pub const STALL: Duration = Duration::from_secs(2);

/// Whether something that ought to move stands still for as long as a [`STALL`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standstill<T> {
    since: Option<(Duration, T)>,
}

impl<T> Default for Standstill<T> {
    fn default() -> Self {
        Self { since: None }
    }
}

impl<T: PartialEq> Standstill<T> {
    /// Looks at it `at` that time since any fixed moment; true when it has been the same for so long. `None` = it need
    /// not move now, and counting begins anew.
    pub fn look(&mut self, now: Option<T>, at: Duration) -> bool {
        match (&self.since, now) {
            (_, None) => self.since = None,
            (Some((since, then)), Some(now)) if *then == now => return at.saturating_sub(*since) >= STALL,
            (_, Some(now)) => self.since = Some((at, now)),
        }
        false
    }
}

/// What the listeners of a server show, gathered tick by tick.
///
/// # Whose drops these are
/// `ListenOverflows` and `ListenDrops` are counted for a whole namespace. What a listener itself dropped stands at its
/// socket, overflows of its queue and SYNs that a filter on it did not let through alike. So an overflow is this
/// server's where its own queue was seen full, or where it dropped and no other listener of the namespace did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSigns {
    /// The bound of the accept queue (Send-Q of ss(8)).
    pub backlog: Option<u64>,
    /// The longest accept queue (Recv-Q of ss(8)).
    pub longest: Option<u64>,
    /// Packets that the watched listeners dropped since the first look.
    pub drops: Option<u64>,
    /// The same of all other listeners of the namespace.
    pub others_drops: Option<u64>,
    /// Whether anybody listened at the last look.
    pub listens: Option<bool>,
    last: Option<ListenerSeen>,
}

impl QueueSigns {
    /// Looks at one tick.
    pub fn look(&mut self, seen: Option<ListenerSeen>) {
        let Some(now) = seen else { return };
        self.backlog = now.backlog.or(self.backlog);
        self.longest = self.longest.max(Some(now.accept_queue));
        self.listens = Some(now.listeners > 0);
        let last = self.last.replace(now).unwrap_or(now);
        // A listener that is closed takes its count with it: what was counted stays.
        let grown = |sum: Option<u64>, before: Option<u64>, after: Option<u64>| match before.zip(after) {
            Some((before, after)) => Some(sum.unwrap_or(0) + after.saturating_sub(before)),
            None => sum,
        };
        self.drops = grown(self.drops, last.drops, now.drops);
        self.others_drops = grown(self.others_drops, last.others_drops, now.others_drops);
    }
}

/// The signs of a server seen from outside, gathered tick by tick. A sign that was seen once stays, but for a pause after
/// which it takes connections again: that is a slow server, which accepts at a rate, and has not stopped.
///
/// # What is counted
/// How many a foreign server has accepted is nobody's word. But every connection that enters an accept queue is one of
/// `PassiveOpens`, and leaves the queue when it is accepted, so `PassiveOpens` less what waits moves with each accept.
/// While it stands still and somebody waits, nobody is accepted. Other listeners of the namespace can only hide that,
/// not feign it; where they do, a process of which nothing moves at all (what waits, its descriptors, its processor
/// time) accepts nobody either.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerSigns {
    /// Connections waited in an accept queue and for 2 s nobody was accepted, nor has been since.
    pub accepted_stalled: bool,
    /// The process, or one of several, was stopped by a signal (state T) at two looks in a row.
    pub stopped: bool,
    /// Which one of several that was.
    pub stopped_one: Option<u32>,
    /// How many processes took its connections at the last look, where they were several.
    pub processes: Option<u64>,
    /// Its only descriptor table was full: of several processes, one without which others do not take its connections.
    pub table_was_full: bool,
    /// The processes of which that was first seen together, where there are several.
    pub full: Vec<u32>,
    /// The most descriptors it had open in one table.
    pub most_descriptors: Option<u64>,
    /// Its soft RLIMIT_NOFILE at the last look; of a table that was full, the limit at which it was.
    pub descriptor_limit: Option<u64>,
    /// Its listeners.
    pub queue: QueueSigns,
    /// How many had been accepted, while somebody waited.
    accepted: Standstill<i128>,
    /// What waits, descriptors and processor seconds of the process, while somebody waited.
    process: Standstill<(u64, u64, f64)>,
    /// The pause that it makes.
    pause: Option<Pause>,
    /// So long must a pause last: longer than those after which it went on.
    patience: Duration,
    was_stopped: bool,
    were_stopped: Vec<u32>,
}

/// A time in which a server takes nobody although somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    since: Duration,
    /// Its descriptors when it was noticed.
    open: Option<u64>,
}

impl ServerSigns {
    /// Of several processes the one of which there is something to say.
    #[must_use]
    pub fn one_of_several(&self) -> Option<u32> {
        self.full.first().copied().or(self.stopped_one)
    }

    /// Looks at one tick.
    pub fn look(&mut self, seen: &Observation) {
        self.queue.look(seen.listener);
        if seen.processes.len() > 1 {
            self.look_at_several(&seen.processes);
        } else if let Some(descriptors) = seen.server.descriptors {
            // A limit that is changed afterwards does not change what it was met at.
            if descriptors.is_full() && !self.table_was_full {
                self.table_was_full = true;
                (self.most_descriptors, self.descriptor_limit) =
                    (Some(descriptors.fullest), descriptors.limit);
            } else if !self.table_was_full {
                self.most_descriptors = self.most_descriptors.max(Some(descriptors.fullest));
                self.descriptor_limit = descriptors.limit.or(self.descriptor_limit);
            }
        }
        let stopped = seen.server.is_stopped();
        self.stopped |= stopped && self.was_stopped;
        self.was_stopped = stopped;
        self.look_for_a_stall(seen);
    }

    /// Who looks did not run for a while: what stood still meanwhile may have done so with it.
    pub fn after_a_gap(&mut self) {
        (self.accepted, self.process) = (Standstill::default(), Standstill::default());
    }

    /// Each has a limit of its own. One that is full bounds the server where nobody takes connections in its place: those
    /// at a listener of its own wait, as do those at a shared one when all who take from it are full, and those that are
    /// handed to it are lost.
    fn look_at_several(&mut self, processes: &[HolderSeen]) {
        let holders = || processes.iter().filter(|one| one.is_counted);
        self.processes = Some(holders().count() as u64).filter(|count| *count > 1).or(self.processes);
        let stopped: Vec<u32> = holders().filter(|one| one.seen.is_stopped()).map(|one| one.pid).collect();
        let twice = stopped.iter().find(|pid| self.were_stopped.contains(pid)).copied();
        self.stopped |= twice.is_some();
        self.stopped_one = self.stopped_one.or(twice);
        self.were_stopped = stopped;
        let is_full = |one: &HolderSeen| one.seen.descriptors.is_some_and(|seen| seen.is_full());
        let is_alone = |full: &&HolderSeen| {
            let fellows = holders().filter(|one| one.listener.is_some() && one.listener == full.listener);
            fellows.into_iter().all(is_full)
        };
        let full: Vec<&HolderSeen> = holders().filter(|one| is_full(one)).filter(is_alone).collect();
        let tables = holders().filter_map(|one| one.seen.descriptors);
        let fullest = match full.first() {
            _ if self.table_was_full => return,
            Some(first) => first.seen.descriptors,
            None => tables.max_by_key(|seen| seen.fullest),
        };
        self.table_was_full = !full.is_empty();
        self.full = full.iter().map(|one| one.pid).collect();
        if let Some(fullest) = fullest {
            let most = if self.table_was_full { None } else { self.most_descriptors };
            self.most_descriptors = most.max(Some(fullest.fullest));
            self.descriptor_limit = fullest.limit.or(self.descriptor_limit);
        }
    }

    fn look_for_a_stall(&mut self, seen: &Observation) {
        let waiting = seen.listener.map_or(0, |listener| listener.waiting);
        let entered = seen.counter("PassiveOpens").filter(|_| waiting > 0);
        let accepted = entered.map(|entered| i128::from(entered) - i128::from(waiting));
        let at = Duration::from_millis(seen.elapsed_ms);
        let nobody = self.accepted.look(accepted, at);
        let open = seen.server.descriptors.map(|descriptors| descriptors.open);
        let still = open.filter(|_| waiting > 0).zip(seen.server.cpu_seconds);
        let nothing = self.process.look(still.map(|(open, seconds)| (waiting, open, seconds)), at);
        let listens = seen.listener.is_some_and(|listener| listener.listeners > 0);
        // What others accept moves the count too; what it takes itself shows in its queue and its table.
        let takes =
            |pause: &Pause| listens && waiting == 0 || open.zip(pause.open).is_some_and(|(n, then)| n > then);
        match self.pause {
            Some(pause) if takes(&pause) => {
                self.patience = self.patience.max(3 * at.saturating_sub(pause.since));
                (self.pause, self.accepted_stalled) = (None, false);
            }
            None if nobody || nothing => self.pause = Some(Pause { since: at.saturating_sub(STALL), open }),
            _ => {}
        }
        let lasts = |pause: Pause| at.saturating_sub(pause.since) >= self.patience.max(STALL);
        self.accepted_stalled |= self.pause.is_some_and(lasts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{DescriptorsSeen, ListenerSeen};

    fn tick(second: u64, entered: u64, waiting: u64) -> Observation {
        let mut seen = Observation { elapsed_ms: second * 1000, ..Observation::default() };
        seen.network.counters.insert("PassiveOpens", entered);
        seen.listener = Some(ListenerSeen {
            listeners: 1,
            accept_queue: waiting,
            waiting,
            backlog: Some(5),
            ..ListenerSeen::default()
        });
        seen
    }

    fn signs(ticks: &[Observation]) -> ServerSigns {
        let mut signs = ServerSigns::default();
        ticks.iter().for_each(|seen| signs.look(seen));
        signs
    }

    #[test]
    fn a_full_queue_from_which_nobody_is_taken_for_two_seconds_is_a_stall() {
        let seen = signs(&[tick(0, 100, 6), tick(1, 100, 6), tick(2, 100, 6)]);
        assert!(seen.accepted_stalled);
        assert_eq!((seen.queue.backlog, seen.queue.longest), (Some(5), Some(6)));
        assert!(!signs(&[tick(0, 100, 6), tick(1, 100, 6)]).accepted_stalled, "one second is not enough");
    }

    #[test]
    fn what_stood_still_while_nobody_looked_is_no_stall_until_it_is_seen_for_two_seconds() {
        let mut signs = ServerSigns::default();
        signs.look(&tick(0, 100, 6));
        signs.after_a_gap();
        for (second, is_stalled) in [(15, false), (16, false), (17, true)] {
            signs.look(&tick(second, 100, 6));
            assert_eq!(signs.accepted_stalled, is_stalled, "{second}");
        }
    }

    #[test]
    fn a_queue_that_only_grows_is_a_stall_too() {
        assert!(signs(&[tick(0, 100, 1), tick(1, 103, 4), tick(2, 105, 6)]).accepted_stalled);
    }

    #[test]
    fn a_full_queue_that_moves_is_none() {
        let seen = signs(&[tick(0, 100, 6), tick(1, 150, 6), tick(2, 200, 6), tick(3, 250, 6)]);
        assert!(!seen.accepted_stalled);
        assert!(!signs(&[tick(0, 100, 6), tick(1, 100, 0), tick(2, 106, 6)]).accepted_stalled);
    }

    #[test]
    fn where_other_listeners_hide_it_a_process_of_which_nothing_moves_is_a_stall() {
        let look = |second, seconds| {
            let mut seen = tick(second, 1000 * second, 6);
            seen.server.cpu_seconds = Some(seconds);
            seen.server.descriptors =
                Some(DescriptorsSeen { open: 4, tables: 1, fullest: 4, ..Default::default() });
            seen
        };
        assert!(signs(&[look(0, 0.5), look(1, 0.5), look(2, 0.5)]).accepted_stalled);
        assert!(!signs(&[look(0, 0.5), look(1, 0.5), look(2, 0.6)]).accepted_stalled);
    }

    #[test]
    fn a_server_that_goes_on_after_a_pause_is_slow_and_has_not_stopped() {
        // It takes a hundred at once, and then serves them for three seconds.
        let look = |second: u64, waiting, open| {
            let mut seen = tick(second, 100 + open, waiting);
            seen.server.cpu_seconds = Some(0.5);
            seen.server.descriptors =
                Some(DescriptorsSeen { open, tables: 1, fullest: open, ..Default::default() });
            seen
        };
        let mut ticks: Vec<Observation> = (0..4).map(|second| look(second, 6, 104)).collect();
        assert!(signs(&ticks).accepted_stalled);
        ticks.push(look(4, 6, 204));
        assert!(!signs(&ticks).accepted_stalled, "it went on");
        ticks.extend((5..9).map(|second| look(second, 6, 204)));
        assert!(!signs(&ticks).accepted_stalled, "a pause as those before");
        ticks.extend((9..30).map(|second| look(second, 6, 204)));
        assert!(signs(&ticks).accepted_stalled, "it does not go on any more");
        // What others accept says nothing of it.
        let others = (30..33).map(|second| tick(second, 100 + 50 * second, 6));
        let mut stalled = vec![tick(0, 100, 6), tick(1, 100, 6), tick(2, 100, 6)];
        stalled.extend(others);
        assert!(signs(&stalled).accepted_stalled);
        // One whose queue was emptied went on.
        assert!(
            !signs(&[tick(0, 100, 6), tick(1, 100, 6), tick(2, 100, 6), tick(3, 100, 0)]).accepted_stalled
        );
    }

    #[test]
    fn a_stopped_process_is_believed_at_the_second_look() {
        let look = |state| {
            let mut seen = Observation::default();
            seen.server.state = Some(state);
            seen
        };
        assert!(signs(&[look('T'), look('T')]).stopped);
        assert!(!signs(&[look('T'), look('S'), look('T')]).stopped);
    }

    #[test]
    fn what_a_listener_dropped_is_told_from_what_others_dropped_and_outlives_it() {
        let look = |listeners, drops, others_drops| {
            let (drops, others_drops) = (Some(drops), Some(others_drops));
            ListenerSeen { listeners, drops, others_drops, ..ListenerSeen::default() }
        };
        let mut queue = QueueSigns::default();
        queue.look(None);
        assert_eq!((queue.drops, queue.listens), (None, None));
        for seen in [look(1, 7, 100), look(1, 9, 100), look(0, 0, 60), look(1, 4, 61)] {
            queue.look(Some(seen));
        }
        assert_eq!((queue.drops, queue.others_drops, queue.listens), (Some(6), Some(1), Some(true)));
    }

    #[test]
    fn a_limit_that_is_changed_afterwards_is_not_the_one_that_was_met() {
        let look = |fullest, limit| {
            let mut seen = Observation::default();
            let (open, limit) = (fullest, Some(limit));
            seen.server.descriptors = Some(DescriptorsSeen { open, tables: 1, fullest, limit, exact: true });
            seen
        };
        let raised = signs(&[look(100, 1000), look(300, 300), look(900, 5000)]);
        assert_eq!((raised.most_descriptors, raised.descriptor_limit), (Some(300), Some(300)));
        let lowered = signs(&[look(100, 1000), look(150, 120), look(90, 120)]);
        assert!(lowered.table_was_full);
        assert_eq!((lowered.most_descriptors, lowered.descriptor_limit), (Some(150), Some(120)));
        let never_full = signs(&[look(100, 1000), look(150, 200), look(90, 5000)]);
        assert_eq!((never_full.table_was_full, never_full.descriptor_limit), (false, Some(5000)));
    }

    #[test]
    fn of_several_processes_one_that_is_stopped_is_named() {
        let look = |states: [char; 2]| {
            let one = |(at, state): (usize, char)| {
                let mut one = HolderSeen { pid: at as u32 + 10, is_counted: true, ..HolderSeen::default() };
                one.seen.state = Some(state);
                one
            };
            let processes = states.into_iter().enumerate().map(one).collect();
            Observation { processes, ..Observation::default() }
        };
        let seen = signs(&[look(['S', 'T']), look(['R', 'T'])]);
        assert_eq!((seen.stopped, seen.stopped_one, seen.processes), (true, Some(11), Some(2)));
        assert!(!signs(&[look(['T', 'S']), look(['S', 'T'])]).stopped, "each for a moment");
    }

    #[test]
    fn of_several_processes_one_that_is_full_bounds_the_server_where_nobody_takes_its_connections() {
        let look = |processes: &[(Option<u32>, u64)]| {
            let one = |(at, (listener, open)): (usize, &(Option<u32>, u64))| HolderSeen {
                pid: at as u32 + 10,
                listener: *listener,
                is_counted: true,
                seen: crate::observation::ProcessSeen {
                    descriptors: Some(DescriptorsSeen {
                        open: *open,
                        tables: 1,
                        fullest: *open,
                        limit: Some(136),
                        exact: true,
                    }),
                    ..Default::default()
                },
                ..HolderSeen::default()
            };
            let processes = processes.iter().enumerate().map(one).collect();
            signs(&[Observation { processes, ..Observation::default() }])
        };
        let own = look(&[(Some(1), 122), (Some(2), 136), (Some(3), 130)]);
        assert_eq!((own.table_was_full, own.full), (true, vec![11]), "a listener of its own");
        assert_eq!((own.most_descriptors, own.descriptor_limit), (Some(136), Some(136)));
        let shared = look(&[(Some(1), 122), (Some(1), 136)]);
        assert_eq!((shared.table_was_full, shared.most_descriptors), (false, Some(136)), "the other goes on");
        assert_eq!(look(&[(Some(1), 136), (Some(1), 136)]).full, [10, 11]);
        assert_eq!(look(&[(None, 100), (None, 136)]).full, [11], "handed to it by turns");
        assert!(!look(&[(None, 100), (None, 130)]).table_was_full);
    }

    #[test]
    fn one_full_table_of_several_is_no_full_process() {
        let look = |tables, exact| {
            let mut seen = Observation::default();
            let (open, fullest, limit) = (300 * tables, 300, Some(300));
            seen.server.descriptors = Some(DescriptorsSeen { open, tables, fullest, limit, exact });
            seen
        };
        assert!(signs(&[look(1, true)]).table_was_full);
        assert!(!signs(&[look(2, true)]).table_was_full);
        assert!(signs(&[look(2, false)]).table_was_full, "sizes alone do not prove a second table");
        assert_eq!(signs(&[look(1, true)]).descriptor_limit, Some(300));
    }
}
