//! The figures of several processes as those of one server.

use crate::observation::{DescriptorsSeen, ProcessSeen};

/// Adds up what is seen of several; a figure that is not known of one of them is not known of all.
#[derive(Default)]
pub(super) struct Sum {
    all: Option<ProcessSeen>,
    time: Option<(Option<f64>, Option<f64>)>,
}

impl Sum {
    pub(super) fn add(&mut self, seen: &ProcessSeen) {
        let both = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
        self.all = Some(match self.all {
            None => *seen,
            Some(all) => ProcessSeen {
                rss_bytes: both(all.rss_bytes, seen.rss_bytes),
                rss_anon_bytes: both(all.rss_anon_bytes, seen.rss_anon_bytes),
                page_table_bytes: both(all.page_table_bytes, seen.page_table_bytes),
                threads: both(all.threads, seen.threads),
                // One that goes on is enough for a server that does.
                state: seen.state.filter(|_| all.is_stopped()).or(all.state),
                descriptors: together(all.descriptors, seen.descriptors),
                ..ProcessSeen::default()
            },
        });
    }

    pub(super) fn add_time(&mut self, seen: &ProcessSeen) {
        let both = |one: Option<f64>, other: Option<f64>| Some(one? + other?);
        self.time = Some(match self.time {
            None => (seen.cores, seen.cpu_seconds),
            Some((cores, seconds)) => (both(cores, seen.cores), both(seconds, seen.cpu_seconds)),
        });
    }

    pub(super) fn all(self, ended_seconds: f64) -> ProcessSeen {
        let (cores, seconds) = self.time.unwrap_or_default();
        ProcessSeen {
            cores,
            cpu_seconds: seconds.map(|seconds| seconds + ended_seconds),
            ..self.all.unwrap_or_default()
        }
    }
}

fn together(one: Option<DescriptorsSeen>, other: Option<DescriptorsSeen>) -> Option<DescriptorsSeen> {
    let (one, other) = (one?, other?);
    Some(DescriptorsSeen {
        open: one.open + other.open,
        tables: one.tables + other.tables,
        fullest: one.fullest.max(other.fullest),
        limit: one.limit.zip(other.limit).map(|(one, other)| one.min(other)),
        exact: one.exact && other.exact,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rss_bytes: Option<u64>, state: char, seconds: f64) -> ProcessSeen {
        let descriptors = DescriptorsSeen { open: 5, tables: 1, fullest: 5, limit: Some(9), exact: true };
        ProcessSeen {
            rss_bytes,
            threads: Some(2),
            state: Some(state),
            descriptors: Some(descriptors),
            cores: Some(seconds),
            cpu_seconds: Some(seconds),
            ..ProcessSeen::default()
        }
    }

    fn sum(of: &[ProcessSeen]) -> ProcessSeen {
        let mut sum = Sum::default();
        for seen in of {
            sum.add(seen);
            sum.add_time(seen);
        }
        sum.all(1.0)
    }

    #[test]
    fn figures_add_up_and_what_is_not_known_of_one_is_not_known_of_all() {
        let both = sum(&[one(Some(10), 'S', 0.5), one(Some(20), 'R', 0.25)]);
        assert_eq!((both.rss_bytes, both.threads), (Some(30), Some(4)));
        assert_eq!((both.cores, both.cpu_seconds), (Some(0.75), Some(1.75)), "who ended has spent some");
        let descriptors = both.descriptors.unwrap();
        assert_eq!((descriptors.open, descriptors.tables, descriptors.limit), (10, 2, Some(9)));
        assert_eq!(sum(&[one(Some(10), 'S', 0.0), one(None, 'S', 0.0)]).rss_bytes, None);
        assert_eq!(sum(&[]), ProcessSeen::default());
    }

    #[test]
    fn a_server_is_stopped_when_all_its_processes_are() {
        let state = |states: &[char]| {
            let each: Vec<ProcessSeen> = states.iter().map(|state| one(None, *state, 0.0)).collect();
            sum(&each).state
        };
        assert_eq!(
            (state(&['T', 'T']), state(&['T', 'S']), state(&['S', 'T'])),
            (Some('T'), Some('S'), Some('S'))
        );
    }
}
