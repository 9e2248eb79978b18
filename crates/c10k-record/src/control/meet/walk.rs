//! Random walks: shards that come, are killed, break, come again, bring late results, beside a port that stands still now
//! and then. Whatever happens, nobody hangs, nobody joins what goes on, and the start is never given without all.

use super::port::{Port, shard};
use super::*;

/// Numbers from a seed (xorshift64*; Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

/// A process of a shard, which does what the swarm does.
struct Process {
    join: Join,
    begun_ms: u64,
    joined_as: Option<Beat>,
    is_alive: bool,
    /// It was told its end, or has given up.
    has_ended: bool,
    brought: bool,
}

struct Walk {
    port: Port,
    numbers: Numbers,
    of: u32,
    on_lost: OnLost,
    processes: Vec<Process>,
    /// The meeting that was joined last: there is one at a time.
    latest: String,
    /// Events that were looked at.
    seen: usize,
    starts: usize,
    ends: usize,
}

/// How long a shard waits for the others, ms.
const TIMEOUT_MS: u64 = 6000;
const STEP_MS: u64 = 500;

impl Walk {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let of = 1 + numbers.below(4) as u32;
        let on_lost = if numbers.below(2) == 0 { OnLost::Fail } else { OnLost::Degrade };
        let (processes, seen, starts, ends) = (Vec::new(), 0, 0, 0);
        Self { port: Port::new(), numbers, of, on_lost, processes, latest: String::new(), seen, starts, ends }
    }

    fn start(&mut self, number: u32) {
        let attempt_token = format!("process-{}", self.processes.len());
        let join =
            Join { attempt_token, on_lost: self.on_lost, timeout_ms: TIMEOUT_MS, ..shard(number, self.of) };
        let begun_ms = self.port.now_ms;
        self.processes.push(Process {
            join,
            begun_ms,
            joined_as: None,
            is_alive: true,
            has_ended: false,
            brought: false,
        });
    }

    fn any(&mut self) -> Option<usize> {
        let count = self.processes.len() as u64;
        (count > 0).then(|| self.numbers.below(count) as usize)
    }

    fn act(&mut self) {
        match self.numbers.below(12) {
            0..=3 => {
                let number = 1 + self.numbers.below(u64::from(self.of)) as u32;
                self.start(number);
            }
            4 => {
                let killed = self.any();
                killed.into_iter().for_each(|number| self.processes[number].is_alive = false);
            }
            5 => {
                if let Some(number) = self.any()
                    && let Some(beat) = self.processes[number].joined_as.clone()
                {
                    // Also of one that was killed long ago: its last words were on their way.
                    let last = Beat { broke: Some("it broke".to_owned()), ..beat };
                    self.port.ask("POST", "run-1/beat", &serde_json::to_value(last).expect("JSON"));
                    self.processes[number].is_alive = false;
                }
            }
            6 => {
                if let Some(number) = self.any()
                    && let Some(beat) = self.processes[number].joined_as.clone()
                {
                    let _ = self.port.result(&beat, self.of);
                }
            }
            7 if self.numbers.below(4) == 0 => self.port.now_ms += 7000,
            _ => self.pass(1 + self.numbers.0 % 4),
        }
        self.check_events();
    }

    fn pass(&mut self, steps: u64) {
        for _ in 0..steps {
            self.port.pass_by(STEP_MS / 2, 2);
            for number in 0..self.processes.len() {
                self.step(number);
                self.check_events();
            }
        }
    }

    /// What a process does in each step.
    fn step(&mut self, number: usize) {
        let Process { join, begun_ms, joined_as, is_alive, has_ended, brought } = &mut self.processes[number];
        if !*is_alive || *has_ended {
            return;
        }
        let Some(beat) = joined_as else {
            match self.port.join(join) {
                Ok(Joined { meeting, attempt, .. }) => {
                    self.latest.clone_from(&meeting);
                    *joined_as = Some(Beat { shard: join.shard, attempt, meeting, ..Beat::default() });
                    let (_, state) = self.port.ask("GET", "run-1/state", &serde_json::Value::Null);
                    assert_eq!(state["state"], "waiting", "it joined what goes on");
                }
                Err(_) => *has_ended = self.port.now_ms > *begun_ms + TIMEOUT_MS,
            }
            return;
        };
        match self.port.beat(beat) {
            MeetState::Waiting { .. } | MeetState::Start { .. } => {}
            MeetState::Going { gate, .. } if gate >= 3 && !*brought => {
                self.port.result(beat, self.of).expect("it has a part in it");
                *brought = true;
            }
            MeetState::Going { gate, .. } => {
                let goes_on = beat.gate <= gate && beat.gate < 3 && self.numbers.below(2) == 0;
                beat.gate += u32::from(goes_on);
                beat.phase = Some(PhaseName::Hold);
            }
            MeetState::Failed { .. } => {
                if beat.phase.is_some() && !*brought {
                    *brought = self.port.result(beat, self.of).is_ok();
                }
                *has_ended = true;
            }
            MeetState::Out { .. } | MeetState::Over { .. } => *has_ended = true,
        }
    }

    fn check_events(&mut self) {
        for event in &self.port.events[self.seen..] {
            match event {
                MeetEvent::AllThere { .. } => {
                    self.starts += 1;
                    let mut shards: Vec<u32> = self
                        .processes
                        .iter()
                        .filter_map(|process| {
                            let beat = process.joined_as.as_ref()?;
                            (beat.meeting == self.latest).then_some(beat.shard)
                        })
                        .collect();
                    shards.sort_unstable();
                    shards.dedup();
                    assert_eq!(
                        shards.len(),
                        self.of as usize,
                        "the start with {shards:?} of {} alone",
                        self.of
                    );
                }
                MeetEvent::Ended(account) => {
                    self.ends += usize::from(account.start_unix_ns.is_some());
                    let brought: Vec<u32> = account.results.iter().map(|(shard, _)| *shard).collect();
                    let lost: Vec<u32> = account.lost.iter().map(|lost| lost.shard).collect();
                    assert!(brought.iter().all(|shard| !lost.contains(shard)), "{account:?}");
                    if account.failed.is_none() {
                        assert_eq!(brought.len() + lost.len(), self.of as usize, "{account:?}");
                        assert!(self.on_lost == OnLost::Degrade || lost.is_empty(), "{account:?}");
                    }
                }
                _ => {}
            }
        }
        self.seen = self.port.events.len();
        assert!(self.starts <= self.ends + 1, "two measurements at once");
    }

    fn hangs(&self) -> Vec<&Join> {
        let hangs = |process: &&Process| process.is_alive && !process.has_ended;
        self.processes.iter().filter(hangs).map(|process| &process.join).collect()
    }
}

#[test]
fn whatever_happens_nobody_hangs_and_nobody_begins_without_all() {
    let (mut starts, mut whole) = (0, 0);
    for seed in 1..=200 {
        let mut walk = Walk::new(seed);
        // Half of the walks begin with all.
        if walk.numbers.below(2) == 0 {
            (1..=walk.of).for_each(|number| walk.start(number));
        }
        for _ in 0..40 {
            walk.act();
        }
        walk.pass(2 * 60);
        assert!(walk.hangs().is_empty(), "seed {seed}: {:?}", walk.hangs());
        walk.port.pass_by(STEP_MS, 140);
        walk.check_events();
        assert_eq!(walk.starts, walk.ends, "seed {seed}: a measurement has no end");
        let at = walk.port.at();
        assert_eq!(walk.port.meetings.under_way(at), None, "seed {seed}");
        starts += walk.starts;
        whole +=
            walk.port.events.iter().filter(|event| matches!(event, MeetEvent::AllAt { gate: 3, .. })).count();
    }
    // The walks go somewhere.
    assert!(starts > 50 && whole > 25, "{starts} starts, {whole} proofs of all");
}
