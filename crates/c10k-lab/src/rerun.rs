//! A run that is put together as data and carried out by this executable again, in a process and a namespace of its
//! own; what a wall's remedy makes of it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use c10k_kernel::process::{Signal, bind_to_this_process, own_executable};
use c10k_plan::stage::{Stage, Who};
use c10k_profile::Profile;
use c10k_record::{Listening, Record, Remedy, Setting, write_whole};
use toml_edit::{Array, DocumentMut, Table, Value, value};

/// Between two looks at a run under way.
const NAP: Duration = Duration::from_millis(20);

/// A run as data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) target: u64,
    /// Of its profile; "planted" without one.
    pub(crate) name: Option<&'static str>,
    /// The shipped profile that its own one extends.
    pub(crate) extends: Option<String>,
    /// The profile that its own one takes in whole, since its file may not be there another time.
    pub(crate) takes_in: Option<Profile>,
    /// Flags of `c10k-lab run`, with their values.
    pub(crate) flags: BTreeMap<String, String>,
    pub(crate) verdicts: Vec<String>,
    /// Settings of the run's namespace, by their names.
    pub(crate) sysctls: BTreeMap<String, String>,
    /// The listener's backlog.
    pub(crate) backlog: Option<u32>,
    /// Each end's soft descriptor limit goes up to the hard one.
    pub(crate) nofile_hard: bool,
    pub(crate) stage: Stage,
    /// Where its figures are served, by one run after the other.
    pub(crate) metrics: Option<Arc<Listening>>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) enum Came {
    Record(Box<Record>),
    /// It did not begin, or did not come to its end: why, and its exit code.
    Nothing(String, Option<i32>),
}

impl Setup {
    /// Its profile as TOML; `justify` says a line about each setting of its own.
    pub(crate) fn profile(
        &self,
        name: &str,
        summary: &str,
        justify: impl Fn(&Setting) -> Option<String>,
    ) -> String {
        let mut profile = DocumentMut::new();
        profile["name"] = value(name);
        profile["summary"] = value(summary);
        if let Some(extends) = &self.extends {
            profile["extends"] = value(extends);
        }
        let mut set = |table: &str, key: &str, value: Value, why: Option<String>| {
            let table = profile.entry(table).or_insert_with(toml_edit::table);
            let Some(table) = table.as_table_mut() else { return };
            table.insert(key, toml_edit::value(value));
            if let (Some(why), Some(mut key)) = (why, table.key_mut(key)) {
                key.leaf_decor_mut().set_prefix(format!("# {why}\n"));
            }
        };
        if let Some(profile) = &self.takes_in {
            let why = format!("of the profile '{}' that it began with", profile.name);
            for (table, key, value) in profile.settings() {
                set(&table, &key, value.parse().unwrap_or_else(|_| value.into()), Some(why.clone()));
            }
        }
        for setting in self.settings() {
            let Some((table, key)) = setting.key.split_once('.') else { continue };
            set(table, key, toml_value(&setting.value), justify(&setting));
        }
        profile.iter_mut().filter_map(|(_, item)| item.as_table_mut()).for_each(Table::sort_values);
        profile.to_string()
    }

    /// What its profile has of its own.
    fn settings(&self) -> Vec<Setting> {
        let setting = |key: String, value: &str| Setting { key, value: value.to_owned() };
        let mut settings = Vec::new();
        settings.extend(self.nofile_hard.then(|| setting("limits.nofile".to_owned(), "hard")));
        settings.extend(self.backlog.map(|n| setting("socket.backlog".to_owned(), &n.to_string())));
        settings.extend(self.sysctls.iter().map(|(key, value)| setting(format!("sysctl.{key}"), value)));
        settings
    }

    /// Carries it out with its profile in `folder` and its record below it. `watch` is asked again and again
    /// whether the run should be ended early; a run that is ended so leaves its record.
    pub(crate) fn carry_out(&self, folder: &Path, watch: impl FnMut() -> bool) -> Came {
        let profile = folder.join("profile.toml");
        let text = self.profile(self.name.unwrap_or("planted"), "what this run is to meet", |_| None);
        if let Err(error) = write_whole(&profile, text.as_bytes()) {
            return Came::Nothing(format!("{}: {error}", profile.display()), None);
        }
        self.carry_out_with(&profile, folder, watch)
    }

    /// The same with a profile that stands already.
    pub(crate) fn carry_out_with(
        &self,
        profile: &Path,
        folder: &Path,
        mut watch: impl FnMut() -> bool,
    ) -> Came {
        let mut command = Command::new(own_executable());
        command.args(["run", "--json", "--profile"]).arg(profile);
        command.arg("--results").arg(folder).args(["--target", &self.target.to_string()]);
        for (flag, value) in &self.flags {
            command.arg(flag).arg(value);
        }
        for verdict in &self.verdicts {
            command.args(["--verdict", verdict]);
        }
        if self.stage != Stage::default() {
            command.arg("--stage").arg(serde_json::to_string(&self.stage).unwrap_or_default());
        }
        let stdin = match &self.metrics {
            Some(listening) => {
                command.arg("--metrics-on-stdin");
                match listening.handed_on() {
                    Ok(socket) => Stdio::from(socket),
                    Err(error) => return Came::Nothing(format!("its metrics: {error}"), Some(3)),
                }
            }
            None => Stdio::null(),
        };
        command.stdin(stdin);
        carry_out(command, &mut watch)
    }

    /// Applies what a remedy says that a run can be given, only those settings that `wanted` lets through; says
    /// which.
    pub(crate) fn take_settings(
        &mut self,
        wall: &str,
        remedy: &Remedy,
        wanted: impl Fn(&Setting) -> bool,
    ) -> Vec<Setting> {
        let mut applied = Vec::new();
        for setting in remedy.settings.iter().filter(|setting| wanted(setting)) {
            if self.set(wall, setting) {
                applied.push(setting.clone());
            }
        }
        applied
    }

    fn set(&mut self, wall: &str, setting: &Setting) -> bool {
        let Setting { key, value } = setting;
        if let Some(name) = key.strip_prefix("sysctl.") {
            self.sysctls.insert(name.to_owned(), value.clone());
            return true;
        }
        match (key.as_str(), wall) {
            ("socket.backlog", _) => value.parse().map(|backlog| self.backlog = Some(backlog)).is_ok(),
            ("limits.nofile", "nofile-server") => self.raise(Who::Server),
            ("limits.nofile", "nofile-swarm") => self.raise(Who::Swarm),
            ("--ips" | "--ports" | "--max-connections", _) => {
                self.flags.insert(key.clone(), value.clone());
                true
            }
            ("--rate", "bandwidth") => {
                self.flags.insert(key.clone(), value.clone());
                true
            }
            _ => false,
        }
    }

    /// Lets an end have what the hard limit allows; where it has that already, a descriptor table for each worker.
    fn raise(&mut self, who: Who) -> bool {
        self.raise_soft_limit(who) || {
            self.stage.end_mut(who).one_table = false;
            true
        }
    }

    /// Lets an end have what the hard limit allows; false where it has that already.
    pub(crate) fn raise_soft_limit(&mut self, who: Who) -> bool {
        let is_raised = self.stage.end_mut(who).nofile.take().is_some();
        self.nofile_hard |= is_raised;
        is_raised
    }
}

/// Runs a command that prints one record on stdout.
pub(crate) fn carry_out(mut command: Command, watch: &mut impl FnMut() -> bool) -> Came {
    bind_to_this_process(&mut command, Signal::Terminate);
    // Its own group: a Ctrl-C on the terminal is for the one who started it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return Came::Nothing(format!("the run cannot be started: {error}"), Some(3)),
    };
    let reading = read(child.stdout.take()).and_then(|out| Ok((out, read(child.stderr.take())?)));
    let (stdout, stderr) = match reading {
        Ok(reading) => reading,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Came::Nothing(format!("the run cannot be listened to: {error}"), Some(3));
        }
    };
    let mut told = false;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) => {}
            Err(_) => break None,
        }
        if !told && watch() {
            told = true;
            let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        }
        std::thread::sleep(NAP);
    };
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    match serde_json::from_str(&stdout) {
        Ok(record) => Came::Record(Box::new(record)),
        Err(_) => {
            let why = stderr.lines().rfind(|line| line.starts_with("error: "));
            let why = why.or(stderr.lines().last()).unwrap_or("it said nothing").to_owned();
            Came::Nothing(
                why.trim_start_matches("error: ").to_owned(),
                status.and_then(|status| status.code()),
            )
        }
    }
}

fn read(stream: Option<impl Read + Send + 'static>) -> io::Result<JoinHandle<String>> {
    std::thread::Builder::new().name("listen".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A number, a list of numbers, or a text.
pub(crate) fn toml_value(value: &str) -> Value {
    let numbers: Option<Vec<i64>> = value.split_whitespace().map(|word| word.parse().ok()).collect();
    match numbers.as_deref() {
        Some([one]) => (*one).into(),
        Some(all) if !all.is_empty() => all.iter().copied().collect::<Array>().into(),
        _ => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use c10k_profile::NofileLimit;
    use c10k_record::Scope;

    use super::*;
    use c10k_plan::stage::EndLimits;

    fn remedy(settings: &[(&str, &str)]) -> Remedy {
        let setting =
            |(key, value): &(&str, &str)| Setting { key: (*key).to_owned(), value: (*value).to_owned() };
        Remedy {
            summary: String::new(),
            settings: settings.iter().map(setting).collect(),
            commands: Vec::new(),
            scope: Scope::Namespace,
        }
    }

    #[test]
    fn what_a_remedy_sets_stands_in_a_profile_that_can_be_read() {
        let mut setup = Setup::default();
        let all = [
            ("sysctl.net.ipv4.ip_local_port_range", "1024 65535"),
            ("sysctl.net.ipv4.ip_local_reserved_ports", ""),
            ("socket.backlog", "16384"),
            ("--ips", "127.0.0.1-127.0.0.2"),
        ];
        assert_eq!(setup.take_settings("ports-exhausted", &remedy(&all), |_| true).len(), 4);
        let text = setup.profile("a", "b \"c\"", |setting| Some(format!("for {}", setting.key)));
        let profile = Profile::from_text(&text).expect("a profile");
        assert_eq!((profile.sysctl.len(), profile.socket.backlog), (2, Some(16_384)), "{text}");
        assert!(text.contains("# for socket.backlog\nbacklog"), "{text}");
        assert_eq!(setup.flags["--ips"], "127.0.0.1-127.0.0.2");
    }

    #[test]
    fn a_profile_that_is_taken_in_is_there_whole_with_what_is_its_own_above_it() {
        let start = "name = 's'\nsummary = 's'\n[sysctl]\n'net.core.somaxconn' = 9\n\
                     'net.ipv4.tcp_migrate_req' = { value = 1, optional = true }\n\
                     [socket]\nbacklog = 7\nkeepalive = { idle_secs = 1, interval_secs = 2, probes = 3 }";
        let start = Profile::from_text(start).expect("a profile");
        let mut setup = Setup { takes_in: Some(start.clone()), nofile_hard: true, ..Setup::default() };
        setup.sysctls.insert("net.core.somaxconn".to_owned(), "16".to_owned());
        let text = setup.profile("a", "b", |setting| Some(format!("for {}", setting.key)));
        let profile = Profile::from_text(&text).expect("a profile");
        assert_eq!(
            (profile.limits.nofile, profile.socket),
            (Some(NofileLimit::Hard), start.socket),
            "{text}"
        );
        assert_eq!(profile.sysctl["net.ipv4.tcp_migrate_req"], start.sysctl["net.ipv4.tcp_migrate_req"]);
        assert!(text.contains("# for sysctl.net.core.somaxconn\n\"net.core.somaxconn\" = 16\n"), "{text}");
        assert!(text.contains("# of the profile 's' that it began with\nbacklog = 7\n"), "{text}");
    }

    #[test]
    fn descriptors_are_lifted_to_the_hard_limit_first_and_by_tables_then() {
        let end = EndLimits { one_table: true, nofile: Some(300), ..EndLimits::default() };
        let mut setup = Setup::default();
        setup.stage.server = end;
        let lift = remedy(&[("limits.nofile", "5000")]);
        assert_eq!(setup.take_settings("nofile-server", &lift, |_| true).len(), 1);
        assert_eq!((setup.stage.server.nofile, setup.stage.server.one_table), (None, true));
        assert!(setup.nofile_hard, "its profile asks for it");
        assert_eq!(setup.take_settings("nofile-server", &lift, |_| true).len(), 1);
        assert!(!setup.stage.server.one_table);
    }
}
