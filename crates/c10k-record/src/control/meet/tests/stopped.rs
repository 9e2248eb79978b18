//! A port that is stopped while shards meet there.

use super::*;

const WHY: &str = "the host of this meeting was stopped: serve was ended by SIGTERM";

impl Port {
    fn give_up(&mut self, is_last: bool) -> bool {
        let at = self.at();
        let is_over = self.meetings.give_up(WHY, is_last, at);
        self.events.extend(self.meetings.tick(at));
        is_over
    }

    #[track_caller]
    fn expect_why(&mut self, beat: &Beat) {
        let MeetState::Failed { why, shards } = self.beat(beat) else { panic!("it goes on") };
        assert_eq!((why.as_str(), shards.len()), (WHY, 0));
    }
}

#[test]
fn all_who_gather_hear_why_and_nobody_comes_any_more() {
    let mut port = Port::new();
    assert!(port.give_up(false), "there is nobody to tell");
    let mut port = Port::new();
    let beats = [1, 2].map(|number| come(&mut port, &shard(number, 3)));
    for beat in &beats {
        assert!(!port.give_up(false), "one has yet to hear it");
        port.expect_why(beat);
    }
    assert!(port.give_up(false), "all have heard it");
    assert_eq!(port.join(&shard(3, 3)), Err((503, WHY.to_owned())));
    let told = port.events.iter().filter(|event| matches!(event, MeetEvent::Failed { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn one_that_is_gone_is_not_waited_for() {
    let mut port = Port::new();
    let beats = [1, 2].map(|number| come(&mut port, &shard(number, 3)));
    port.give_up(false);
    port.expect_why(&beats[0]);
    port.pass(3000);
    assert!(port.give_up(false), "nothing was heard of the other for 3 s");
}

#[test]
fn those_who_have_begun_bring_their_results_first() {
    let mut port = Port::new();
    let beats = going(&mut port, OnLost::Degrade);
    for beat in &beats {
        assert!(!port.give_up(false));
        port.expect_why(beat);
        port.result(beat, 3).expect("kept");
    }
    assert!(port.give_up(false));
    let account = port.account().expect("it has ended");
    assert_eq!((account.failed.as_deref(), account.results.len()), (Some(WHY), 3));
}

#[test]
fn at_the_last_moment_what_has_come_is_written_down() {
    let mut port = Port::new();
    let beats = going(&mut port, OnLost::Degrade);
    assert!(!port.give_up(false));
    port.result(&beats[0], 3).expect("kept");
    assert!(port.account().is_none());
    assert!(port.give_up(true));
    let account = port.account().expect("it has ended");
    assert_eq!((account.failed.as_deref(), account.results.len()), (Some(WHY), 1));
    let late = port.result(&beats[1], 3).expect_err("too late");
    assert!(late.contains("came too late"), "{late}");
}
