//! The flags with which a run starts its server over ssh.

use std::fmt;
use std::str::FromStr;

use clap::Args;

/// Where the server of a run is started, and how ssh gets there.
#[derive(Clone, Debug, Default, Args)]
pub struct SshArgs {
    /// With --topology remote, instead of --control: start `c10k-lab serve` over ssh, on the address that ssh reaches, and
    /// speak with it through the same connection. The far server ends with that connection. ssh asks for nothing: the
    /// host's key is known already, and a key or an agent lets you in.
    #[arg(long, value_name = "[USER@]HOST", conflicts_with_all = ["server_pid", "server_port", "token_file"])]
    pub ssh: Option<Destination>,
    /// With --ssh: copy this program to the far end, into .cache/c10k-lab of the user's home there, unless the same one is
    /// there already.
    #[arg(long)]
    pub push: bool,
    /// With --ssh: a word for ssh, as in --ssh-arg -p --ssh-arg 2222; may be given several times.
    #[arg(long = "ssh-arg", value_name = "WORD", allow_hyphen_values = true)]
    pub ssh_args: Vec<String>,
}

/// What ssh(1) calls its destination: `[user@]host`, an alias of its configuration, or `ssh://[user@]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(String);

impl Destination {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Destination {
    type Err = String;

    /// ssh itself judges names. Refused is what it would take for something else: a flag, several words, no host.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let host = text.rsplit('@').next().unwrap_or_default();
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
        match host.is_empty() || text.starts_with(['-', '@']) || !text.chars().all(is_plain) {
            true => Err(format!("'{text}' is no host for ssh: expected USER@HOST, HOST or an alias of it")),
            false => Ok(Self(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_host_with_or_without_a_user_and_never_a_flag() {
        for text in ["host", "root@192.168.1.10", "user@fe80::1%eth0", "ssh://user@host:2222", "a@b@host"] {
            assert_eq!(text.parse::<Destination>().expect(text).as_str(), text);
        }
        for text in ["", "-oProxyCommand=id", "@host", "user@", "two words", "a\nb", "a\0b"] {
            let error = text.parse::<Destination>().expect_err(text);
            assert!(error.contains("expected USER@HOST"), "{error}");
        }
    }
}
