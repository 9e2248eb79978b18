//! Resource limits of a profile, set on this process; they end with it, so nothing needs undoing.

use c10k_kernel::limits::{self, Cap};
use c10k_kernel::sysctl::{Scope, SysctlRoot};

use crate::compare::{Change, Nofile, NotSet, Why, judge_nofile, nofile_command, show_limit};
use crate::text::Profile;
use crate::write::Applied;

/// Sets this process's limits to what the profile wants, or as near as this process may go; children inherit
/// them. Call it after `fs.nr_open` was raised.
#[must_use]
pub fn apply_limits(profile: &Profile) -> Applied {
    let mut applied = Applied::default();
    let Some(wanted) = profile.limits.nofile else { return applied };
    let (Ok(now), may_raise_hard) =
        (limits::nofile(), limits::has_capability(Cap::SysResource).unwrap_or(false))
    else {
        return applied;
    };
    let nr_open = SysctlRoot::default().nr_open();
    let (shown, judgement) = judge_nofile(wanted, now, nr_open, may_raise_hard);
    let (goal, mut why) = match judgement {
        Nofile::AlreadySo => return applied,
        Nofile::Set(goal) => (goal, None),
        Nofile::Beyond { best, why } => (best, Some(why)),
    };
    if goal != now
        && let Err(error) = limits::set_nofile(goal.soft, goal.hard)
    {
        why = Some(Why::Refused(error.to_string()));
    }
    let after = limits::nofile().unwrap_or(now);
    let key = "limits.nofile".to_owned();
    if after != now {
        applied.set.push(Change { key: key.clone(), before: show_limit(now), after: show_limit(after) });
    }
    if let Some(why) = why {
        applied.not_set.push(NotSet {
            key,
            command: Some(nofile_command(&shown, &why)),
            wanted: shown,
            present: Some(show_limit(after)),
            scope: Scope::Process,
            why,
            optional: false,
        });
    }
    applied
}

#[cfg(test)]
mod tests {
    use c10k_kernel::limits::Cap;

    use super::*;

    #[test]
    fn a_wish_for_the_hard_limit_is_granted_to_this_process() {
        let profile = Profile::from_text("name = 'x'\nsummary = 'x'\n[limits]\nnofile = 'hard'").unwrap();
        let applied = apply_limits(&profile);
        assert_eq!(applied.not_set, []);
        let now = limits::nofile().unwrap();
        assert_eq!(now.soft, now.hard);
    }

    #[test]
    fn a_wish_beyond_the_hard_limit_is_listed_with_its_command_where_nobody_may_raise_it() {
        let before = limits::nofile().unwrap();
        if limits::has_capability(Cap::SysResource).unwrap() || before.hard >= 1_000_000_000 {
            #[allow(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("SKIPPED: this process may raise its hard limit");
            }
            return;
        }
        let text = "name = 'x'\nsummary = 'x'\n[limits]\nnofile = 1000000000";
        let applied = apply_limits(&Profile::from_text(text).unwrap());
        let [not_set] = &applied.not_set[..] else { panic!("{applied:?}") };
        assert!(matches!(not_set.why, Why::AboveHardLimit { .. } | Why::AboveNrOpen { .. }), "{not_set}");
        assert!(not_set.command.as_deref().unwrap().contains("--nofile=1000000000:1000000000"));
        let after = limits::nofile().unwrap();
        assert_eq!((after.soft, after.hard), (before.hard, before.hard), "as near as may be");
    }
}
