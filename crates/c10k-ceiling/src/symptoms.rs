//! From what a program says to the walls that may be meant.

use crate::wall::Wall;
use crate::walls::walls;

/// One error as the kernel and as programs call it.
#[derive(Clone, Copy, Debug)]
pub struct Symptom {
    /// The outcome under which it is counted: an errno name, or a name of ours.
    pub outcome: &'static str,
    /// The words of strerror(3), and those that programs put in their place.
    pub words: &'static [&'static str],
}

/// Errors that people search for.
pub static SYMPTOMS: &[Symptom] = &[
    Symptom { outcome: "EMFILE", words: &["too many open files"] },
    Symptom { outcome: "ENFILE", words: &["too many open files in system"] },
    Symptom {
        outcome: "EADDRNOTAVAIL",
        words: &["cannot assign requested address", "can't assign requested address"],
    },
    Symptom { outcome: "EADDRINUSE", words: &["address already in use"] },
    Symptom { outcome: "ECONNRESET", words: &["connection reset by peer"] },
    Symptom { outcome: "ETIMEDOUT", words: &["connection timed out", "i/o timeout"] },
    Symptom { outcome: "connect-timeout", words: &["i/o timeout", "connection timed out"] },
    Symptom { outcome: "probe-timeout", words: &["i/o timeout"] },
    Symptom { outcome: "ECONNREFUSED", words: &["connection refused"] },
    Symptom { outcome: "ENETUNREACH", words: &["network is unreachable"] },
    Symptom { outcome: "EHOSTUNREACH", words: &["no route to host"] },
    Symptom { outcome: "EBUSY", words: &["device or resource busy"] },
    Symptom { outcome: "EAGAIN", words: &["resource temporarily unavailable"] },
    Symptom { outcome: "ENOBUFS", words: &["no buffer space available"] },
    Symptom { outcome: "ENOMEM", words: &["cannot allocate memory", "out of memory"] },
    Symptom { outcome: "ENOSPC", words: &["no space left on device"] },
    Symptom { outcome: "EPERM", words: &["operation not permitted"] },
    Symptom { outcome: "EPIPE", words: &["broken pipe"] },
];

/// The walls under whose outcomes `text` is counted: an errno name, a name of ours, or the words of a program,
/// such as `dial tcp 10.0.0.1:80: i/o timeout`. Upper and lower case are the same.
#[must_use]
pub fn walls_of_symptom(text: &str) -> Vec<&'static Wall> {
    let text = text.trim().to_lowercase();
    let mut outcomes: Vec<&str> = Vec::new();
    let mut longest = 0;
    for symptom in SYMPTOMS {
        if symptom.outcome.to_lowercase() == text {
            outcomes = vec![symptom.outcome];
            break;
        }
        for words in symptom.words {
            // The most exact words win: "too many open files in system" is not "too many open files".
            let found = text.contains(words) && words.len() >= longest;
            if found && words.len() > longest {
                longest = words.len();
                outcomes.clear();
            }
            if found {
                outcomes.push(symptom.outcome);
            }
        }
    }
    if outcomes.is_empty() && !text.is_empty() {
        return walls()
            .filter(|wall| wall.outcomes.iter().any(|outcome| outcome.to_lowercase() == text))
            .collect();
    }
    walls().filter(|wall| wall.outcomes.iter().any(|outcome| outcomes.contains(outcome))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        walls_of_symptom(text).iter().map(|wall| wall.name).collect()
    }

    #[test]
    fn every_error_that_people_search_for_leads_to_a_wall() {
        for symptom in SYMPTOMS {
            assert!(!names(symptom.outcome).is_empty(), "{}", symptom.outcome);
            for words in symptom.words {
                assert!(!names(words).is_empty(), "{words}");
            }
        }
    }

    #[test]
    fn the_words_of_a_program_lead_to_the_walls_that_show_themselves_so() {
        assert_eq!(names("socket: Too many open files"), ["nr-open", "nofile-server", "nofile-swarm"]);
        assert_eq!(names("accept4: too many open files in system"), ["file-max"]);
        assert_eq!(names("connect: network is unreachable"), ["no-route"]);
        assert!(
            names("dial tcp 192.168.1.10:9000: connect: cannot assign requested address")
                .starts_with(&["ports-exhausted"])
        );
        assert_eq!(names("lookup example.org: device or resource busy"), ["nofile-server", "nofile-swarm"]);
        let timeouts = names("dial tcp 10.0.0.1:80: i/o timeout");
        for wall in ["accept-queue", "syn-queue", "conntrack", "firewall-drop"] {
            assert!(timeouts.contains(&wall), "{timeouts:?}");
        }
        let resets = names("read: connection reset by peer");
        assert!(resets.contains(&"server-died") && resets.contains(&"orphans"), "{resets:?}");
        assert!(names("all is well").is_empty() && names("").is_empty());
    }
}
