//! Results that lie at the control port where the shards met.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use c10k_plan::say::refusal::Refusal;
use c10k_record::control::meet::MeetState;
use c10k_record::control::{Client, Token, path};
use c10k_record::shard::ShardResult;
use c10k_record::{
    Exit, SERVER_ACCOUNT, ShardFileError, read_shard_result, shard_file_name, shard_files,
    write_shard_result, write_whole,
};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::not_written;

/// Where results are fetched from.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FetchArgs {
    /// Fetch what the shards have brought to the control port where they met into the folder first; --run-id names the run
    /// where the folder has no result of it.
    #[arg(long, value_name = "ADDRESS:PORT")]
    control: Option<SocketAddr>,
    /// A file with the token of the control port [default: the environment's C10K_TOKEN].
    #[arg(long, value_name = "FILE", requires = "control")]
    token_file: Option<PathBuf>,
}

/// What the control port has of a meeting, as much of it as fits into an answer.
#[derive(Deserialize)]
struct Fetched {
    #[serde(default)]
    meeting: String,
    #[serde(default)]
    state: Option<MeetState>,
    results: Vec<Value>,
    /// The shard from which to go on.
    #[serde(default)]
    next: Option<u32>,
    /// The server's own account, where it is written already.
    #[serde(default)]
    server: Option<Value>,
}

impl FetchArgs {
    /// Brings results into `folder`; does nothing where none are to be fetched. What lies there already stays.
    pub(crate) fn bring(&self, folder: &Path, run_id: Option<&str>) -> Result<(), Refusal> {
        let Some(address) = self.control else { return Ok(()) };
        let token = Token::find(self.token_file.as_deref())?;
        let of_folder = || {
            let files = shard_files(folder).ok()?;
            files.iter().find_map(|file| Some(read_shard_result(file).ok()?.run_id))
        };
        let run_id = run_id.map(str::to_owned).or_else(of_folder).ok_or_else(|| {
            let message = format!("'{}' has no result that names the run to fetch", folder.display());
            Refusal::text(message, "name the run by --run-id, as it was given to the swarms")
        })?;
        let mut client = Client::new(address, token);
        client.hello()?;
        let mut fetched: Fetched = client.get(&path::meet(&run_id, "results"))?;
        std::fs::create_dir_all(folder).map_err(|error| not_written(folder, &error))?;
        if fetched.results.is_empty() && shard_files(folder).is_ok_and(|files| files.is_empty()) {
            return Err(none_of(&run_id, address, fetched.state));
        }
        loop {
            fetched.results.drain(..).try_for_each(|result| keep(folder, result, address))?;
            let Some(next) = fetched.next else { break };
            let rest: Fetched = client.get(&path::meet(&run_id, &format!("results/{next}")))?;
            if rest.meeting != fetched.meeting || rest.next.is_some_and(|after| after <= next) {
                let message = format!(
                    "the results of '{run_id}' at {address} were of another run of that name from shard {next} on"
                );
                return Err(Refusal::host(message, "once more, into a folder of its own"));
            }
            fetched = rest;
        }
        match fetched.server {
            Some(server) => keep_account(folder, &server, &run_id),
            None => Ok(()),
        }
    }
}

/// No shard has brought a result, and none lies here.
fn none_of(run_id: &str, address: SocketAddr, state: Option<MeetState>) -> Refusal {
    let why = match state {
        Some(MeetState::Failed { why, .. } | MeetState::Out { why }) => why,
        Some(MeetState::Waiting { .. }) => "not all of them are there yet".to_owned(),
        Some(MeetState::Start { .. } | MeetState::Going { .. }) => "it goes on".to_owned(),
        Some(MeetState::Over { .. }) | None => "all of them were lost".to_owned(),
    };
    Refusal {
        message: format!("no shard of the run '{run_id}' has brought a result to {address}: {why}"),
        hint: Some("what the shards and `c10k-lab serve` said tells more".to_owned()),
        exit: Exit::Short,
    }
}

/// A file that lies there already is not written over; one of another run is in the way.
fn refuse_another(path: &Path, is_of: &str, run_id: &str) -> Result<(), Refusal> {
    if is_of == run_id {
        return Ok(());
    }
    let message = format!("'{}' is of the run '{is_of}', and '{run_id}' is fetched", path.display());
    Err(Refusal::text(message, "fetch each run into a folder of its own"))
}

fn keep(folder: &Path, result: Value, address: SocketAddr) -> Result<(), Refusal> {
    let result: ShardResult = serde_json::from_value(result).map_err(|error| {
        let message = format!("the control port {address} gave a result that cannot be read: {error}");
        Refusal { message, hint: Some("use one version at both ends".to_owned()), exit: Exit::Broke }
    })?;
    let there = folder.join(shard_file_name(result.shard, result.attempt));
    if there.exists() {
        // What cannot be read is named where all results are read.
        return match read_shard_result(&there) {
            Ok(own) => refuse_another(&there, &own.run_id, &result.run_id),
            Err(_) => Ok(()),
        };
    }
    write_shard_result(folder, &result).map(drop).map_err(|error| match &error {
        ShardFileError::Write { source, .. } => not_written(&there, source),
        _ => Refusal::host(error.to_string(), "name a folder that can be written"),
    })
}

fn keep_account(folder: &Path, server: &Value, run_id: &str) -> Result<(), Refusal> {
    let path = folder.join(SERVER_ACCOUNT);
    if path.exists() {
        let own = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let own = own.as_ref().and_then(|own| own["run_id"].as_str());
        return own.map_or(Ok(()), |own| refuse_another(&path, own, run_id));
    }
    write_whole(&path, format!("{server:#}\n").as_bytes()).map_err(|error| not_written(&path, &error))
}
