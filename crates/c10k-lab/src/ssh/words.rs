//! The command lines of ssh(1), and what a shell at the far end is told. Words only: nothing is started here.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use c10k_plan::ssh::{Destination, SshArgs};
use c10k_record::shell;

/// How ssh is called for one far end. All that it is asked for goes through one connection, whose master listens on a
/// socket here (ControlMaster of ssh_config(5)).
#[derive(Debug)]
pub(crate) struct Words<'a> {
    destination: &'a Destination,
    own: &'a [String],
    socket: &'a Path,
}

/// What a user's configuration may not change: it would end the connection early, run something else, or forward more.
/// The first value of an option is the one that counts (ssh_config(5)).
const FIXED: [&str; 5] = [
    "ControlPersist=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
];

/// What stands unless the user's words say otherwise: no question is asked that nobody would answer, and a connection
/// that is cut without a word is seen within 15 s.
const UNLESS_SAID: [&str; 4] =
    ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3"];

impl<'a> Words<'a> {
    pub(crate) fn new(args: &'a SshArgs, destination: &'a Destination, socket: &'a Path) -> Self {
        Self { destination, own: &args.ssh_args, socket }
    }

    /// The connection: it stays until its process is told to end.
    pub(crate) fn master(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["-M", "-N", "-T"].map(Into::into).to_vec();
        words.extend(["-S".into(), self.socket.into()]);
        options(&mut words, &FIXED);
        words.extend(self.own.iter().map(Into::into));
        options(&mut words, &UNLESS_SAID);
        self.towards(words)
    }

    /// A shell's lines at the far end, through the connection.
    pub(crate) fn session(&self, script: &str) -> Vec<OsString> {
        let mut words = self.towards(self.through());
        // Login shells differ; what sh(1) reads does not.
        words.push(format!("exec sh -c {}", shell::apostrophes(script)).into());
        words
    }

    /// A port of 127.0.0.1 here that leads to an address of the far end.
    pub(crate) fn forward(&self, here: SocketAddr, far: SocketAddr) -> Vec<OsString> {
        let mut words = self.through();
        words.extend(["-O", "forward", "-L"].map(OsString::from));
        words.push(format!("{}:{}:{}:{}", here.ip(), here.port(), bracketed(far), far.port()).into());
        self.towards(words)
    }

    /// The line with which a person sees the same by hand.
    pub(crate) fn by_hand(&self, command: &str) -> String {
        let mut words = vec!["ssh".to_owned()];
        words.extend_from_slice(self.own);
        words.push(self.destination.as_str().to_owned());
        words.extend((!command.is_empty()).then(|| command.to_owned()));
        shell::line(&words)
    }

    /// The connection that stands, and no other: where it is gone ssh would make a new one, which false(1) prevents.
    fn through(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["-F", "none", "-T"].map(Into::into).to_vec();
        words.extend(["-S".into(), self.socket.into()]);
        options(&mut words, &["ControlMaster=no", "ProxyCommand=false", "BatchMode=yes", "LogLevel=ERROR"]);
        words
    }

    fn towards(&self, mut words: Vec<OsString>) -> Vec<OsString> {
        words.extend(["--".into(), self.destination.as_str().into()]);
        words
    }
}

fn options(words: &mut Vec<OsString>, options: &[&str]) {
    for option in options {
        words.extend(["-o".into(), (*option).into()]);
    }
}

fn bracketed(address: SocketAddr) -> String {
    if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() }
}

/// What a far end's lines begin with: what a login shell prints by itself does not.
pub(crate) const MARK: &str = "c10k-far:";

/// Where a copied program lies, for the far shell.
const COPY: &str = "$HOME/.cache/c10k-lab/c10k-lab";

/// Asks the far end what it is: its system, the addresses of this connection, and which programs it has, each with its
/// build. The one on its PATH comes first.
pub(crate) fn look() -> String {
    format!(
        "echo \"{MARK} system $(uname -s) $(uname -m)\"\n\
         echo \"{MARK} connection ${{SSH_CONNECTION-}}\"\n\
         for name in c10k-lab \"{COPY}\"; do\n\
         path=$(command -v \"$name\" 2>/dev/null) && [ -x \"$path\" ] || continue\n\
         echo \"{MARK} program $path\"\n\
         echo \"{MARK} build $(\"$path\" serve --print-build 2>/dev/null </dev/null)\"\n\
         done\n\
         exit 0"
    )
}

/// Takes a program of so many bytes from stdin, and says where it lies. It takes the place of an older one in one step,
/// and only when it is whole and runs there.
pub(crate) fn take_program(bytes: u64) -> String {
    format!(
        "umask 077\n\
         to=\"{COPY}\"\n\
         new=$to.$$\n\
         trap 'rm -f \"$new\"' EXIT\n\
         trap 'exit 1' HUP INT TERM\n\
         mkdir -p \"${{to%/*}}\" && cat >\"$new\" && chmod 700 \"$new\" || exit 1\n\
         [ \"$(wc -c <\"$new\")\" -eq {bytes} ] || {{ echo 'only a part of it arrived' >&2; exit 1; }}\n\
         \"$new\" --version >/dev/null || exit 1\n\
         mv -f \"$new\" \"$to\" && echo \"{MARK} copied $to\""
    )
}

/// Starts the server. The token is the first line of stdin, so that no list of processes shows it; the end of stdin,
/// which is that of the connection, ends the server.
pub(crate) fn serve(program: &str, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| shell::apostrophes(word)).collect();
    format!(
        "IFS= read -r C10K_TOKEN || exit 1\n\
         export C10K_TOKEN\n\
         exec {} serve {}",
        shell::apostrophes(program),
        words.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn strings(words: &[OsString]) -> Vec<&str> {
        words.iter().map(|word| word.to_str().expect("text")).collect()
    }

    #[test]
    fn the_users_words_stand_above_what_is_usual_and_below_what_is_needed() {
        let destination: Destination = "user@host".parse().expect("one");
        let args = SshArgs { ssh_args: vec!["-p".into(), "2222".into()], ..SshArgs::default() };
        let words = Words::new(&args, &destination, Path::new("/t/s")).master();
        let words = strings(&words);
        let at = |word: &str| words.iter().position(|is| *is == word).unwrap_or_else(|| panic!("{word}"));
        assert!(at("ControlPersist=no") < at("2222") && at("2222") < at("BatchMode=yes"));
        assert_eq!(words[words.len() - 2..], ["--", "user@host"]);
    }

    #[test]
    fn what_goes_through_the_connection_never_makes_a_new_one() {
        let destination: Destination = "host".parse().expect("one");
        let args = SshArgs { ssh_args: vec!["-p".into(), "2222".into()], ..SshArgs::default() };
        let words = Words::new(&args, &destination, Path::new("/t/s"));
        let far = "[::1]:9900".parse().expect("an address");
        let forward = words.forward("127.0.0.1:4711".parse().expect("an address"), far);
        assert!(strings(&forward).contains(&"127.0.0.1:4711:[::1]:9900"), "{forward:?}");
        for through in [forward, words.session("true")] {
            let through = strings(&through);
            assert!(through.contains(&"ProxyCommand=false") && through.contains(&"/t/s"), "{through:?}");
            assert!(!through.contains(&"2222"), "of no use where nothing is connected: {through:?}");
        }
        assert_eq!(words.by_hand("true"), "ssh -p 2222 host true");
    }

    #[test]
    fn the_token_is_in_the_environment_of_the_server_and_on_no_command_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("it's a program");
        std::fs::write(&program, "#!/bin/sh\necho \"$C10K_TOKEN|$*\"; cat\n").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).expect("permitted");
        let script = serve(&program.display().to_string(), &["--profile".into(), "a b'c".into()]);
        std::fs::write(folder.path().join("in"), "s3cret-s3cret-s3cret\nrest\n").expect("written");
        let input = std::fs::File::open(folder.path().join("in")).expect("it");
        let output = Command::new("sh").args(["-c", &script]).stdin(input).output().expect("sh");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(stdout, "s3cret-s3cret-s3cret|serve --profile a b'c\nrest\n", "{output:?}");
        assert!(!script.contains("s3cret"));
    }

    #[test]
    fn a_copy_is_whole_and_runs_or_is_not_there() {
        let home = tempfile::tempdir().expect("a folder");
        let there = home.path().join(".cache/c10k-lab/c10k-lab");
        let take = |content: &str, bytes: u64| {
            std::fs::write(home.path().join("in"), content).expect("written");
            let input = std::fs::File::open(home.path().join("in")).expect("it");
            let mut sh = Command::new("sh");
            sh.args(["-c", &take_program(bytes)]).env("HOME", home.path()).stdin(input);
            sh.output().expect("sh")
        };
        let good = "#!/bin/sh\necho it runs\n";
        let cut = take(good, 1 + good.len() as u64);
        assert!(!cut.status.success() && !there.exists(), "{cut:?}");
        assert!(String::from_utf8_lossy(&cut.stderr).contains("only a part"), "{cut:?}");
        let foreign = "#!/bin/sh\nexit 1\n";
        assert!(!take(foreign, foreign.len() as u64).status.success() && !there.exists());
        let copied = take(good, good.len() as u64);
        assert_eq!(
            String::from_utf8_lossy(&copied.stdout),
            format!("{MARK} copied {}\n", there.display()),
            "{copied:?}"
        );
        assert_eq!(std::fs::read_to_string(&there).expect("it"), good);
        let left = std::fs::read_dir(there.parent().expect("a folder")).expect("it").count();
        assert_eq!(left, 1, "only the program is there");
    }
}
