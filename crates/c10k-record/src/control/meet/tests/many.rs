//! As many shards as may meet.

use super::*;

#[test]
fn as_many_shards_as_may_meet_begin_together() {
    let mut port = Port::new();
    let beats: Vec<Beat> =
        (1..=MOST_SHARDS).map(|number| come(&mut port, &shard(number, MOST_SHARDS))).collect();
    for beat in &beats[1..] {
        assert!(matches!(port.beat(beat), MeetState::Waiting { .. }));
    }
    for beat in &beats {
        assert!(matches!(port.beat(beat), MeetState::Start { .. }));
    }
}

#[test]
fn those_who_are_missing_are_told_in_the_order_of_their_numbers() {
    let mut port = Port::new();
    for number in [4, 2, 7] {
        come(&mut port, &shard(number, 8));
    }
    let beat = come(&mut port, &shard(8, 8));
    let MeetState::Waiting { missing, .. } = port.beat(&beat) else { panic!("it goes on") };
    assert_eq!(missing, [1, 3, 5, 6]);
}
