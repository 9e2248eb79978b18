//! What goes wrong between here and the far end, as one error with a hint. Texts in, a refusal out.

use std::io;

use c10k_plan::say::refusal::Refusal;
use c10k_record::Exit;

use crate::ssh::words::Words;

/// ssh itself cannot be started.
pub(crate) fn not_started(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::NotFound => Refusal::host(
            "there is no ssh program here, and --ssh speaks through it",
            "sudo apt-get install openssh-client, or start `c10k-lab serve` there by hand and name it with --control",
        ),
        _ => Refusal::host(format!("ssh cannot be started: {error}"), "ssh -V"),
    }
}

/// ssh has not come to a connection. `said` is its stderr.
pub(crate) fn not_connected(words: &Words<'_>, host: &str, said: &str) -> Refusal {
    let has = |text: &str| said.contains(text);
    let line = last_line(said);
    let by_hand = words.by_hand("true");
    let (message, hint) = if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        (
            format!("the host key of {host} is not the one that is known here"),
            format!("find out why it has changed before anything else; `{by_hand}` names both keys"),
        )
    } else if has("Host key verification failed") || has("No matching host key") {
        (
            format!("the host key of {host} is not known here"),
            format!("`{by_hand}` once, compare the fingerprint with the host's own, and say yes"),
        )
    } else if has("Permission denied") {
        (
            format!("{host} does not let you in: {line}"),
            format!(
                "no password is asked for: a key by `ssh-copy-id`, an agent by `ssh-add`, or another one by --ssh-arg -i \
                 --ssh-arg KEY; `{by_hand}` shows the same"
            ),
        )
    } else if has("Could not resolve hostname") {
        (
            format!("{host} has no address: {line}"),
            "expected a host's name or address, or an alias of ~/.ssh/config".to_owned(),
        )
    } else if line.is_empty() {
        (format!("ssh to {host} ended without a word"), format!("`{by_hand}` shows the same"))
    } else {
        (
            format!("no ssh connection to {host}: {line}"),
            format!("`{by_hand}` shows the same; another port is --ssh-arg -p --ssh-arg PORT"),
        )
    };
    Refusal::host(message, hint)
}

/// The connection was there, and is gone.
pub(crate) fn connection_gone(host: &str, said: &str) -> Refusal {
    let line = last_line(said);
    let why = if line.is_empty() { String::new() } else { format!(": {line}") };
    Refusal {
        message: format!("the ssh connection to {host} is gone{why}"),
        hint: Some("the far server ends with it and puts its settings back".to_owned()),
        exit: Exit::Broke,
    }
}

/// The far `serve` has ended before it was ready. Its own error and hint stand on its stderr, and its exit code is ours.
pub(crate) fn not_serving(host: &str, program: &str, code: Option<i32>, said: &str) -> Refusal {
    let error = said.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
    let hint = said.lines().rev().find_map(|line| line.trim().strip_prefix("hint: "));
    let is_old = said.contains("unrecognized subcommand");
    let message = match (error, is_old) {
        (_, true) => format!("{program} on {host} is of another version: it has no `serve`"),
        (Some(error), _) => format!("{program} on {host} does not serve: {error}"),
        (None, _) => {
            let line = last_line(said);
            let with = code.map_or_else(String::new, |code| format!(" with exit code {code}"));
            format!("{program} on {host} ended{with} before it served{}", after_colon(line))
        }
    };
    let hint = match (hint, is_old) {
        (_, true) => "--push copies this program over".to_owned(),
        (Some(hint), _) => format!("on {host}: {hint}"),
        (None, _) => format!("run `{program} serve` on {host} by hand to see what it says"),
    };
    let exit = if code == Some(2) { Exit::BadText } else { Exit::HostCannot };
    Refusal { message, hint: Some(hint), exit }
}

/// There is no program of ours at the far end.
pub(crate) fn no_program(host: &str) -> Refusal {
    Refusal::host(
        format!("there is no c10k-lab on {host}: neither on its PATH nor copied before"),
        "--push copies this program over",
    )
}

/// What was to be copied did not arrive, or does not run there.
pub(crate) fn not_copied(host: &str, said: &str) -> Refusal {
    let line = last_line(said);
    let hint = match said {
        _ if said.contains("No space left") => format!("make room in the home of the user on {host}"),
        _ if said.contains("not found") && said.contains("version `") => {
            "the C library there is older than the one that this program was built with: build it there"
                .to_owned()
        }
        _ => format!("build the program on {host} and leave out --push"),
    };
    Refusal::host(format!("this program cannot be copied to {host}{}", after_colon(line)), hint)
}

/// The far machine runs programs of another kind.
pub(crate) fn of_another_kind(host: &str, theirs: &str, ours: &str) -> Refusal {
    Refusal::host(
        format!("{host} is {theirs}, and this program is for {ours}: a copy would not run there"),
        format!("build the program on {host} and leave out --push"),
    )
}

/// The port of the far control cannot be reached through the connection.
pub(crate) fn not_forwarded(host: &str, said: &str) -> Refusal {
    Refusal::host(
        format!("{host} does not let its control port be forwarded{}", after_colon(last_line(said))),
        format!(
            "`AllowTcpForwarding yes` in the sshd_config of {host}, or serve with --control on an address that is \
             reached from here"
        ),
    )
}

fn after_colon(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(": {line}") }
}

/// The last line that says something, without carriage returns.
fn last_line(said: &str) -> &str {
    said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use c10k_plan::ssh::{Destination, SshArgs};

    fn told(said: &str) -> Refusal {
        let destination: Destination = "root@far".parse().expect("one");
        let args = SshArgs { ssh_args: vec!["-p".into(), "2222".into()], ..SshArgs::default() };
        not_connected(&Words::new(&args, &destination, Path::new("/t")), "root@far", said)
    }

    #[test]
    fn each_way_in_which_ssh_fails_has_its_own_words_and_a_hint() {
        let changed =
            "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\n\nHost key verification failed.\r\n";
        for (said, message, hint) in [
            (
                "Host key verification failed.\r\n",
                "the host key of root@far is not known here",
                "fingerprint",
            ),
            (changed, "the host key of root@far is not the one that is known here", "both keys"),
            (
                "root@far: Permission denied (publickey).\r\n",
                "root@far does not let you in: root@far: Permission denied (publickey).",
                "ssh-copy-id",
            ),
            (
                "ssh: Could not resolve hostname far: Name or service not known\r\n",
                "root@far has no address: ssh: Could not resolve hostname far: Name or service not known",
                "alias",
            ),
            (
                "ssh: connect to host far port 2222: Connection refused\r\n",
                "no ssh connection to root@far: ssh: connect to host far port 2222: Connection refused",
                "`ssh -p 2222 root@far true`",
            ),
            ("", "ssh to root@far ended without a word", "`ssh -p 2222 root@far true`"),
        ] {
            let refusal = told(said);
            assert_eq!(refusal.message, message);
            assert!(refusal.hint.as_deref().is_some_and(|is| is.contains(hint)), "{:?}", refusal.hint);
            assert_eq!(refusal.exit, Exit::HostCannot);
        }
    }

    #[test]
    fn what_the_far_server_says_of_itself_is_told_with_its_hint_and_its_exit_code() {
        let said = "warning: x\nerror: 10.0.0.1:9000 is in use\nhint: ss -ltnp shows by whom\n";
        let refusal = not_serving("far", "c10k-lab", Some(3), said);
        assert_eq!(refusal.message, "c10k-lab on far does not serve: 10.0.0.1:9000 is in use");
        assert_eq!(refusal.hint.as_deref(), Some("on far: ss -ltnp shows by whom"));
        assert_eq!(refusal.exit, Exit::HostCannot);
        let refusal = not_serving("far", "c10k-lab", Some(2), "error: unrecognized subcommand 'serve'\n");
        assert!(refusal.hint.as_deref().is_some_and(|hint| hint.starts_with("--push")), "{refusal:?}");
        let refusal = not_serving("far", "/x", None, "Killed\n");
        assert_eq!(refusal.message, "/x on far ended before it served: Killed");
    }

    #[test]
    fn a_copy_that_does_not_run_says_why() {
        let glibc = "/root/c10k-lab: /lib/libc.so.6: version `GLIBC_2.36' not found\n";
        assert!(not_copied("far", glibc).hint.is_some_and(|hint| hint.contains("C library")));
        let full = "cat: write error: No space left on device\n";
        assert!(not_copied("far", full).hint.is_some_and(|hint| hint.contains("room")));
    }
}
