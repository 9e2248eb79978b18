//! `c10k-lab serve`: the server's box of a run whose clients stand on another one.
//!
//! The profile is in force as long as it serves. The server is a process of its own, which ends with this one; a run of
//! another machine is begun and ended at the control port, one at a time, and nothing else can be asked for there but
//! looks. Killed by SIGKILL it leaves the journal of its profile: the server, which the kernel then tells to end, or the
//! next that applies a profile here puts the settings back.

mod args;
mod server;
mod serving;

use c10k_collector::far::{ControlPort, FarEnd, Meet, results};
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_plan::say::words::left_as_it_was;
use c10k_profile::{AppliedGuard, InForce, put_in_force};
use c10k_record::control::{Build, Token};
use c10k_record::{Exit, ListenError};
use c10k_server::ServerArgs;
use serde_json::json;

use crate::host::before::Beforehand;
use crate::signals::Signals;
pub(crate) use args::ServeArgs;
use serving::Serving;

/// What shows why a thread or a descriptor more cannot be had.
const THREADS: &str = "`prlimit --nproc --nofile` shows how many this process may have";
/// The profile of a server that is not told which.
const NO_PROFILE: &str = "stock";

/// Serves until a signal comes or, with `--events`, stdin ends.
pub(crate) fn run(args: &ServeArgs, printer: &mut Printer) -> Exit {
    if args.own.print_build {
        printer.data(&serde_json::to_string(&Build::of_this()).unwrap_or_default());
        return Exit::Done;
    }
    serve(args, printer).unwrap_or_else(|refusal| refusal.tell(printer))
}

fn serve(args: &ServeArgs, printer: &mut Printer) -> Result<Exit, Refusal> {
    args.check()?;
    let server = args
        .server
        .resolved()
        .map_err(|error| Refusal::text(error, "`c10k-lab serve --help` has all flags with their values"))?;
    let signals =
        Signals::watch().map_err(|error| Refusal::host(format!("cannot watch signals: {error}"), THREADS))?;
    // Before anything is changed here.
    let (results, note) =
        results(args.own.results.as_deref()).map_err(|(why, hint)| Refusal::host(why, hint))?;
    note.iter().for_each(|note| printer.say(note));
    let listening = ControlPort::listen(args.own.control).map_err(|error| refused(&error))?;
    let token = Token::for_port(listening.address(), args.own.token_file.as_deref())?;
    let beforehand = Beforehand::look();
    let mut in_force = in_force(&server)?;
    printer.notes(&in_force.warnings, &in_force.profile.name);
    let guard = in_force.guard.take();
    let served = Serving::start(args, &server, &in_force, &signals).and_then(|serving| {
        let setup = serving.setup(&in_force, beforehand);
        let has_token = token.is_some();
        let port = FarEnd::begin_to_watch(setup)
            .map_err(|error| Refusal::host(format!("the server cannot be watched: {error}"), THREADS))
            .and_then(|far| {
                let meet = Box::new(Meet::new(results, &far));
                ControlPort::serve(listening, token, far, Some(meet)).map_err(|error| refused(&error))
            });
        let ended = port.map(|port| serving.until_the_end(&port, has_token, printer));
        serving.stop();
        ended
    });
    let is_put_back = guard.is_none_or(|guard| put_back(guard, printer));
    if args.server.events && served.is_ok() {
        printer.data(&json!({ "event": "done", "put_back": is_put_back }).to_string());
    }
    match served {
        Ok(exit) => Ok(left_as_it_was(exit, is_put_back)),
        Err(refusal) => Err(Refusal { exit: left_as_it_was(refusal.exit, is_put_back), ..refusal }),
    }
}

fn refused(error: &ListenError) -> Refusal {
    Refusal { message: error.to_string(), hint: Some(error.hint()), exit: error.exit() }
}

fn in_force(server: &ServerArgs) -> Result<InForce, Refusal> {
    let profile = server.profile.as_deref().unwrap_or(NO_PROFILE);
    put_in_force(profile, "c10k-lab serve", !server.no_apply).map_err(|error| Refusal {
        message: error.to_string(),
        hint: error.hint(),
        exit: error.exit(),
    })
}

/// Puts back what was set here and says so; false where something could not be.
pub(crate) fn put_back(guard: AppliedGuard, printer: &mut Printer) -> bool {
    let holds_settings = guard.holds_settings();
    let rolled_back = guard.roll_back();
    if !rolled_back.is_complete() {
        printer.error(&rolled_back.to_string(), Some(&rolled_back.commands().join(" && ")));
        return false;
    }
    if holds_settings {
        printer.say(&rolled_back.to_string());
    }
    true
}
