//! `c10k-lab profile apply|rollback|status`: settings that outlive the command.

use std::io;
use std::sync::Arc;

use c10k_kernel::limits;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::words::left_as_it_was;
use c10k_profile::{
    Applier, ApplyError, Differs, Doubt, Drift, Here, InForceError, JournalError, Policy, Profile, Recovery,
    RollBack, Source, Standing, StandingSetting, State, Unsettable, left_over_notice, not_applied_warning,
    note,
};
use c10k_record::{Exit, ProfileInRun};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Says once that a process which was killed left settings behind, and what puts them back.
pub(crate) fn tell_left_over(printer: &mut Printer) {
    if let Some(notice) = left_over_notice() {
        printer.say(&format!("warning: {notice}"));
    }
}

/// Sets all that the profile wants of this place, or nothing, until a roll back.
pub(crate) fn apply(profile: &Profile, host_wide: bool, as_json: bool, printer: &mut Printer) -> Exit {
    let pid = std::process::id();
    let program = "c10k-lab profile apply";
    let who = Applier { run_id: format!("apply-{pid}"), pid, program: program.to_owned() };
    let policy = Policy { unsettable: Unsettable::Refuse, host_wide, drift: Drift::Report };
    let applied = Here::now().map_err(ApplyError::from).and_then(|here| {
        finish_in_spite_of_signals()?;
        here.apply_until_roll_back(profile, &who, policy)
    });
    let kept = match applied {
        Ok(kept) => kept,
        Err(ApplyError::Unsettable { not_set, .. }) if limits::euid() != 0 => {
            return needs_root(profile, not_set.len(), host_wide, printer);
        }
        Err(error) => return refused(error, printer),
    };
    for recovery in &kept.recovered {
        printer.say(&format!("warning: {recovery}"));
    }
    let mut in_run = ProfileInRun::default();
    note(&mut in_run, &kept.changes, &kept.not_set);
    for set in &in_run.applied {
        printer.say(&format!("set {}: {} -> {}", set.key, set.before, set.after));
    }
    for not in &in_run.not_applied {
        printer.say(&format!("warning: {}", not_applied_warning(not).text));
    }
    if !host_wide && !in_run.not_applied.is_empty() {
        printer.say("hint: --host-wide raises settings of the whole host too");
    }
    printer.say(&match (&kept.since, in_run.applied.len()) {
        (Some(since), _) => {
            format!("profile {} stands since {since}: nothing was to be changed", profile.name)
        }
        (None, 0) => format!("all that profile {} may set here stands already", profile.name),
        (None, _) => {
            format!("profile {} stays in force until `c10k-lab profile rollback`", profile.name)
        }
    });
    if as_json {
        let recovered: Vec<String> = kept.recovered.iter().map(ToString::to_string).collect();
        let document = json!({
            "profile": profile.name, "applied": in_run.applied, "not_applied": in_run.not_applied,
            "already_since": kept.since, "recovered": recovered,
        });
        printer.data(&document.to_string());
    }
    Exit::Done
}

/// What an ordinary user may not set, in a line: `profile diff` has it one by one.
fn needs_root(profile: &Profile, settings: usize, host_wide: bool, printer: &mut Printer) -> Exit {
    let what = if settings == 1 { "setting" } else { "settings" };
    let name = &profile.name;
    let path = match &profile.source {
        Source::Shipped(name) => (*name).to_owned(),
        Source::File(path) => quoted(path),
    };
    let flag = if host_wide { " --host-wide" } else { "" };
    printer.error(
        &format!("profile {name} needs root: this user may not set {settings} {what} of it"),
        Some(&format!("sudo c10k-lab profile apply {path}{flag}")),
    );
    Exit::HostCannot
}

/// Puts back what is kept and what was left behind, and tells what stays.
pub(crate) fn roll_back(force: bool, as_json: bool, printer: &mut Printer) -> Exit {
    let drift = if force { Drift::Restore } else { Drift::Report };
    let done = Here::now().map_err(ApplyError::from).and_then(|here| {
        finish_in_spite_of_signals()?;
        let recovered = here.roll_back(drift)?;
        let here = Here::now()?;
        // What cannot be read is among what is in doubt.
        Ok((recovered, here.standing().unwrap_or_default(), here.doubt(), here.out_of_sight()))
    });
    let (recovered, standing, doubt, out_of_sight) = match done {
        Ok(done) => done,
        // What cannot be looked at may stand.
        Err(error @ ApplyError::Journal(JournalError::Io { .. })) => {
            refused(error, printer);
            if let Some(doubt) = Here::now().ok().and_then(|here| here.doubt()) {
                tell_doubt(&doubt, printer);
            }
            return Exit::Broke;
        }
        Err(error) => return refused(error, printer),
    };
    let is_idle = recovered.iter().all(|recovery| match recovery {
        Recovery::Restored { roll_back, .. } => roll_back.is_idle(),
        Recovery::SetAside { .. } | Recovery::Elsewhere { .. } => true,
    });
    for recovery in &recovered {
        tell(recovery, printer);
    }
    if is_idle && doubt.is_none() {
        printer.say("nothing to roll back");
    }
    for journal in standing.iter().filter(|journal| journal.here) {
        tell_what_stays(journal, printer);
    }
    tell_out_of_sight(&out_of_sight, printer);
    if as_json {
        printer.data(&rolled_back_as_json(&recovered, &standing, doubt.as_ref()).to_string());
    }
    let is_certain = doubt.is_none_or(|doubt| tell_doubt(&doubt, printer));
    let failed: Vec<String> = restored(&recovered).flat_map(RollBack::commands).collect();
    if !failed.is_empty() {
        printer.error("not everything could be put back", Some(&failed.join(" && ")));
    }
    left_as_it_was(Exit::Done, is_certain && failed.is_empty())
}

/// What may stand because of journals that cannot be understood; true when nothing does.
fn tell_doubt(doubt: &Doubt, printer: &mut Printer) -> bool {
    let journals: Vec<String> = doubt.journals.iter().map(|path| path.display().to_string()).collect();
    let whose = format!("of what {} said, nothing could be put back", journals.join(", "));
    let forget =
        format!("rm {}", doubt.journals.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(" "));
    if doubt.is_compared && doubt.differs.is_empty() {
        printer.say(&format!(
            "warning: {whose}; none of the settings that it names, or that the shipped profiles have, differs from a \
             fresh network namespace ({forget} ends this warning)"
        ));
        return true;
    }
    for differs in &doubt.differs {
        let fresh = match &differs.fresh {
            Some(fresh) => format!("a fresh network namespace has {fresh}"),
            None => "what stood before is not known".to_owned(),
        };
        printer.say(&format!("{} is {}: {fresh}; {}", differs.key, differs.present, differs.command()));
    }
    if !doubt.is_compared {
        printer.say("no network namespace may be made here, to compare with");
    }
    let commands = doubt.differs.iter().map(Differs::command).chain([forget]);
    printer.error(
        &format!("{whose}, and settings stand that it may have been about"),
        Some(&commands.collect::<Vec<_>>().join(" && ")),
    );
    false
}

fn quoted(path: &std::path::Path) -> String {
    c10k_record::shell::apostrophes(&path.display().to_string())
}

/// Others whose journal is another mount namespace's.
fn tell_out_of_sight(others: &[String], printer: &mut Printer) {
    if !others.is_empty() {
        printer.say(&format!(
            "warning: settings of this network namespace are held by {}, whose journal cannot be seen from here",
            others.join(", ")
        ));
    }
}

/// Every journal of this user.
pub(crate) fn status(as_json: bool, printer: &mut Printer) -> Exit {
    let standing =
        Here::now().map_err(ApplyError::from).and_then(|here| Ok((here.standing()?, here.out_of_sight())));
    let (standing, out_of_sight) = match standing {
        Ok(standing) => standing,
        Err(error) => return refused(error, printer),
    };
    if as_json {
        let journals: Vec<Value> = standing.iter().map(as_value).collect();
        printer.data(&json!({ "journals": journals, "out_of_sight": out_of_sight }).to_string());
        return Exit::Done;
    }
    tell_out_of_sight(&out_of_sight, printer);
    if standing.is_empty() && out_of_sight.is_empty() {
        printer.say("nothing is set by any profile");
    }
    for journal in &standing {
        let place = match (&journal.useless, journal.here) {
            (Some(why), _) => format!("not usable: {why}"),
            (None, true) => "here".to_owned(),
            (None, false) => format!("in net:[{}]", journal.net_namespace),
        };
        printer.data(&format!("{} ({place})", journal.path.display()));
        for holder in &journal.holders {
            let life = if holder.stands() { "" } else { ", which is gone" };
            printer.data(&format!("  {holder}{life}"));
        }
        for setting in &journal.settings {
            let present = setting.present.as_deref().unwrap_or("?");
            printer.data(&format!(
                "  {:<11} {}: {} (before: {}, set: {})",
                word(setting.state),
                setting.key,
                present,
                setting.before,
                setting.wanted
            ));
        }
    }
    Exit::Done
}

/// A signal between two writes would leave half of it. All of it takes a moment, so it is finished.
fn finish_in_spite_of_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(())
}

fn refused(error: ApplyError, printer: &mut Printer) -> Exit {
    let hint = match &error {
        ApplyError::HeldBy { holder, .. } if holder.kept => {
            "`c10k-lab profile rollback` takes it off first".to_owned()
        }
        ApplyError::HeldBy { holder, .. } => format!("end process {}, or apply the same profile", holder.pid),
        error => error.hint(),
    };
    printer.error(&error.to_string(), Some(&hint));
    InForceError::from(error).exit()
}

fn tell(recovery: &Recovery, printer: &mut Printer) {
    let Recovery::Restored { roll_back, pending } = recovery else {
        return printer.say(&format!("warning: {recovery}"));
    };
    if roll_back.is_idle() {
        return;
    }
    printer.say(&format!("rolling back {pending}"));
    for change in &roll_back.restored {
        printer.say(&format!("put back {}: {} -> {}", change.key, change.before, change.after));
    }
    for drifted in &roll_back.drifted {
        printer.say(&format!("warning: {drifted}"));
    }
    for (key, before, what) in &roll_back.failed {
        printer.say(&format!("warning: {key} could not be put back to {before}: {what}"));
    }
    for fault in &roll_back.journal_faults {
        printer.say(&format!("warning: {fault}"));
    }
}

fn tell_what_stays(journal: &Standing, printer: &mut Printer) {
    let keys = |state: State| -> Vec<&str> {
        // A journal that could not be written names what was put back, too.
        let stands = |setting: &&StandingSetting| setting.present.as_ref() != Some(&setting.before);
        let settings = journal.settings.iter().filter(|setting| setting.state == state).filter(stands);
        settings.map(|setting| setting.key.as_str()).collect()
    };
    let (in_force, drifted) = (keys(State::InForce), keys(State::Drifted));
    if let Some(holder) = journal.holders.iter().find(|holder| holder.stands())
        && !in_force.is_empty()
    {
        printer.say(&format!(
            "in force as long as somebody lives who wants it: {} ({holder})",
            in_force.join(", ")
        ));
    }
    if !drifted.is_empty() {
        printer.say(&format!(
            "left as somebody else has changed it: {}; `c10k-lab profile rollback --force` puts back what stood before",
            drifted.join(", ")
        ));
    }
}

fn restored(recovered: &[Recovery]) -> impl Iterator<Item = &RollBack> {
    recovered.iter().filter_map(|recovery| match recovery {
        Recovery::Restored { roll_back, .. } => Some(roll_back),
        Recovery::SetAside { .. } | Recovery::Elsewhere { .. } => None,
    })
}

fn rolled_back_as_json(recovered: &[Recovery], standing: &[Standing], doubt: Option<&Doubt>) -> Value {
    let all = || restored(recovered);
    let changes = all()
        .flat_map(|done| &done.restored)
        .map(|change| json!({ "key": change.key, "before": change.before, "after": change.after }));
    let drifted = all().flat_map(|done| &done.drifted).map(|drifted| {
        json!({
            "key": drifted.key, "expected": drifted.expected, "found": drifted.found, "before": drifted.before,
            "overwritten": drifted.overwritten,
        })
    });
    let failed = all().flat_map(|done| {
        done.failed.iter().zip(done.commands()).map(|((key, before, why), command)| {
            json!({ "key": key, "before": before, "why": why, "command": command })
        })
    });
    let in_doubt = doubt.iter().flat_map(|doubt| &doubt.differs).map(|differs| {
        json!({
            "key": differs.key, "present": differs.present, "fresh": differs.fresh, "command": differs.command(),
        })
    });
    let faults = all().flat_map(|done| done.journal_faults.iter().cloned());
    let others = recovered.iter().filter(|recovery| !matches!(recovery, Recovery::Restored { .. }));
    let here = standing.iter().filter(|journal| journal.here);
    json!({
        "restored": changes.collect::<Vec<_>>(),
        "drifted": drifted.collect::<Vec<_>>(),
        "failed": failed.collect::<Vec<_>>(),
        "in_doubt": in_doubt.collect::<Vec<_>>(),
        "warnings": others.map(ToString::to_string).chain(faults).collect::<Vec<_>>(),
        "stays": here.map(as_value).collect::<Vec<_>>(),
    })
}

fn as_value(journal: &Standing) -> Value {
    let holders = journal.holders.iter().map(|holder| {
        json!({
            "program": holder.program, "pid": holder.pid, "run_id": holder.run_id, "profile": holder.profile,
            "since": holder.since, "until_rollback": holder.kept, "stands": holder.stands(),
        })
    });
    let settings = journal.settings.iter().map(|setting| {
        json!({
            "key": setting.key, "before": setting.before, "wanted": setting.wanted, "present": setting.present,
            "state": word(setting.state),
        })
    });
    json!({
        "path": journal.path, "net_namespace": journal.net_namespace, "here": journal.here,
        "useless": journal.useless,
        "holders": holders.collect::<Vec<_>>(), "settings": settings.collect::<Vec<_>>(),
    })
}

fn word(state: State) -> &'static str {
    match state {
        State::InForce => "in force",
        State::LeftOver => "left over",
        State::Drifted => "drifted",
    }
}
