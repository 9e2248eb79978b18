//! What must outlive a run, for other programs: a file of sysctl.d(5), and a drop-in of systemd.

use std::path::PathBuf;

use super::kept::{Kept, Outcome};
use super::profile::reason;

/// What is asked for, and where it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Export {
    kind: Kind,
    pub(super) path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// sysctl.d(5).
    Sysctl,
    /// systemd.unit(5), a drop-in of a service.
    Systemd,
}

impl Export {
    /// The words behind each `--export`, two at a time.
    ///
    /// # Errors
    /// One line that names the word and what was expected.
    pub(super) fn read(words: &[String]) -> Result<Vec<Self>, String> {
        words
            .chunks(2)
            .map(|words| match words {
                [kind, path] if kind == "sysctl.d" => Ok(Self { kind: Kind::Sysctl, path: path.into() }),
                [kind, path] if kind == "systemd" => Ok(Self { kind: Kind::Systemd, path: path.into() }),
                [other, ..] => {
                    Err(format!("--export '{other}' is not known: expected sysctl.d or systemd, and a file"))
                }
                [] => Err("--export says nothing: expected sysctl.d or systemd, and a file".to_owned()),
            })
            .collect()
    }

    /// The text of the file; why there is none where nothing of that kind is kept.
    pub(super) fn text(&self, outcome: &Outcome) -> Result<String, String> {
        match self.kind {
            Kind::Sysctl => sysctl(outcome),
            Kind::Systemd => systemd(outcome),
        }
    }
}

fn sysctl(outcome: &Outcome) -> Result<String, String> {
    let kept: Vec<&Kept> = outcome.kept.iter().filter(|kept| kept.lift.is_sysctl()).collect();
    if kept.is_empty() {
        return Err("no sysctl is kept".to_owned());
    }
    let mut lines = vec![head("sysctl.d(5): copy it to /etc/sysctl.d and run `sysctl --system`")];
    for kept in kept {
        lines.extend([String::new(), format!("# {}", reason(kept)), kept.lift.name()]);
    }
    let others = outcome.kept.iter().filter(|kept| !kept.lift.is_sysctl());
    lines.extend(others.map(|kept| format!("\n# Not of a sysctl: {}", kept.lift.name())));
    Ok(lines.join("\n") + "\n")
}

fn systemd(outcome: &Outcome) -> Result<String, String> {
    let nofile = outcome.kept.iter().find(|kept| kept.lift.key == "limits.nofile");
    let Some(nofile) = nofile else { return Err("no limit of a process is kept".to_owned()) };
    let mut lines = vec![
        head(
            "systemd.unit(5): copy it to /etc/systemd/system/NAME.service.d and run `systemctl daemon-reload`",
        ),
        "[Service]".to_owned(),
        format!("# {}", reason(nofile)),
        format!("LimitNOFILE={}", nofile.lift.value),
    ];
    let backlog = outcome.kept.iter().find(|kept| kept.lift.key == "socket.backlog");
    lines.extend(backlog.map(|kept| {
        let value = &kept.lift.value;
        format!("# The program itself asks listen(2) for its backlog ({value}); of a socket unit it is Backlog={value}.")
    }));
    Ok(lines.join("\n") + "\n")
}

fn head(what: &str) -> String {
    format!("# Written by c10k-lab tune {}. {what}.", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::super::kept::Proof;
    use super::super::lift::Lift;
    use super::*;

    fn outcome(kept: &[(&str, &str)]) -> Outcome {
        let mut outcome = Outcome::default();
        for (key, value) in kept {
            let lift = Lift { key: (*key).to_owned(), value: (*value).to_owned(), named_by: "x".to_owned() };
            let proof = Proof {
                metric: "held".to_owned(),
                words: "1 → 2".to_owned(),
                ratio: None,
                pairs: 1,
                before: None,
                at: "2026-11-29T22:00:00Z".to_owned(),
                kernel: "6.18.1".to_owned(),
                sweep: String::new(),
            };
            outcome.keep(&lift, proof);
        }
        outcome
    }

    fn export(kind: &str) -> Export {
        Export::read(&[kind.to_owned(), "file".to_owned()]).expect("known").remove(0)
    }

    #[test]
    fn sysctls_are_lines_with_their_proof_and_limits_are_a_drop_in() {
        let outcome = outcome(&[
            ("net.ipv4.ip_local_port_range", "1024 65535"),
            ("limits.nofile", "5000"),
            ("socket.backlog", "64"),
        ]);
        let text = export("sysctl.d").text(&outcome).expect("a sysctl");
        assert!(text.contains("\n# held: 1 → 2 (1 pair, 2026-11-29, Linux 6.18.1); named by x\nnet.ipv4.ip_local_port_range = 1024 65535\n"), "{text}");
        let settings: Vec<&str> =
            text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(settings, ["net.ipv4.ip_local_port_range = 1024 65535"]);
        let text = export("systemd").text(&outcome).expect("a limit");
        let settings: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(settings, ["[Service]", "LimitNOFILE=5000"]);
        assert!(text.contains("Backlog=64"), "{text}");
    }

    #[test]
    fn where_nothing_of_a_kind_is_kept_there_is_no_file() {
        let outcome = outcome(&[("socket.backlog", "64")]);
        assert_eq!(export("sysctl.d").text(&outcome), Err("no sysctl is kept".to_owned()));
        assert!(export("systemd").text(&outcome).is_err());
    }

    #[test]
    fn an_unknown_kind_is_told_with_what_was_expected() {
        let told = Export::read(&["yaml".to_owned(), "x".to_owned()]).expect_err("unknown");
        assert!(told.contains("'yaml'") && told.contains("sysctl.d or systemd"), "{told}");
    }
}
