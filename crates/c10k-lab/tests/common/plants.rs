//! Which walls can be planted on this machine.

use std::path::Path;

use serde_json::Value;

use super::lab;

/// Whether a group with this controller can be made here: in a tree of its own (version 1), or below the root of the one
/// tree (version 2).
pub(crate) fn has_group(controller: &str) -> bool {
    let root = Path::new("/sys/fs/cgroup");
    let handed_on = std::fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
    root.join(controller).join("cgroup.procs").exists()
        || handed_on.split_whitespace().any(|word| word == controller)
}

/// The walls that say they can be planted, and whose needs are here; says loudly which are left out.
pub(crate) fn plantable() -> Vec<String> {
    let document = lab(&["walls", "--json"]).document();
    let walls = document["walls"].as_array().expect("walls");
    let plantable = walls.iter().filter(|wall| wall["plantable"] == true && has_its_needs(wall));
    plantable.map(|wall| wall["name"].as_str().expect("a name").to_owned()).collect()
}

fn has_its_needs(wall: &Value) -> bool {
    let needs = wall["needs"].as_array().expect("a list");
    let missing = needs.iter().filter_map(Value::as_str).find(|need| match *need {
        "root" => !nix::unistd::geteuid().is_root(),
        "memory-cgroup" => !has_group("memory"),
        "cpu-cgroup" => !has_group("cpu"),
        "conntrack" => !Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists(),
        _ => false,
    });
    if let Some(need) = missing {
        eprintln!("SKIPPED {}: it needs {need}, which is not here", wall["name"]);
    }
    missing.is_none()
}
