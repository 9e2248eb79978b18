//! A control port for tests, and shards that come to it.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::control::{Build, Refused};

/// A control port and its time, asked as the network asks it.
pub(super) struct Port {
    pub(super) meetings: Meetings,
    pub(super) now_ms: u64,
    pub(super) events: Vec<MeetEvent>,
}

/// The wall clock of the port when its monotonic one is at 0.
const WALL_NS: u64 = 1_700_000_000_000_000_000;
pub(super) const RUN: &str = "run-1";

impl Port {
    pub(super) fn new() -> Self {
        let at = Moment { mono: Duration::ZERO, unix_ns: WALL_NS };
        Self { meetings: Meetings::new(at, Some("boot-1".to_owned())), now_ms: 0, events: Vec::new() }
    }

    pub(super) fn at(&self) -> Moment {
        let mono = Duration::from_millis(self.now_ms);
        Moment { mono, unix_ns: WALL_NS + mono.as_nanos() as u64 }
    }

    /// Lets time pass, in which the port looks at it now and then.
    pub(super) fn pass(&mut self, ms: u64) {
        self.pass_by(50, ms / 50);
    }

    /// The same in so many steps.
    pub(super) fn pass_by(&mut self, ms: u64, steps: u64) {
        for _ in 0..steps {
            self.now_ms += ms;
            let at = self.at();
            self.events.extend(self.meetings.tick(at));
        }
    }

    pub(super) fn ask(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let at = self.at();
        let answer = self.meetings.answer(method, path, body.to_string().as_bytes(), at);
        self.events.extend(self.meetings.tick(at));
        match answer {
            Ok(body) => (200, serde_json::from_str(&body).expect("JSON")),
            Err(refusal) => (refusal.status, serde_json::to_value(&refusal.why).expect("JSON")),
        }
    }

    pub(super) fn join(&mut self, join: &Join) -> Result<Joined, (u16, String)> {
        let body = serde_json::to_value(join).expect("JSON");
        match self.ask("POST", &format!("{RUN}/join"), &body) {
            (200, joined) => Ok(serde_json::from_value(joined).expect("joined")),
            (status, refused) => {
                let Refused { error, hint, .. } = serde_json::from_value(refused).expect("refused");
                assert!(hint.is_some_and(|hint| !hint.is_empty()), "{error}");
                Err((status, error))
            }
        }
    }

    #[track_caller]
    pub(super) fn beat(&mut self, beat: &Beat) -> MeetState {
        let body = serde_json::to_value(beat).expect("JSON");
        let (status, state) = self.ask("POST", &format!("{RUN}/beat"), &body);
        assert_eq!(status, 200, "{state}");
        serde_json::from_value(state).expect("a state")
    }

    pub(super) fn result(&mut self, of: &Beat, count: u32) -> Result<MeetState, String> {
        let Beat { shard, attempt, meeting, .. } = of;
        let shard = json!({"index": shard, "count": count});
        let body = json!({"run_id": RUN, "shard": shard, "attempt": attempt, "meeting": meeting, "held": 7});
        match self.ask("POST", &format!("{RUN}/result"), &body) {
            (200, state) => Ok(serde_json::from_value(state).expect("a state")),
            (status, refused) => Err(format!("{status} {}", refused["error"].as_str().expect("words"))),
        }
    }

    pub(super) fn account(&self) -> Option<&MeetingAccount> {
        self.events.iter().rev().find_map(|event| match event {
            MeetEvent::Ended(account) => Some(account.as_ref()),
            _ => None,
        })
    }
}

pub(super) fn shard(shard: u32, of: u32) -> Join {
    Join {
        shard,
        of,
        attempt_token: format!("token-{shard}"),
        build: Build {
            version: "0.1.0".to_owned(),
            program: "c10k-swarm".to_owned(),
            arch: "x86_64".to_owned(),
            hash: "0123456789abcdef".to_owned(),
        },
        plan: "plan-a".to_owned(),
        gates: 3,
        on_lost: OnLost::Fail,
        timeout_ms: 60_000,
        client: ShardProcess { host: format!("box{shard}"), pid: 100 + shard, ..ShardProcess::default() },
        limits: HostSnapshot::default(),
        offset_ns: Some(5),
        round_trip_ns: Some(9),
    }
}

/// A shard that has come, as its beats say it.
#[track_caller]
pub(super) fn come(port: &mut Port, join: &Join) -> Beat {
    let Joined { meeting, attempt, .. } = port.join(join).expect("it may come");
    Beat { shard: join.shard, attempt, meeting, ..Beat::default() }
}
