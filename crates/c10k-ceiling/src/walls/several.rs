//! What a server of several processes takes: each has its own limit on open files.

use c10k_record::{HostSnapshot, human_count};

use crate::findings::ServerProcess;
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

/// What is to be said beside a full table of one of several processes; nothing where there is only one.
pub(super) fn who_is_full(process: &ServerProcess) -> String {
    let Some(processes) = process.processes.filter(|processes| *processes > 1) else { return String::new() };
    let all = human_count(processes);
    match process.full.len() as u64 {
        full if full >= processes => format!("; so are those of all {all} processes"),
        0 | 1 => format!("; of {all} processes it is the only one, and no other takes its connections"),
        full => {
            let pids: Vec<String> = process.full.iter().map(ToString::to_string).collect();
            let full = human_count(full);
            format!(
                "; of {all} processes {full} are full ({}), and no other takes their connections",
                pids.join(", ")
            )
        }
    }
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
    fn a_full_table_of_one_process_of_several_is_told_as_such() {
        let told = |full: &[u32], processes| {
            who_is_full(&ServerProcess { full: full.to_vec(), processes, ..ServerProcess::default() })
        };
        assert_eq!(told(&[], None), "");
        assert!(told(&[11], Some(8)).contains("the only one"));
        assert!(told(&[11, 12], Some(8)).contains("of 8 processes 2 are full (11, 12)"));
        assert!(told(&[11, 12], Some(2)).contains("all 2 processes"));
    }

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
