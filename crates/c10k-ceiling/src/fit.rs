//! Whether a target fits onto this machine at all, before anything is connected.

use c10k_record::short_count;

use crate::predict::Prediction;

/// The walls that the machine has, and no run passes by growing differently: what else is foreseen may be what a run is
/// made to meet.
const OF_THE_MACHINE: [&str; 4] = ["epoll-watches", "file-max", "ram", "cgroup-memory"];
/// How far beyond what is reckoned a target must be to be refused, percent: what is reckoned is not that exact.
const DOUBT_PERCENT: u64 = 10;

/// A target beyond a wall of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// How many were asked for.
    pub target: u64,
    /// The wall and its number.
    pub wall: Prediction,
    /// Whether that is certain; else the number may be off by so much.
    pub is_certain: bool,
}

/// The first wall of the machine, or of one of two, below the target, of those that are foreseen; `None` where the target
/// fits, or no limit could be read.
#[must_use]
pub fn too_many(predictions: &[Prediction], target: u64) -> Option<TooMany> {
    let below =
        |wall: &&Prediction| OF_THE_MACHINE.contains(&wall.wall.as_str()) && wall.connections < target;
    let walls: Vec<&Prediction> = predictions.iter().filter(below).collect();
    let is_certain = |wall: &Prediction| {
        let doubt = match u64::from(wall.uncertainty_percent) {
            0 => 0,
            percent => percent + DOUBT_PERCENT,
        };
        target > wall.connections.saturating_add(wall.connections / 100 * doubt)
    };
    let certain = walls.iter().find(|wall| is_certain(wall));
    let first: &Prediction = certain.or(walls.first())?;
    Some(TooMany { target, is_certain: is_certain(first), wall: first.clone() })
}

impl TooMany {
    /// One line that says it.
    #[must_use]
    pub fn message(&self) -> String {
        let (target, fits) = (short_count(self.target), short_count(self.wall.connections));
        let may = if self.is_certain { "does" } else { "may" };
        format!("{target} {may} not fit: about {fits} ({})", self.wall.wall)
    }

    /// What to do instead.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("--target {}, or --force to meet the wall", short_count(self.wall.connections))
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::HostSnapshot;

    use super::*;
    use crate::plan_view::PlanView;
    use crate::predict::predict;

    fn asked(target: u64, host: &HostSnapshot) -> Option<TooMany> {
        let plan = PlanView { target, both_ends_here: true, own_server: true, ..PlanView::default() };
        too_many(&predict(host, &plan), target)
    }

    #[test]
    fn a_target_beyond_an_exact_wall_of_the_machine_is_too_many_and_is_told_in_a_line() {
        let host = HostSnapshot { epoll_watches: Some(5_491_510), ..HostSnapshot::default() };
        assert_eq!(asked(2_745_755, &host), None);
        for target in [2_745_756, 5_000_000, 1_000_000_000] {
            assert!(asked(target, &host).expect("beyond").is_certain, "{target}");
        }
        let found = asked(5_000_000, &host).expect("beyond");
        assert_eq!(found.message(), "5M does not fit: about 2.7M (epoll-watches)");
        assert_eq!(found.hint(), "--target 2.7M, or --force to meet the wall");
    }

    #[test]
    fn a_wall_that_is_reckoned_refuses_only_what_is_far_beyond_it() {
        let host = HostSnapshot { memory_available_bytes: Some(8 << 30), ..HostSnapshot::default() };
        let fits = asked(u64::MAX, &host).expect("beyond").wall.connections;
        assert_eq!(asked(fits, &host), None);
        assert!(!asked(fits + fits / 20, &host).expect("near").is_certain);
        assert!(asked(2 * fits, &host).expect("far").is_certain);
    }

    #[test]
    fn what_a_run_may_be_made_to_meet_is_none_of_the_machines_walls() {
        let host = HostSnapshot {
            server_nofile: Some(1024),
            swarm_nofile: Some(1024),
            port_range: Some((32_768, 32_867)),
            ..HostSnapshot::default()
        };
        let plan = PlanView {
            target: 100_000,
            sources: 1,
            server_max_connections: Some(50),
            both_ends_here: true,
            ..PlanView::default()
        };
        assert!(!predict(&host, &plan).is_empty());
        assert_eq!(too_many(&predict(&host, &plan), plan.target), None);
    }
}
