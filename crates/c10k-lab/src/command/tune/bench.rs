//! The steps of a tuning, in its folder: single runs and sweeps. Each is made once: one that is there already is read.

use std::path::{Path, PathBuf};

use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{Record, RunState, read_record, write_whole};
use c10k_report::stats::FEWEST_PAIRS;
use toml_edit::Value;

use super::asked::Asked;
use super::lift::Lift;
use crate::command::runs::runs_in;
use crate::command::sweep::made::{self, Made};
use crate::signals::Signals;

/// The plan that all steps have, beside their files.
const BASE: &str = "base.toml";
/// From so many connections on the kernel's memory of one is the same in each run of an idle machine.
const ENOUGH_FOR_MEMORY: u64 = 10_000;

/// Where the steps are made.
pub(super) struct Bench<'a> {
    pub(super) asked: &'a Asked,
    pub(super) folder: &'a Path,
    /// What the order of the runs is drawn from.
    pub(super) seed: u64,
    pub(super) signals: &'a Signals,
}

/// Settings that are tried together.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) lifts: Vec<Lift>,
}

impl Case {
    pub(super) fn of(lift: &Lift) -> Self {
        Self { name: lift.name(), lifts: vec![lift.clone()] }
    }
}

/// What a sweep compares.
pub(super) struct Question<'a> {
    /// Fit for a file's name.
    pub(super) name: &'a str,
    pub(super) title: String,
    /// What all its sides have.
    pub(super) kept: &'a [Lift],
    pub(super) cases: &'a [Case],
    pub(super) metrics: &'a [String],
    pub(super) pairs: u32,
}

impl Bench<'_> {
    /// Writes the plan that all steps have.
    pub(super) fn lay_out(&self) -> Result<(), Refusal> {
        let text = self.asked.plan.to_toml().map_err(|error| Refusal::text(error.to_string(), ""))?;
        self.write(BASE, &text).map(drop)
    }

    /// One run with what is kept.
    pub(super) fn run(&self, name: &str, kept: &[Lift]) -> Result<Box<Record>, Refusal> {
        let place = self.folder.join(name);
        let is_whole = |record: &Record| record.state == RunState::Complete;
        let made = runs_in(&place).unwrap_or_default();
        if let Some(record) = made.iter().filter_map(|found| read_record(&found.path).ok()).find(is_whole) {
            return Ok(Box::new(record));
        }
        // A sweep's file wants a side: the one that must not matter.
        let control = [Case::of(&Lift::control())];
        let metrics = ["held".to_owned()];
        let title = "One run".to_owned();
        let question = Question { name, title, kept, cases: &control, metrics: &metrics, pairs: 1 };
        let file = self.write(&format!("{name}.toml"), &self.text(&question))?;
        made::run_base(&file, &place, self.signals)
    }

    /// The sweep of a question. What is measured has the setting that must not matter beside the cases.
    pub(super) fn sweep(&self, question: &Question<'_>, printer: &mut Printer) -> Result<Made, Refusal> {
        let mut cases = question.cases.to_vec();
        if question.pairs as usize >= FEWEST_PAIRS {
            cases.push(Case::of(&Lift::control()));
        }
        let question = Question { cases: &cases, title: question.title.clone(), ..*question };
        let file = self.write(&format!("{}.toml", question.name), &self.text(&question))?;
        made::carry_out(&file, &self.folder.join(question.name), self.signals, printer)
    }

    /// How long a sweep of these cases takes, seconds.
    pub(super) fn seconds(&self, question: &Question<'_>) -> Result<f64, Refusal> {
        let file = self.write(&format!("{}.estimate.toml", question.name), &self.text(question))?;
        let seconds = made::seconds(&file);
        let _ = std::fs::remove_file(file);
        seconds
    }

    /// The cases that cannot be tried here, each with why; looked for once.
    pub(super) fn not_here(
        &self,
        question: &Question<'_>,
        printer: &mut Printer,
    ) -> Result<Vec<(String, String)>, Refusal> {
        let known = self.folder.join(format!("{}.not-here.json", question.name));
        if let Some(known) =
            std::fs::read_to_string(&known).ok().and_then(|text| serde_json::from_str(&text).ok())
        {
            return Ok(known);
        }
        let file = self.write(&format!("{}.candidates.toml", question.name), &self.text(question))?;
        let place = self.folder.join(format!("{}.trials", question.name));
        let found = made::not_here(&file, &place, self.signals, printer);
        let _ = std::fs::remove_dir_all(&place);
        let found = found?;
        let text = serde_json::to_string_pretty(&found).unwrap_or_default();
        write_whole(&known, text.as_bytes()).map_err(|error| disk(&known, &error))?;
        Ok(found)
    }

    /// A file of the folder: as it is where it is there with the same text.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Refusal> {
        let path = self.folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(there) if there == text => return Ok(path),
            Ok(_) => {
                let message = format!("'{}' is another step than this program makes", path.display());
                return Err(Refusal::host(message, "--fresh begins anew"));
            }
            Err(_) => {}
        }
        write_whole(&path, text.as_bytes()).map_err(|error| disk(&path, &error))?;
        Ok(path)
    }

    /// The file of a sweep.
    fn text(&self, question: &Question<'_>) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let is_measured = question.pairs as usize >= FEWEST_PAIRS;
        let control =
            if is_measured && self.asked.plan.target >= ENOUGH_FOR_MEMORY { "kernel_bytes" } else { "none" };
        let metrics: Vec<String> = question.metrics.iter().map(|metric| quoted(metric)).collect();
        let mut lines = vec![
            format!("title = {}", quoted(&question.title)),
            format!("base = {}", quoted(BASE)),
            format!("metrics = [{}]", metrics.join(", ")),
            format!("pairs = {}", question.pairs),
            format!("same_pairs = {}", question.pairs),
            format!("control = {}", quoted(control)),
            format!("seed = {}", self.seed),
            String::new(),
            "[set]".to_owned(),
        ];
        let setting =
            |(key, value): &(String, Value)| format!("{} = {}", quoted(key), value.to_string().trim());
        lines.extend(self.common(question.kept).iter().map(setting));
        for case in question.cases {
            let settings: Vec<String> =
                case.lifts.iter().flat_map(Lift::settings).map(|one| setting(&one)).collect();
            lines.extend([
                String::new(),
                "[[case]]".to_owned(),
                format!("name = {}", quoted(&case.name)),
                format!("set = {{ {} }}", settings.join(", ")),
            ]);
        }
        lines.join("\n") + "\n"
    }

    /// What all sides have: what an ordinary program has, and what is kept.
    fn common(&self, kept: &[Lift]) -> Vec<(String, Value)> {
        let mut common: Vec<(String, Value)> = Vec::new();
        for end in ["server", "swarm"] {
            if !self.asked.tables {
                common.push((format!("{end}.one_table"), true.into()));
            }
            let nofile = self.asked.nofile.and_then(|nofile| i64::try_from(nofile).ok());
            common.extend(nofile.map(|nofile| (format!("{end}.nofile"), nofile.into())));
        }
        for (key, value) in kept.iter().flat_map(Lift::settings) {
            common.retain(|(other, _)| *other != key);
            common.push((key, value));
        }
        common
    }
}

fn disk(path: &Path, error: &std::io::Error) -> Refusal {
    Refusal::host(format!("{}: {error}", path.display()), "look at the room on the disk")
}

#[cfg(test)]
mod tests {
    use c10k_record::Quantity;
    use c10k_swarm::LoadArgs;

    use super::*;
    use c10k_plan::args::RunArgs;

    fn lift(key: &str, value: &str) -> Lift {
        Lift { key: key.to_owned(), value: value.to_owned(), named_by: "x".to_owned() }
    }

    fn asked() -> Asked {
        let load = LoadArgs { target: Some(Quantity(300)), ..LoadArgs::default() };
        let args = RunArgs { profile: Some("stock".to_owned()), load, ..RunArgs::default() };
        let asked = Asked::of(&args, (false, Vec::new(), 6)).expect("a goal");
        Asked { nofile: Some(200), ..asked }
    }

    /// The sweep's own file, read by the sweep's own reader.
    fn seconds(kept: &[Lift], cases: &[Case], pairs: u32) -> (Result<f64, String>, String) {
        let (folder, asked) = (tempfile::tempdir().expect("a folder"), asked());
        let signals = Signals::watch().expect("signals");
        let bench = Bench { asked: &asked, folder: folder.path(), seed: 5, signals: &signals };
        bench.lay_out().expect("written");
        let metrics = ["held".to_owned()];
        let question = Question { name: "x", title: "x".to_owned(), kept, cases, metrics: &metrics, pairs };
        let text = bench.text(&question);
        (bench.seconds(&question).map_err(|refusal| refusal.message), text)
    }

    #[test]
    fn a_step_is_a_sweep_that_the_sweeps_own_reader_takes() {
        let range = lift("net.ipv4.ip_local_port_range", "1024 65535");
        let nofile = lift("limits.nofile", "5000");
        let both = Case { name: "both".to_owned(), lifts: vec![range.clone(), nofile.clone()] };
        let cases =
            [Case::of(&range), Case::of(&nofile), both, Case::of(&lift("--ips", "127.0.0.1-127.0.0.2"))];
        let (seconds, text) = seconds(&[lift("socket.backlog", "64")], &cases, 1);
        assert!(seconds.is_ok_and(|seconds| seconds > 0.0), "{text}");
        assert!(
            text.contains("\"server.one_table\" = true") && text.contains("\"swarm.nofile\" = 200"),
            "{text}"
        );
        assert!(text.contains("\"socket.backlog\" = 64"), "{text}");
    }

    #[test]
    fn what_is_kept_takes_the_place_of_what_an_ordinary_program_has() {
        let (seconds, text) = seconds(&[lift("limits.nofile", "900")], &[Case::of(&Lift::control())], 6);
        assert!(seconds.is_ok(), "{seconds:?}");
        assert!(text.contains("\"server.nofile\" = 900") && !text.contains("= 200"), "{text}");
    }

    #[test]
    fn a_step_that_is_there_as_another_one_is_refused() {
        let (folder, asked) = (tempfile::tempdir().expect("a folder"), asked());
        let signals = Signals::watch().expect("signals");
        let bench = Bench { asked: &asked, folder: folder.path(), seed: 5, signals: &signals };
        bench.lay_out().expect("written");
        bench.lay_out().expect("the same");
        std::fs::write(folder.path().join(BASE), "target = 1").expect("written");
        assert!(bench.lay_out().expect_err("another").message.contains("another step"));
    }
}
