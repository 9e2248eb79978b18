//! Sysctls that this kernel does not have, and what may have been meant.

use c10k_kernel::files;
use c10k_kernel::sysctl::{SysctlRoot, is_in_the_first_namespace_alone};
use c10k_record::nearest;

use super::live::is_first_namespace;
use crate::text::Profile;

/// Names that guides still have: beginning of the key, and what became of it.
const GONE: &[(&str, &str)] = &[
    ("net.ipv4.tcp_tw_recycle", "is gone since Linux 4.12 and did harm before: leave it out"),
    ("net.ipv4.ip_conntrack_", "is called net.netfilter.nf_conntrack_… now"),
    ("net.ipv4.netfilter.ip_conntrack_", "is called net.netfilter.nf_conntrack_… now"),
];

/// Settings that come with a module: beginning of the key, and the module.
const OF_MODULES: &[(&str, &str)] =
    &[("net.netfilter.nf_conntrack_", "nf_conntrack"), ("net.bridge.", "br_netfilter")];

/// The keys that the profile cannot do without and that this kernel does not have. From the machine's first
/// network namespace this is certain; in another one, a host-wide `net.*` key cannot be told from an unknown
/// one and is not listed.
#[must_use]
pub fn unknown_keys(profile: &Profile, root: &SysctlRoot) -> Vec<String> {
    let first = is_first_namespace(root);
    let is_unknown = |key: &str| !root.exists(key) && (first || !is_in_the_first_namespace_alone(key));
    profile
        .sysctl
        .iter()
        .filter(|(key, wanted)| !wanted.optional && is_unknown(key))
        .map(|(key, _)| key.clone())
        .collect()
}

/// What to do about keys that this kernel does not have: what became of each, which module brings it, or which name is
/// nearest to it.
#[must_use]
pub fn hint_for_unknown(keys: &[String], root: &SysctlRoot) -> String {
    let told: Vec<String> = keys.iter().filter_map(|key| what_was_meant(key, root)).collect();
    let optional = "a profile marks what it can do without { value = …, optional = true }";
    match told.is_empty() {
        true => format!("correct the name; {optional}"),
        false => format!("{}; {optional}", told.join("; ")),
    }
}

/// The same of one key, where anything is known of it.
#[must_use]
pub fn what_was_meant(key: &str, root: &SysctlRoot) -> Option<String> {
    let begins = |(name, _): &&(&str, &str)| key.starts_with(*name);
    if let Some((_, became)) = GONE.iter().find(begins) {
        return Some(format!("{key} {became}"));
    }
    if let Some((_, module)) = OF_MODULES.iter().find(begins) {
        return Some(format!("modprobe {module} brings {key}"));
    }
    Some(format!("did you mean {}?", meant(key, root)?))
}

/// The key that is here and nearest to this one, word by word from the left.
fn meant(key: &str, root: &SysctlRoot) -> Option<String> {
    let mut folder = root.folder().to_owned();
    let mut found: Vec<String> = Vec::new();
    for word in key.split('.') {
        let beside = files::list(&folder).ok()?;
        let names = beside.iter().filter_map(|path| path.file_name()?.to_str());
        let name = names.clone().find(|name| *name == word).or_else(|| nearest(word, names))?;
        folder.push(name);
        found.push(name.to_owned());
    }
    let found = found.join(".");
    root.exists(&found).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_told_by_what_is_here() {
        let folder = tempfile::tempdir().unwrap();
        for key in ["net.core.somaxconn", "net.ipv4.tcp_rmem", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_mem"] {
            let path = folder.path().join(key.replace('.', "/"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "1\n").unwrap();
        }
        let root = SysctlRoot::at(folder.path());
        let hint = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            hint_for_unknown(&keys, &root).split("; a profile marks").next().unwrap().to_owned()
        };
        for (typed, told) in [
            ("net.core.somaxcon", "did you mean net.core.somaxconn?"),
            ("net.cor.somaxcomm", "did you mean net.core.somaxconn?"),
            ("net.ipv4.tcp_rmen", "did you mean net.ipv4.tcp_rmem?"),
            // A folder is no setting, and nothing lies below a setting.
            ("net.cor", "correct the name"),
            ("net.ipv4.tcp_rmem.x", "correct the name"),
            ("vm.nosuch", "correct the name"),
            (
                "net.ipv4.tcp_tw_recycle",
                "net.ipv4.tcp_tw_recycle is gone since Linux 4.12 and did harm before: leave it out",
            ),
            ("net.netfilter.nf_conntrack_max", "modprobe nf_conntrack brings net.netfilter.nf_conntrack_max"),
        ] {
            assert_eq!(hint(&[typed]), told);
        }
        let both = hint(&["net.core.somaxcon", "net.ipv4.tcp_rmen", "fs.nosuch"]);
        assert_eq!(both, "did you mean net.core.somaxconn?; did you mean net.ipv4.tcp_rmem?");
    }
}
