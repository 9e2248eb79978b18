//! `c10k-lab find`: the most at which the verdicts hold under a workload: connections, or so many a second of what a fixed
//! number of them does.
//!
//! It is a run whose size or rate changes: one server, one swarm, and connections that are added and closed from one size to
//! the next (`lead/search.rs`). Its folder is that of a run, with `find.json` beside the record. The record is one of the last
//! try, which is the least at which a verdict broke: so its diagnosis names the wall.

use std::time::Duration;

use c10k_plan::args::RunArgs;
use c10k_plan::file::Written;
use c10k_plan::say::color::Color;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{
    Condition, Exit, Metric, Plan, Quantity, RunState, Seen, Span, Workload, default_conditions, fold, whole,
    write_whole,
};
use c10k_report::page_of_run;
use clap::Args;

use crate::command::run::{Carried, carry_out};
use crate::lead::found::{FOUND, Found};
use crate::lead::page::Material;
use crate::lead::sizes::{Search, Vary, is_known};

/// How long the workload goes on at each try.
const AT_EACH_TRY: Span = Span(Duration::from_secs(3));
/// The most messages a second that are tried where nothing else is said.
const MOST_MESSAGES: u64 = 10_000_000;
/// The same of exchanges.
const MOST_EXCHANGES: u64 = 1_000_000;

/// `c10k-lab find`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FindArgs {
    /// So many searches, one after the other on the same server: their ends give a range.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1..=100_u32))]
    repeat: u32,
    /// What is changed from try to try: connections, up to --target; message-rate, all messages a second of --workload echo;
    /// churn, the exchanges a second of --workload churn. Of the last two the most is found that --target connections do.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t, hide_possible_values = true)]
    vary: Vary,
    /// With --vary message-rate or churn: no more a second are tried [default: 10M/s, 1M/s].
    #[arg(long, value_name = "N/s", value_parser = per_second)]
    up_to: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

impl FindArgs {
    pub(crate) fn color(&self) -> Color {
        self.run.color
    }
}

/// `50k/s`, or the number alone.
fn per_second(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse::<Quantity>().ok();
    number
        .map(|Quantity(rate)| rate)
        .filter(|rate| *rate > 0)
        .ok_or_else(|| format!("'{text}' is not a rate: expected a whole number a second, such as 50k/s"))
}

/// Carries it out.
pub(crate) fn run(args: &FindArgs, printer: &mut Printer) -> Exit {
    find(args, printer).unwrap_or_else(|refusal| refusal.tell(printer))
}

fn find(args: &FindArgs, printer: &mut Printer) -> Result<Exit, Refusal> {
    let mut of_run = args.run.clone();
    let is_of_a_file = of_run.plan.as_ref().is_some_and(|path| path.exists());
    if !is_of_a_file {
        of_run.load.hold = of_run.load.hold.or(Some(AT_EACH_TRY));
    }
    let search = |written: &mut Written| search(args, written);
    let ran = match carry_out(&of_run, Some(&search), printer)? {
        Carried::Out(ran) => ran,
        Carried::Elsewhere(exit) => return Ok(exit),
    };
    let Some(search) = &ran.search else { return Ok(Exit::Broke) };
    let found = Found::of(&ran.record, search, &ran.path);
    let write = |name: &str, text: &str| {
        let place = ran.path.join(name);
        write_whole(&place, text.as_bytes()).map_err(|error| format!("{}: {error}", place.display()))
    };
    let written = write(FOUND, &found.document());
    // The page that the run has left knows nothing of the search.
    let page = page_of_run(&Material::read(ran.record.clone(), &ran.path, Vec::new()).beside().shown());
    let written = written.and_then(|()| write("report.html", &page));
    if let Err(error) = &written {
        let hint = "look at the room on the disk and at who may write there; --json still prints it all";
        printer.error(error, Some(hint));
    }
    if args.run.full {
        let text = c10k_report::summary(&ran.record, Some(&ran.path), printer.style(false));
        printer.say(&text);
    }
    let told = found.told();
    if args.run.json {
        printer.note(&told);
        printer.data(&found.line());
    } else {
        let width = printer.style(true).width;
        printer.data(&told.lines().flat_map(|line| fold(line, width)).collect::<Vec<_>>().join("\n"));
    }
    Ok(match found.range() {
        _ if ran.signals.came() => ran.signals.exit(),
        _ if written.is_err() || ran.record.state != RunState::Complete => Exit::Broke,
        Some(range) if range.median > 0 => Exit::Done,
        Some(_) => Exit::Short,
        None => Exit::Broke,
    })
}

/// The search that these flags ask for; refused where none can be made of the plan.
fn search(args: &FindArgs, written: &mut Written) -> Result<Search, Refusal> {
    ask_of_the_workload(&mut written.plan);
    let (written, plan) = (&*written, &written.plan);
    if !plan.phases.is_empty() {
        return Err(Refusal::text(
            "find goes through tries of its own, and the plan names its phases",
            "leave out the [[phase]] tables and name a workload",
        ));
    }
    if let Some(steps) = plan.load.steps {
        return Err(Refusal::text(
            format!("find grows by steps of its own, and --steps {steps} is given"),
            "leave out the steps; --target says how far to go",
        ));
    }
    let bounds = match args.vary {
        Vary::Connections => of_connections(args, plan)?,
        rate => of_a_rate(args, rate, written)?,
    };
    let defaults = default_conditions(plan.load.probe);
    let is_asked = |condition: &&Condition| !defaults.contains(condition);
    let unknown = |condition: &&Condition| !is_known(condition.metric, plan.workload);
    match plan.verdicts.iter().filter(is_asked).find(unknown) {
        Some(condition) => Err(Refusal::text(
            format!(
                "the verdict '{condition}' is known of a whole run, and not of each try under {}",
                plan.workload
            ),
            "leave it out, or judge by it in c10k-lab run",
        )),
        None => Ok(Search::new(args.vary, bounds, args.repeat)),
    }
}

/// Where nothing is asked of what a workload is for, a search would find the most that are held while it fails: a viewer
/// whose video stands still is still connected.
fn ask_of_the_workload(plan: &mut Plan) {
    let (asked, metrics): (&str, &[Seen]) = match plan.workload {
        Workload::Stream => {
            ("stalled_viewers = 0", &[Seen::StalledViewers, Seen::Stalls, Seen::WholeViewers])
        }
        Workload::Fanout => ("receipts_missing = 0", &[Seen::ReceiptsMissing]),
        Workload::Churn => ("churn_failed = 0", &[Seen::ChurnFailed]),
        Workload::Hold | Workload::Echo => return,
    };
    let is_asked = |condition: &Condition| metrics.iter().any(|seen| condition.metric == Metric::Seen(*seen));
    if !plan.verdicts.iter().any(is_asked) {
        plan.verdicts.extend(asked.parse::<Condition>());
    }
}

/// The first size and the most.
fn of_connections(args: &FindArgs, plan: &Plan) -> Result<(u64, u64), Refusal> {
    if let Some(most) = args.up_to {
        return Err(Refusal::text(
            format!("--up-to {most}/s is of a rate, and connections are varied"),
            "--target says how many connections to try; or add --vary message-rate",
        ));
    }
    if plan.workload == Workload::Hold {
        return Err(Refusal::text(
            "find looks for the most connections that do something, and the workload is hold",
            "add --workload echo, churn, stream or fanout; c10k-lab climb finds how many can be held",
        ));
    }
    Ok(((plan.target / 16).max(1), plan.target))
}

/// The first rate and the most.
fn of_a_rate(args: &FindArgs, rate: Vary, written: &Written) -> Result<(u64, u64), Refusal> {
    let Written { plan, origins } = written;
    let name = rate.name();
    let (needed, most) = match rate {
        Vary::Churn => (Workload::Churn, MOST_EXCHANGES),
        Vary::MessageRate | Vary::Connections => (Workload::Echo, MOST_MESSAGES),
    };
    if plan.workload != needed {
        return Err(Refusal::text(
            format!(
                "--vary {name} is a rate of the workload {needed}, and the workload is {}",
                plan.workload
            ),
            format!("add --workload {needed}"),
        ));
    }
    let work = &plan.work;
    let rates = [
        ("--messages", work.messages_per_second.map(|rate| format!("{rate}/s"))),
        ("--message-rate", work.message_rate_per_second.map(|rate| format!("{rate}/s"))),
        ("--in-flight-messages", work.in_flight_messages.map(|count| count.to_string())),
        ("--churn", work.churn_per_second.map(|rate| format!("{rate}/s"))),
    ];
    if let Some((flag, given)) = rates.into_iter().find_map(|(flag, given)| Some((flag, given?))) {
        return Err(Refusal::text(
            format!("--vary {name} chooses the rate from try to try, and {flag} {given} is given"),
            format!("leave out {flag}; --up-to 50k/s says how far to go"),
        ));
    }
    let is_target_alone = args.run.plan.as_ref().is_some_and(|path| !path.exists());
    if !is_target_alone && !origins.contains_key("target") {
        return Err(Refusal::text(
            format!(
                "--vary {name} looks for the most a second on a fixed number of connections, and none is named"
            ),
            "name it, such as --target 10k",
        ));
    }
    let most = args.up_to.unwrap_or(most);
    let first = match rate {
        Vary::Churn => plan.target / 16,
        Vary::MessageRate | Vary::Connections => plan.target,
    };
    Ok((first.clamp(1, most), most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use c10k_plan::resolve::default_plan;

    #[test]
    fn a_search_asks_of_a_workload_what_it_is_for_unless_that_is_asked_already() {
        let asked = |workload, verdicts: &[&str]| {
            let verdicts = verdicts.iter().map(|text| text.parse().expect("a condition")).collect();
            let mut plan = Plan { workload, verdicts, ..default_plan() };
            ask_of_the_workload(&mut plan);
            plan.verdicts.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(asked(Workload::Stream, &["held = target"]), ["held = target", "stalled_viewers = 0"]);
        assert_eq!(asked(Workload::Stream, &["stalls <= 10"]), ["stalls <= 10"]);
        assert_eq!(asked(Workload::Fanout, &[]), ["receipts_missing = 0"]);
        assert_eq!(asked(Workload::Churn, &["churn_failed <= 3"]), ["churn_failed <= 3"]);
        assert_eq!(asked(Workload::Echo, &[]), Vec::<String>::new());
    }

    #[test]
    fn a_rate_reads_with_and_without_its_unit() {
        for (text, rate) in [("50k/s", 50_000), ("7", 7), ("1M", 1_000_000)] {
            assert_eq!(per_second(text), Ok(rate));
        }
        for text in ["0", "", "-3/s", "fast", "0.5/s"] {
            assert!(per_second(text).is_err_and(|error| error.contains("expected")), "{text}");
        }
    }
}
