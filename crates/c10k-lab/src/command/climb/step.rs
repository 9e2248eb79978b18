//! One step of a climb: how far it came, the wall that it met, and what lifts that.

use std::path::PathBuf;

use c10k_ceiling::{Lift, Lifted, UNKNOWN, Useless};
use c10k_kernel::limits;
use c10k_plan::stage::{NOBODY, Who};
use c10k_record::{Evidence, Hanging, Predicted, Record, Remedy, Scope, Setting, human_count};
use serde::Serialize;

use super::next::Next;
use crate::rerun::Setup;

/// Where the text of a row begins, columns.
const COLUMN: usize = 29;
/// Above the rows.
pub(super) const HEADING: &str = "step        held  predicted  wall, and what lifts it";

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    pub(super) number: usize,
    /// Connections that it tried to make.
    pub(super) attempted: u64,
    pub(super) held: u64,
    /// Connections open when the step was stopped before its end; null for one that came to it.
    pub(super) open: Option<u64>,
    /// The first wall that bit; null when none is proven, or none bit.
    pub(super) wall: Option<String>,
    /// All that bit, in their order.
    pub(super) walls: Vec<String>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) predicted: Option<Predicted>,
    /// Connections held beyond what was predicted for the wall that was met; null where others were met.
    pub(super) off_by: Option<i64>,
    pub(super) lifted_with: Option<Lifted>,
    /// What would lift the wall, whether or not the lab may.
    pub(super) next: Option<Next>,
    /// Where its record is.
    pub(super) folder: PathBuf,
}

/// An end whose workers have a descriptor table each.
pub(super) const TABLES: &str = "tables";
/// The user whom the swarm's watches are counted for, who is not the server's.
pub(super) const APART: &str = "watches-apart";

/// How a setting that a profile cannot carry is given to who repeats the climb; `None` where a profile carries it, or
/// where the climb has it no longer.
pub(super) fn beside_a_profile(setting: &Setting, setup: &Setup) -> Option<String> {
    let Setting { key, value } = setting;
    match key.as_str() {
        TABLES => {
            let ends = [Who::Server, Who::Swarm].into_iter().filter(|who| who.command() == value);
            let has = ends.into_iter().any(|who| !setup.stage.end(who).one_table);
            has.then(|| format!("a descriptor table for each worker of c10k-{value}: no --one-table"))
        }
        APART => setup.stage.watches_apart.then(|| {
            "the swarm's watches counted for another user, as `runuser -u nobody -- c10k-swarm` has them"
                .to_owned()
        }),
        _ => (setup.flags.get(key) == Some(value)).then(|| format!("{key} {value}")),
    }
}

impl Step {
    pub(super) fn of(number: usize, record: &Record, folder: PathBuf) -> Self {
        let ceiling = record.ceiling.as_ref();
        let walls: Vec<String> =
            ceiling.iter().flat_map(|ceiling| &ceiling.walls).map(|wall| wall.name.clone()).collect();
        let predicted = ceiling.and_then(|ceiling| ceiling.predicted.clone());
        let held = record.connections.held;
        Self {
            number,
            attempted: record.connections.attempted,
            held,
            open: record.connections.open,
            wall: walls.first().cloned(),
            walls,
            evidence: ceiling.map(|ceiling| ceiling.evidence.clone()).unwrap_or_default(),
            predicted,
            off_by: ceiling.and_then(|ceiling| ceiling.off_by),
            lifted_with: None,
            next: None,
            folder,
        }
    }

    /// A line for people.
    pub(super) fn row(&self, width: usize) -> String {
        let predicted =
            self.predicted.as_ref().map_or_else(|| "-".to_owned(), |first| human_count(first.connections));
        let words = match (&self.wall, &self.lifted_with) {
            (None, _) if self.open.is_some() => {
                format!("stopped with {} open", human_count(self.open.unwrap_or(0)))
            }
            (Some(wall), Some(lifted)) => format!("{wall} → {}", lifted.how),
            (Some(wall), None) => wall.clone(),
            (None, _) if self.evidence.is_empty() => "none".to_owned(),
            (None, _) => UNKNOWN.to_owned(),
        };
        let hanging = Hanging { column: COLUMN, width };
        let before = format!("{:>4}  {:>10}  {predicted:>9}  ", self.number, human_count(self.held));
        let mut lines = hanging.lines(&before, &words);
        if let Some(evidence) = self.evidence.first() {
            lines.extend(hanging.lines("", &format!("{}: {}", evidence.source, evidence.text)));
        }
        lines.join("\n")
    }

    /// Why a profile has what this step's wall was lifted with.
    pub(super) fn justify(&self) -> String {
        let wall = self.wall.as_deref().unwrap_or("no wall");
        format!("step {}: {wall} at {} connections", self.number, human_count(self.held))
    }
}

impl Lift for Setup {
    /// Settings of a profile; flags of `c10k-lab run`; [`TABLES`] and [`APART`], which are neither.
    fn lift(&mut self, wall: &str, remedy: &Remedy, useless: &Useless<'_>) -> Option<Lifted> {
        let own = match wall {
            "nofile-server" => return descriptors(Who::Server, self, useless),
            "nofile-swarm" => return descriptors(Who::Swarm, self, useless),
            // The highest limit that the kernel lets any table have is passed by more tables, which takes no privilege and
            // changes nothing of the host.
            "nr-open" => tables(&[Who::Server, Who::Swarm], self, useless),
            "epoll-watches" => watches_apart(self, useless),
            _ => None,
        };
        if own.is_some() {
            return own;
        }
        if remedy.scope == Scope::Host && limits::euid() != 0 {
            return None;
        }
        let may_raise = |key: &str| {
            remedy.scope != Scope::Host
                || key.strip_prefix("sysctl.").is_some_and(|key| HOST_WIDE.contains(&key))
        };
        let wanted =
            |setting: &Setting| !useless.has(&setting.key, &setting.value) && may_raise(&setting.key);
        let has = |key: &str| remedy.settings.iter().any(|setting| setting.key == key && wanted(setting));
        let widest = self.sysctls.contains_key(RANGE);
        let settings = match wall {
            // One thing at a time: the range as long as it can be widened, addresses after that.
            "ports-exhausted" if has(&format!("sysctl.{RANGE}")) && !widest => {
                self.take_settings(wall, remedy, |setting| {
                    wanted(setting) && setting.key.starts_with("sysctl.")
                })
            }
            "ports-exhausted" => {
                self.take_settings(wall, remedy, |setting| wanted(setting) && setting.key == "--ips")
            }
            _ => self.take_settings(wall, remedy, wanted),
        };
        if settings.is_empty() {
            return None;
        }
        let how: Vec<String> = settings
            .iter()
            .map(|setting| format!("{} = {}", setting.key.trim_start_matches("sysctl."), setting.value))
            .collect();
        Some(Lifted { settings, how: how.join(", ") })
    }
}

/// What a climb raises for the whole host by itself, and puts back: bounds that cost nothing until they are reached.
/// Any other setting of the host is a person's to decide: the climb ends there and says the command.
const HOST_WIDE: [&str; 5] = [
    "fs.nr_open",
    "fs.file-max",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_max_orphans",
    "net.core.netdev_max_backlog",
];
const RANGE: &str = "net.ipv4.ip_local_port_range";
const NOFILE: &str = "limits.nofile";
const HARD: &str = "hard";

/// The soft limit of an end goes up to the hard one; where it stands there, each worker has a table of its own.
fn descriptors(who: Who, setup: &mut Setup, useless: &Useless<'_>) -> Option<Lifted> {
    if !useless.has(NOFILE, HARD) && setup.raise_soft_limit(who) {
        return Some(Lifted::by(NOFILE, HARD, "the soft limit up to the hard one"));
    }
    tables(&[who], setup, useless)
}

/// A table for each worker of those of these ends that have one for all.
fn tables(ends: &[Who], setup: &mut Setup, useless: &Useless<'_>) -> Option<Lifted> {
    let mut lifted: Option<Lifted> = None;
    for who in ends {
        if !useless.has(TABLES, who.command()) && std::mem::take(&mut setup.stage.end_mut(*who).one_table) {
            let more = Lifted::by(TABLES, who.command(), "a descriptor table for each worker");
            match &mut lifted {
                Some(lifted) => lifted.settings.extend(more.settings),
                None => lifted = Some(more),
            }
        }
    }
    lifted
}

/// Root has each end counted for a user of its own, who has the whole limit: nothing of the host is changed.
fn watches_apart(setup: &mut Setup, useless: &Useless<'_>) -> Option<Lifted> {
    if limits::euid() != 0 || useless.has(APART, &NOBODY.to_string()) || setup.stage.watches_apart {
        return None;
    }
    setup.stage.watches_apart = true;
    Some(Lifted::by(APART, &NOBODY.to_string(), "the swarm's watches counted for another user"))
}

#[cfg(test)]
mod tests {
    use c10k_ceiling::Lifts;

    use super::*;

    const PORTS: [(&str, &str); 2] =
        [("--ips", "127.0.0.1-127.0.0.4"), ("sysctl.net.ipv4.ip_local_port_range", "1024 65535")];

    fn remedy(scope: Scope, keys: &[(&str, &str)]) -> Remedy {
        let setting =
            |(key, value): &(&str, &str)| Setting { key: (*key).to_owned(), value: (*value).to_owned() };
        let settings = keys.iter().map(setting).collect();
        Remedy { summary: String::new(), settings, commands: Vec::new(), scope }
    }

    #[test]
    fn ports_are_lifted_by_the_range_first_and_by_addresses_then() {
        let mut setup = Setup::default();
        let mut lifts = Lifts::default();
        let remedy = remedy(Scope::Namespace, &PORTS);
        let first = lifts.lift("ports-exhausted", 100, &remedy, &mut setup).expect("a wider range");
        assert_eq!(first.how, "net.ipv4.ip_local_port_range = 1024 65535");
        assert!(setup.flags.is_empty());
        let second = lifts.lift("ports-exhausted", 200, &remedy, &mut setup).expect("more addresses");
        assert_eq!(second.how, "--ips = 127.0.0.1-127.0.0.4");
        assert!(setup.sysctls.contains_key(RANGE) && !lifts.were_tried("ports-exhausted"));
    }

    #[test]
    fn what_did_not_lift_is_not_kept_and_each_way_is_tried_once() {
        let mut setup = Setup::default();
        let mut lifts = Lifts::default();
        let remedy = remedy(Scope::Namespace, &PORTS);
        lifts.lift("ports-exhausted", 100, &remedy, &mut setup).expect("a wider range");
        let second = lifts.lift("ports-exhausted", 100, &remedy, &mut setup).expect("more addresses");
        assert_eq!(second.how, "--ips = 127.0.0.1-127.0.0.4");
        assert!(setup.sysctls.is_empty(), "the range did nothing");
        assert!(lifts.lift("ports-exhausted", 100, &remedy, &mut setup).is_none());
        assert!(setup.flags.is_empty() && lifts.were_tried("ports-exhausted"));
    }

    #[test]
    fn a_lift_that_the_place_does_not_take_is_taken_back_for_another() {
        let mut setup = Setup::default();
        let mut lifts = Lifts::default();
        assert!(lifts.take_back(&mut setup).is_none() && lifts.another(&mut setup).is_none());
        let remedy = remedy(Scope::Namespace, &PORTS);
        lifts.lift("ports-exhausted", 100, &remedy, &mut setup).expect("a wider range");
        assert_eq!(lifts.take_back(&mut setup).as_deref(), Some("ports-exhausted"));
        assert!(setup.sysctls.is_empty());
        assert_eq!(lifts.another(&mut setup).expect("addresses").how, "--ips = 127.0.0.1-127.0.0.4");
        assert!(lifts.take_back(&mut setup).is_some() && lifts.another(&mut setup).is_none());
    }

    #[test]
    fn a_wall_that_comes_back_after_others_is_not_lifted_again_in_the_same_way() {
        let mut setup = Setup::default();
        let mut lifts = Lifts::default();
        let backlog = remedy(Scope::Process, &[("socket.backlog", "4096")]);
        let ports = remedy(Scope::Namespace, &PORTS);
        assert!(lifts.lift("accept-queue", 50, &backlog, &mut setup).is_some());
        assert!(lifts.lift("ports-exhausted", 50, &ports, &mut setup).is_some());
        assert!(lifts.lift("accept-queue", 50, &backlog, &mut setup).is_none());
        assert_eq!(setup.backlog, Some(4096));
    }

    #[test]
    fn the_highest_limit_of_one_table_is_lifted_by_more_tables_and_by_nothing_of_the_host() {
        let mut setup = Setup::default();
        setup.stage.server.one_table = true;
        setup.stage.swarm.one_table = true;
        let mut lifts = Lifts::default();
        let remedy = remedy(Scope::Host, &[("sysctl.fs.nr_open", "2000000")]);
        let lifted = lifts.lift("nr-open", 1_048_570, &remedy, &mut setup).expect("tables");
        assert_eq!((lifted.how.as_str(), lifted.settings.len()), ("a descriptor table for each worker", 2));
        assert!(!setup.stage.server.one_table && !setup.stage.swarm.one_table && setup.sysctls.is_empty());
    }

    #[test]
    fn of_the_host_only_what_is_named_is_raised_and_by_root_alone() {
        let lifted = |wall: &str, key: &str| {
            let remedy = remedy(Scope::Host, &[(&format!("sysctl.{key}"), "9000000")]);
            Lifts::default().lift(wall, 1, &remedy, &mut Setup::default()).map(|lifted| lifted.how)
        };
        assert_eq!(lifted("neighbour-table", "net.ipv4.neigh.default.gc_thresh3"), None);
        let by_root = (limits::euid() == 0).then(|| "fs.file-max = 9000000".to_owned());
        assert_eq!(lifted("file-max", "fs.file-max"), by_root);
    }

    #[test]
    fn the_watches_are_lifted_by_another_user_for_the_swarm_once_and_by_nothing_of_the_host() {
        let remedy = remedy(Scope::Host, &[("sysctl.fs.epoll.max_user_watches", "9000000")]);
        let (mut setup, mut lifts) = (Setup::default(), Lifts::default());
        let lifted = lifts.lift("epoll-watches", 100, &remedy, &mut setup);
        if limits::euid() != 0 {
            assert!(lifted.is_none() && !setup.stage.watches_apart, "it takes root");
            return;
        }
        let lifted = lifted.expect("another user");
        assert_eq!(lifted.how, "the swarm's watches counted for another user");
        assert!(setup.stage.watches_apart && setup.sysctls.is_empty());
        let words = beside_a_profile(&lifted.settings[0], &setup).expect("no profile carries it");
        assert!(words.contains("runuser -u nobody -- c10k-swarm"), "{words}");
        assert!(lifts.lift("epoll-watches", 200, &remedy, &mut setup).is_none(), "there is no third end");
        assert!(lifts.lift("epoll-watches", 100, &remedy, &mut setup).is_none());
        assert!(!setup.stage.watches_apart && lifts.were_tried("epoll-watches"), "it did nothing");
    }

    #[test]
    fn descriptors_are_lifted_by_the_hard_limit_and_then_by_tables_which_no_profile_carries() {
        let remedy = remedy(Scope::Process, &[("limits.nofile", "9000")]);
        let (mut setup, mut lifts) = (Setup::default(), Lifts::default());
        (setup.stage.server.one_table, setup.stage.server.nofile) = (true, Some(100));
        let first = lifts.lift("nofile-server", 90, &remedy, &mut setup).expect("the hard limit");
        assert_eq!((first.settings[0].key.as_str(), first.settings[0].value.as_str()), (NOFILE, "hard"));
        assert!(setup.nofile_hard && setup.stage.server.one_table);
        assert_eq!(beside_a_profile(&first.settings[0], &setup), None);
        let second = lifts.lift("nofile-server", 390, &remedy, &mut setup).expect("tables");
        let words = beside_a_profile(&second.settings[0], &setup).expect("no profile carries them");
        assert!(words.contains("c10k-server") && !setup.stage.server.one_table, "{words}");
        assert!(lifts.lift("nofile-server", 390, &remedy, &mut setup).is_none());
        assert_eq!(beside_a_profile(&second.settings[0], &setup), None, "they did nothing");
    }

    #[test]
    fn what_no_setting_lifts_is_not_lifted() {
        let none = remedy(Scope::Process, &[]);
        let mut lifts = Lifts::default();
        assert!(lifts.lift("server-died", 1, &none, &mut Setup::default()).is_none());
        assert!(!lifts.were_tried("server-died"));
    }
}
