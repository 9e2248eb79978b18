//! A profile's descriptor limit beside this process's.

use c10k_kernel::limits::Limit;

use super::change::Why;
use crate::text::NofileLimit;

/// Whether RLIMIT_NOFILE is to be changed, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Nofile {
    AlreadySo,
    Set(Limit),
    /// Out of reach; `best` is the nearest that this process may set.
    Beyond {
        best: Limit,
        why: Why,
    },
}

/// Judges a wish, and gives the wish as text.
pub(crate) fn judge_nofile(
    wanted: NofileLimit,
    now: Limit,
    nr_open: Option<u64>,
    may_raise_hard: bool,
) -> (String, Nofile) {
    let at_hard = Limit { soft: now.hard, hard: now.hard };
    let count = match wanted {
        NofileLimit::Hard if now.soft >= now.hard => return ("hard".to_owned(), Nofile::AlreadySo),
        NofileLimit::Hard => return ("hard".to_owned(), Nofile::Set(at_hard)),
        NofileLimit::AtLeast(count) => count,
    };
    let judgement = if now.soft >= count {
        Nofile::AlreadySo
    } else if now.hard >= count {
        Nofile::Set(Limit { soft: count, hard: now.hard })
    } else if let Some(nr_open) = nr_open.filter(|&nr_open| count > nr_open) {
        let best = if may_raise_hard { Limit { soft: nr_open, hard: nr_open } } else { at_hard };
        let best = if best.hard < now.hard { at_hard } else { best };
        Nofile::Beyond { best, why: Why::AboveNrOpen { nr_open } }
    } else if may_raise_hard {
        Nofile::Set(Limit { soft: count, hard: count })
    } else {
        Nofile::Beyond { best: at_hard, why: Why::AboveHardLimit { hard: now.hard } }
    };
    (count.to_string(), judgement)
}

/// The commands that would allow the wish in the shell that starts the program next.
pub(crate) fn nofile_command(wanted: &str, why: &Why) -> String {
    let raise = format!("sudo prlimit --pid $$ --nofile={wanted}:{wanted}");
    match why {
        Why::AboveNrOpen { .. } => format!("sudo sysctl -w 'fs.nr_open={wanted}' && {raise}"),
        _ => raise,
    }
}

pub(crate) fn show_limit(limit: Limit) -> String {
    let show = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
    format!("soft {}, hard {}", show(limit.soft), show(limit.hard))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Limit = Limit { soft: 1024, hard: 20_000 };
    const NR_OPEN: Option<u64> = Some(1_048_576);

    fn judged(wanted: NofileLimit, now: Limit, may_raise_hard: bool) -> Nofile {
        judge_nofile(wanted, now, NR_OPEN, may_raise_hard).1
    }

    #[test]
    fn the_soft_limit_goes_up_to_the_hard_one_without_any_privilege() {
        assert_eq!(judged(NofileLimit::Hard, NOW, false), Nofile::Set(Limit { soft: 20_000, hard: 20_000 }));
        let full = Limit { soft: 20_000, hard: 20_000 };
        assert_eq!(judged(NofileLimit::Hard, full, false), Nofile::AlreadySo);
    }

    #[test]
    fn a_count_within_the_hard_limit_leaves_the_hard_limit_alone() {
        assert_eq!(
            judged(NofileLimit::AtLeast(5000), NOW, true),
            Nofile::Set(Limit { soft: 5000, hard: 20_000 })
        );
        assert_eq!(judged(NofileLimit::AtLeast(512), NOW, true), Nofile::AlreadySo);
    }

    #[test]
    fn a_count_above_the_hard_limit_takes_a_capability_and_is_named_without_it() {
        let wanted = NofileLimit::AtLeast(100_000);
        assert_eq!(judged(wanted, NOW, true), Nofile::Set(Limit { soft: 100_000, hard: 100_000 }));
        let Nofile::Beyond { best, why } = judged(wanted, NOW, false) else { panic!("must be out of reach") };
        assert_eq!(best, Limit { soft: 20_000, hard: 20_000 });
        assert_eq!(why.to_string(), "above the hard limit of 20000, which takes CAP_SYS_RESOURCE to raise");
        assert_eq!(nofile_command("100000", &why), "sudo prlimit --pid $$ --nofile=100000:100000");
    }

    #[test]
    fn a_count_above_nr_open_is_named_even_with_the_capability() {
        let wanted = NofileLimit::AtLeast(2_000_000);
        let Nofile::Beyond { best, why } = judged(wanted, NOW, true) else { panic!("must be out of reach") };
        assert_eq!(best, Limit { soft: 1_048_576, hard: 1_048_576 });
        assert_eq!(why, Why::AboveNrOpen { nr_open: 1_048_576 });
        assert!(nofile_command("2000000", &why).starts_with("sudo sysctl -w 'fs.nr_open=2000000' && "));
    }

    #[test]
    fn an_unlimited_hard_limit_is_never_made_smaller() {
        let now = Limit { soft: 1024, hard: u64::MAX };
        assert_eq!(
            judged(NofileLimit::AtLeast(2_000_000), now, true),
            Nofile::Set(Limit { soft: 2_000_000, hard: u64::MAX })
        );
    }
}
