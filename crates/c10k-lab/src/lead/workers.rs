//! Processes of a server that end in mid-run, while the server goes on.

use c10k_collector::EndedProcess;
use c10k_record::{Warning, human_count};

use crate::lead::lab::Lab;

/// Of more than so many only the number is told: a server may have a process for each connection.
const MOST_TOLD: usize = 3;

impl Lab<'_> {
    /// Says of each process that ended since the last look which one it was, and when. Of a server that ended with its
    /// last one that is said elsewhere.
    pub(crate) fn note_ended_workers(&mut self) {
        let known = self.broke.workers_ended;
        let ended = self.seen.watch.ended_beyond(known).to_vec();
        if ended.is_empty() || self.pair.server.is_ours() || self.broke.server.is_some() {
            return;
        }
        self.broke.workers_ended += ended.len();
        for process in ended.iter().take(MOST_TOLD.saturating_sub(known)) {
            let text = in_words(process, &self.said.swarm.phase_in_words());
            self.printer.say(&format!("warning: {text}"));
            self.record.warnings.push(Warning::new("server-process-ended", text));
        }
    }

    /// Says how many ended that were not told one by one.
    pub(crate) fn count_ended_workers(&mut self) {
        let more = self.broke.workers_ended.saturating_sub(MOST_TOLD) as u64;
        if more > 0 {
            let text = format!("{} more processes of the server ended in the run", human_count(more));
            self.record.warnings.push(Warning::new("server-process-ended", text));
        }
    }
}

fn in_words(process: &EndedProcess, phase: &str) -> String {
    let EndedProcess { pid, name, at_seconds, connections } = process;
    let name = name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
    let held = connections.map_or(String::new(), |count| {
        format!("; it had {} connections when it was last looked at", human_count(count))
    });
    format!("process {pid}{name} of the server ended {at_seconds:.1} s into the run, in {phase}{held}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_which_process_ended_and_when() {
        let process = EndedProcess {
            pid: 7,
            name: Some("nginx".to_owned()),
            at_seconds: 3.25,
            connections: Some(1_200),
        };
        assert_eq!(
            in_words(&process, "the hold"),
            "process 7 (nginx) of the server ended 3.2 s into the run, in the hold; it had 1,200 connections when it was \
             last looked at"
        );
        let unknown = EndedProcess { name: None, connections: None, ..process };
        assert_eq!(
            in_words(&unknown, "the ramp"),
            "process 7 of the server ended 3.2 s into the run, in the ramp"
        );
    }
}
