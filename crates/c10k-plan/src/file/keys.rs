//! The keys of a plan: what each sets, and the flag of the command line that stands above it.

use c10k_record::Plan;

use super::value::Given;
use crate::args::RunArgs;
use crate::ssh::Destination;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its table and its name in a resolved plan.
    pub path: &'static str,
    /// Another name, that of the flag.
    pub also: Option<&'static str>,
    /// The flag, and whether it was given.
    pub flag: (&'static str, fn(&RunArgs) -> bool),
    /// Sets it.
    pub set: fn(&mut Plan, Given<'_>) -> Result<(), String>,
}

impl Key {
    /// Its name without its table.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    fn table(&self) -> Option<&'static str> {
        self.path.split_once('.').map(|(table, _)| table)
    }

    /// The key of that name in a table; at the top, where a table need not be named, of any.
    pub fn find(table: Option<&str>, name: &str) -> Option<&'static Self> {
        let is_meant = |key: &&Self| key.name() == name || key.also == Some(name);
        let mut keys = KEYS.iter().filter(|key| table.is_none() || key.table() == table);
        let own = KEYS.iter().find(|key| key.table() == table && is_meant(key));
        own.or_else(|| keys.find(is_meant))
    }

    /// The names that may stand in a table, or at the top.
    pub fn names(table: Option<&str>) -> impl Iterator<Item = &'static str> {
        let of_table: Vec<&Self> =
            KEYS.iter().filter(|key| table.is_none() || key.table() == table).collect();
        of_table.into_iter().flat_map(|key| [Some(key.name()), key.also]).flatten()
    }
}

/// The tables that hold keys.
pub(crate) const TABLES: [&str; 3] = ["server", "load", "work"];

macro_rules! keys {
    ($($path:literal $(= $also:literal)? $flag:literal $given:expr, $set:expr;)*) => {
        /// All there are.
        pub(crate) const KEYS: &[Key] = &[$(Key {
            path: $path,
            also: keys!(@also $($also)?),
            flag: ($flag, $given),
            set: $set,
        }),*];
    };
    (@also) => { None };
    (@also $also:literal) => { Some($also) };
}

fn never(_: &RunArgs) -> bool {
    false
}

keys! {
    "profile" "--profile" |a| a.profile.is_some(), |p, v| set(&mut p.profile, v.text().map(str::to_owned));
    "topology" "--topology" |a| a.topology.is_some(), |p, v| set(&mut p.topology, v.read());
    "protocol" "--protocol" |a| a.protocol.is_some(), |p, v| set(&mut p.protocol, v.read());
    "workload" "--workload" |a| a.work.workload.is_some(), |p, v| set(&mut p.workload, v.read());
    "target" "--target" |a| a.load.target.is_some() || a.load.steps.is_some(), |p, v| set(&mut p.target, v.count());
    "server.listen" "" never, |p, v| set(&mut p.server.listen, v.all());
    "server.mode" "--mode" |a| a.mode.is_some(), |p, v| set(&mut p.server.mode, v.read());
    "server.workers" = "server_workers" "--server-workers" |a| a.server_workers.is_some(),
        |p, v| some(&mut p.server.workers, v.small());
    "server.max_connections" "--max-connections" |a| a.max_connections.is_some(),
        |p, v| some(&mut p.server.max_connections, v.count());
    "server.foreign" "--server-port" |a| a.server_pid.is_some() || a.server_port.is_some(),
        |p, v| set(&mut p.server.foreign, v.boolean());
    "server.control" = "control" "--control" |a| a.control.is_some(), |p, v| some(&mut p.server.control, v.read());
    "server.reached_at" "--server" |a| !a.server.is_empty(), |p, v| set(&mut p.server.reached_at, v.all());
    "server.ssh" "--ssh" |a| a.ssh.ssh.is_some(), |p, v| some(&mut p.server.ssh, destination(v));
    "load.ips" "--ips" |a| a.load.ips.is_some(), |p, v| some(&mut p.load.ips, v.text().map(str::to_owned));
    "load.ports" "--ports" |a| a.load.ports.is_some(), |p, v| some(&mut p.load.ports, v.text().map(str::to_owned));
    "load.rate_per_second" = "rate" "--rate" |a| a.load.rate.is_some(), |p, v| some(&mut p.load.rate_per_second, v.rate());
    "load.arrivals" "--arrivals" |a| a.load.arrivals.is_some(), |p, v| set(&mut p.load.arrivals, v.read());
    "load.seed" "--seed" |a| a.load.seed.is_some(), |p, v| some(&mut p.load.seed, v.count());
    "load.steps" "--steps" |a| a.load.steps.is_some(), |p, v| some(&mut p.load.steps, v.read());
    "load.step_pause" "--step-pause" |a| a.load.step_pause.is_some(), |p, v| set(&mut p.load.step_pause, v.span());
    "load.hold" = "duration" "--hold" |a| a.load.hold.is_some(), |p, v| set(&mut p.load.hold, v.span());
    "load.in_flight" "--in-flight" |a| a.load.in_flight.is_some(), |p, v| set(&mut p.load.in_flight, v.small());
    "load.connect_timeout" "--connect-timeout" |a| a.load.connect_timeout.is_some(),
        |p, v| set(&mut p.load.connect_timeout, v.span());
    "load.handshake_timeout" "--handshake-timeout" |a| a.load.handshake_timeout.is_some(),
        |p, v| set(&mut p.load.handshake_timeout, v.span());
    "load.probe_timeout" "--probe-timeout" |a| a.load.probe_timeout.is_some(),
        |p, v| set(&mut p.load.probe_timeout, v.span());
    "load.ping_every" "--ping-every" |a| a.load.ping_every.is_some(), |p, v| some(&mut p.load.ping_every, v.span());
    "load.probe_bytes" "--probe-bytes" |a| a.load.probe_bytes.is_some(), |p, v| set(&mut p.load.probe_bytes, v.small());
    "load.probe" "--no-probe" |a| a.load.no_probe, |p, v| set(&mut p.load.probe, v.boolean());
    "load.workers" "--workers" |a| a.load.workers.is_some(), |p, v| some(&mut p.load.workers, v.small());
    "load.close" "--close" |a| a.load.close.is_some(), |p, v| set(&mut p.load.close, v.read());
    "load.path" "--path" |a| a.path.is_some(), |p, v| some(&mut p.load.path, v.text().map(str::to_owned));
    "load.headers" "--header" |a| !a.headers.is_empty(), |p, v| set(&mut p.load.headers, v.texts());
    "load.subprotocols" "--subprotocol" |a| !a.subprotocols.is_empty(),
        |p, v| set(&mut p.load.subprotocols, v.texts());
    "work.beat" "--beat" |a| a.work.beat.is_some(), |p, v| some(&mut p.work.beat, v.span());
    "work.messages_per_second" = "messages" "--messages" |a| a.work.messages.is_some(),
        |p, v| some(&mut p.work.messages_per_second, v.rate());
    "work.message_rate_per_second" = "message_rate" "--message-rate"
        |a| a.work.message_rate.is_some(),
        |p, v| some(&mut p.work.message_rate_per_second, v.rate());
    "work.in_flight_messages" "--in-flight-messages" |a| a.work.in_flight_messages.is_some(), |p, v| some(&mut p.work.in_flight_messages, v.small());
    "work.payload" "--payload" |a| a.work.payload.is_some(), |p, v| some(&mut p.work.payload, v.sized());
    "work.churn_per_second" = "churn" "--churn" |a| a.work.churn.is_some(), |p, v| some(&mut p.work.churn_per_second, v.rate());
    "work.churn_close" "--churn-close" |a| a.work.churn_close.is_some(), |p, v| some(&mut p.work.churn_close, v.read());
    "work.bitrate" "--bitrate" |a| a.work.bitrate.is_some(), |p, v| some(&mut p.work.bitrate, v.sized());
    "work.fanout_every" "--fanout-every" |a| a.work.fanout_every.is_some(), |p, v| some(&mut p.work.fanout_every, v.span());
}

fn set<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    value.map(|value| *place = value)
}

/// A host as ssh knows it.
fn destination(value: Given<'_>) -> Result<String, String> {
    value.read::<Destination>().map(|destination| destination.to_string())
}

fn some<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    set(place, value.map(Some))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_either_name_in_its_table_and_at_the_top() {
        let path = |table, name| Key::find(table, name).map(|key| key.path);
        assert_eq!(path(Some("load"), "rate"), Some("load.rate_per_second"));
        assert_eq!(path(None, "rate"), Some("load.rate_per_second"));
        assert_eq!(path(None, "hold"), Some("load.hold"));
        assert_eq!(path(None, "payload"), Some("work.payload"));
        assert_eq!(path(Some("server"), "workers"), Some("server.workers"));
        assert_eq!(path(Some("server"), "hold"), None);
        assert_eq!(path(None, "target"), Some("target"));
    }

    #[test]
    fn no_name_means_two_keys_of_one_table() {
        for table in TABLES.map(Some).into_iter().chain([None]) {
            let keys: Vec<&Key> = KEYS.iter().filter(|key| key.table() == table).collect();
            for name in keys.iter().flat_map(|key| [Some(key.name()), key.also]).flatten() {
                let with: Vec<&str> = keys
                    .iter()
                    .filter(|key| key.name() == name || key.also == Some(name))
                    .map(|key| key.path)
                    .collect();
                assert_eq!(with.len(), 1, "{name}: {with:?}");
            }
        }
    }
}
