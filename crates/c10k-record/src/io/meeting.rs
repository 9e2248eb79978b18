//! What is left of a meeting of shards: a folder with the result of each and the account of the server's box.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::whole::write_whole;
use crate::control::meet::MeetingAccount;
use crate::shard::Shard;
use crate::shard_file_name;

/// The file beside the results of shards with the account of the server's box.
pub const SERVER_ACCOUNT: &str = "server.json";

/// Writes the results of all shards and `document`, the account of the server's box, into a new folder below `results`,
/// and gives that.
///
/// # Errors
/// The folder that was to be, and what the kernel says.
pub fn write_meeting(
    results: &Path,
    account: &MeetingAccount,
    document: &impl Serialize,
) -> Result<PathBuf, (PathBuf, io::Error)> {
    let folder = new_folder(results, account);
    match write(&folder, account, document) {
        Ok(()) => Ok(folder),
        Err(error) => Err((folder, error)),
    }
}

/// One named by the start and the run, and unlike any that is there.
fn new_folder(results: &Path, account: &MeetingAccount) -> PathBuf {
    let seconds = account.start_unix_ns.unwrap_or(account.opened_unix_ns) / 1_000_000_000;
    let start = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default();
    let name = format!("{}-{}", start.strftime("%Y%m%dT%H%M%SZ"), account.run_id);
    let mut all = (1_u32..).map(|nth| if nth == 1 { name.clone() } else { format!("{name}-{nth}") });
    let is_new = |name: &String| !results.join(name).exists();
    results.join(all.find(is_new).unwrap_or_else(|| name.clone()))
}

fn write(folder: &Path, account: &MeetingAccount, document: &impl Serialize) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, body) in &account.results {
        let Ok(shard) = Shard::new(*number, account.of) else { continue };
        let of_it = account.shards.iter().find(|shard| shard.shard == *number);
        let attempt = of_it.map_or(1, |shard| shard.attempt);
        write_whole(&folder.join(shard_file_name(shard, attempt)), body.as_bytes())?;
    }
    write_whole(&folder.join(SERVER_ACCOUNT), &serde_json::to_vec_pretty(document)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Build;
    use crate::control::meet::{LostShard, OnLost, ShardAccount, ShardProcess};

    fn account() -> MeetingAccount {
        let shard = |shard, has_result| ShardAccount {
            shard,
            attempt: shard,
            client: ShardProcess::default(),
            offset_ns: None,
            round_trip_ns: None,
            begun_unix_ns: None,
            has_result,
        };
        MeetingAccount {
            run_id: "evening-1".to_owned(),
            meeting: "evening-1.a.1".to_owned(),
            of: 2,
            build: Build::default(),
            on_lost: OnLost::Degrade,
            opened_unix_ns: 0,
            start_unix_ns: Some(1_700_000_000_000_000_000),
            ended_unix_ns: 1_700_000_060_000_000_000,
            failed: None,
            shards: vec![shard(1, false), shard(2, true)],
            lost: vec![LostShard { shard: 1, why: "nothing was heard".to_owned(), at_unix_ns: 7 }],
            results: vec![(2, "{\"held\":5}\n".to_owned())],
        }
    }

    #[test]
    fn what_is_left_of_a_meeting_is_a_folder_with_each_result_and_the_servers_account() {
        let results = tempfile::tempdir().expect("a folder");
        let account = account();
        let first = write_meeting(results.path(), &account, &account).expect("written");
        assert!(first.ends_with("20231114T221320Z-evening-1"), "{}", first.display());
        let shard = first.join(shard_file_name(Shard::new(2, 2).expect("a shard"), 2));
        assert_eq!(std::fs::read_to_string(shard).expect("it is there"), "{\"held\":5}\n");
        let server = std::fs::read(first.join(SERVER_ACCOUNT)).expect("it is there");
        let server: serde_json::Value = serde_json::from_slice(&server).expect("JSON");
        assert_eq!((&server["run_id"], &server["lost"][0]["shard"]), (&"evening-1".into(), &1.into()));
        assert!(server.get("results").is_none(), "each has a file of its own");
        let second = write_meeting(results.path(), &account, &account).expect("written");
        assert!(second.ends_with("20231114T221320Z-evening-1-2"), "{}", second.display());
        let (folder, error) =
            write_meeting(&first.join(SERVER_ACCOUNT), &account, &account).expect_err("a file is there");
        assert!(folder.starts_with(&first) && error.kind() == io::ErrorKind::NotADirectory, "{error}");
    }
}
