//! Sides that would run as the base does, because what they ask for, or more, stands already.

use c10k_kernel::sysctl::SysctlRoot;
use c10k_plan::experiment::arm::Arm;
use c10k_plan::experiment::setting::ActsOn;
use c10k_plan::say::refusal::Refusal;
use c10k_profile::{DiffRow, Live, Profile, Settable, Why, diff};

use crate::isolate::own_hash;

/// Refuses a side whose hash is never made, or of whose host-wide sysctl more stands: its answer would be that of the base
/// against itself.
pub(super) fn refuse_what_stands(arms: &[Arm]) -> Result<(), Refusal> {
    for arm in arms {
        let Ok(profile) = Profile::from_text(&arm.profile) else { continue };
        let live = Live::here(&profile)
            .map_err(|error| Refusal::host(format!("cannot read this process's limits: {error}"), ""))?;
        if let Some(told) = hash_is_there(arm, &live.root).or_else(|| more_stands(arm, &profile, &live)) {
            let hint = "compare values above what stands, or run the sweep on a host with less of it";
            return Err(Refusal::host(told, hint));
        }
    }
    Ok(())
}

/// Why a side's own hash of established connections is not made; nothing where it is, or the side asks for none.
fn hash_is_there(arm: &Arm, root: &SysctlRoot) -> Option<String> {
    let is_set = arm.all().any(|setting| matches!(setting.acts_on, ActsOn::Profile("namespace", ..)));
    let wanted = Profile::from_text(&arm.profile).ok().filter(|_| is_set)?.namespace.ehash_entries?;
    let present = own_hash::entries_of_a_new_one(root)?;
    (wanted <= present).then(|| {
        format!(
            "namespace.ehash_entries = {wanted} is never made: a namespace on this host has {present} already, and a \
             hash that is no larger is not made"
        )
    })
}

/// A host-wide sysctl of a side that is not set, because more stands.
fn more_stands(arm: &Arm, profile: &Profile, live: &Live) -> Option<String> {
    let is_the_sides = |row: &DiffRow| {
        arm.all().any(|setting| matches!(&setting.acts_on, ActsOn::Profile(_, key, _) if *key == row.setting))
    };
    let is_more = |row: &DiffRow| matches!(row.settable, Settable::No { why: Why::MoreStands(_), .. });
    let row = diff(profile, live).into_iter().find(|row| is_more(row) && is_the_sides(row))?;
    let present = row.present.unwrap_or_default();
    Some(format!(
        "{} = {} cannot be tried: more stands already, {present}, on the whole host",
        row.setting, row.wanted
    ))
}

#[cfg(test)]
mod tests {
    use c10k_kernel::sysctl::Scopes;
    use toml_edit::Value;

    use super::*;
    use c10k_plan::experiment::setting::Setting;
    use c10k_plan::resolve::default_plan;

    fn arm(table: &'static str, key: &str, value: Value) -> Arm {
        let acts_on = ActsOn::Profile(table, key.to_owned(), value);
        let setting = Setting { key: key.to_owned(), told: String::new(), acts_on, place: None };
        Arm::of("arm-1".to_owned(), None, (&default_plan(), &[]), vec![setting]).expect("a side")
    }

    /// A host with these settings.
    fn host(settings: &[(&str, &str)]) -> (tempfile::TempDir, SysctlRoot) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = SysctlRoot::at(folder.path());
        for (key, value) in settings {
            let path = root.path(key).expect("a key");
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, value).expect("written");
        }
        (folder, root)
    }

    #[test]
    fn a_hash_is_made_only_where_it_is_larger_than_what_a_namespace_has() {
        let side = |entries: i64| arm("namespace", "ehash_entries", entries.into());
        let is_refused = |entries: i64, root: &SysctlRoot| hash_is_there(&side(entries), root).is_some();
        let (_folder, shared) =
            host(&[("net.ipv4.tcp_ehash_entries", "-4096"), ("net.ipv4.tcp_child_ehash_entries", "0")]);
        assert_eq!([2048, 4096, 8192].map(|entries| is_refused(entries, &shared)), [true, true, false]);
        let told = hash_is_there(&side(1024), &shared).expect("a refusal");
        assert!(told.contains("ehash_entries = 1024") && told.contains("has 4096 already"), "{told}");
        let (_folder, own) =
            host(&[("net.ipv4.tcp_ehash_entries", "4096"), ("net.ipv4.tcp_child_ehash_entries", "1024")]);
        assert_eq!([1024, 2048].map(|entries| is_refused(entries, &own)), [true, false]);
        let (_folder, older) = host(&[]);
        assert!(!is_refused(1024, &older), "what such a kernel lacks is told by the trial");
    }

    #[test]
    fn of_a_host_wide_limit_more_is_refused_and_the_same_or_less_is_not() {
        const KEY: &str = "net.core.netdev_max_backlog";
        let (_folder, root) = host(&[(KEY, "1000\n")]);
        let told = |wanted: i64| {
            let arm = arm("sysctl", KEY, wanted.into());
            let profile = Profile::from_text(&arm.profile).expect("a profile");
            let scopes = Scopes::from_listing(&profile.keys(), Some(&[]));
            more_stands(&arm, &profile, &Live::at(root.clone(), scopes).expect("limits"))
        };
        let refused = told(300).expect("more stands");
        assert!(
            refused.contains("netdev_max_backlog = 300") && refused.contains("stands already, 1000"),
            "{refused}"
        );
        assert_eq!((told(1000), told(30_000)), (None, None));
    }

    #[test]
    fn what_the_plans_own_profile_asks_for_is_no_side_of_the_sweep() {
        let (_folder, root) = host(&[("net.core.netdev_max_backlog", "100000")]);
        let arm = arm("sysctl", "net.core.somaxconn", 128.into());
        let mut profile = Profile::from_text(&arm.profile).expect("a profile");
        let raised = Profile::from_text(
            "name = \"x\"\nsummary = \"x\"\n[sysctl]\n\"net.core.netdev_max_backlog\" = 5000\n",
        );
        profile.sysctl.extend(raised.expect("a profile").sysctl);
        let scopes = Scopes::from_listing(&profile.keys(), Some(&[]));
        assert_eq!(more_stands(&arm, &profile, &Live::at(root, scopes).expect("limits")), None);
    }
}
