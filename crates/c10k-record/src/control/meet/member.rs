//! A shard that takes part in a meeting.

use std::time::Duration;

use super::{Beat, Join, SILENCE, ShardAccount};

/// A shard that has come.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) attempt: u32,
    pub(super) join: Join,
    /// When it was heard last.
    pub(super) heard: Duration,
    pub(super) last: Beat,
    pub(super) is_lost: bool,
    pub(super) result: Option<String>,
    /// Its result is not waited for any more.
    pub(super) is_given_up: bool,
    /// It was told that the meeting has ended.
    pub(super) knows_the_end: bool,
}

impl Member {
    /// Of one that has come at this time.
    pub(super) fn come(join: Join, attempt: u32, heard: Duration) -> Self {
        Self {
            attempt,
            join,
            heard,
            last: Beat::default(),
            is_lost: false,
            result: None,
            is_given_up: false,
            knows_the_end: false,
        }
    }

    pub(super) fn is_silent(&self, now: Duration) -> bool {
        self.heard + SILENCE <= now
    }

    /// What it did when it was heard last, in words.
    pub(super) fn doing(&self) -> String {
        self.last
            .phase
            .map_or_else(|| "before its first phase".to_owned(), |phase| format!("in phase {phase}"))
    }

    /// As it is written down.
    pub(super) fn account(&self, shard: u32) -> ShardAccount {
        ShardAccount {
            shard,
            attempt: self.attempt,
            client: self.join.client.clone(),
            offset_ns: self.join.offset_ns,
            round_trip_ns: self.join.round_trip_ns,
            begun_unix_ns: self.last.begun_unix_ns,
            has_result: self.result.is_some() && !self.is_lost,
        }
    }
}
