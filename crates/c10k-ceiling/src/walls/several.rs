//! What a server of several processes takes: each has its own limit on open files.

use c10k_record::{HostSnapshot, human_count};

use crate::wall::Forecast;

/// What is free in all of them together. No more fits in, and less where they are given their shares by chance, as
/// SO_REUSEPORT does: some of them are full while others have room.
pub(super) fn forecast(host: &HostSnapshot) -> Option<Forecast> {
    let processes = host.server_processes.filter(|processes| *processes > 1)?;
    let (room, nofile) = (host.server_room?, host.server_nofile?);
    let now = format!(
        "RLIMIT_NOFILE = {} of {} processes of the server: at the most, if they share evenly",
        human_count(nofile),
        human_count(processes)
    );
    Some(Forecast::about(room, now, spread_percent(room, processes)))
}

/// How far the fullest of so many is above the mean where each connection goes to any of them alike: two and a half
/// standard deviations, percent.
fn spread_percent(room: u64, processes: u64) -> u8 {
    let relative = ((processes - 1) as f64 / room.max(1) as f64).sqrt() * 2.5;
    (relative * 100.0).ceil().clamp(1.0, 50.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_processes_take_what_is_free_in_all_of_them_at_the_most() {
        let host = HostSnapshot {
            server_processes: Some(8),
            server_room: Some(1040),
            server_nofile: Some(136),
            ..HostSnapshot::default()
        };
        let found = forecast(&host).unwrap();
        assert_eq!((found.connections, found.uncertainty_percent), (1040, 21));
        assert!(found.now.contains("136 of 8 processes"), "{}", found.now);
        assert!(forecast(&HostSnapshot { server_processes: Some(1), ..host.clone() }).is_none());
        assert!(forecast(&HostSnapshot { server_room: None, ..host }).is_none());
    }
}
