//! The compose file, and what Prometheus reads there.

use super::yaml::{Node, document};
use super::{known_flags, text, top, value};

fn services() -> Node {
    document("packaging/compose.yaml").get("services").clone()
}

/// The services of our own programs, with their words.
const OURS: [&str; 2] = ["server", "swarm"];

#[test]
fn our_services_are_started_with_flags_that_the_programs_know() {
    for name in OURS {
        let services = services();
        let words = services.get(name).get("command").texts();
        assert_eq!(words[0], name);
        known_flags(&words[..1], &words[1..]);
        assert_eq!(value(&words, "--profile"), Some("tuned"));
        assert!(words.contains(&"--no-apply"), "{name}: nothing in a container may set a sysctl");
    }
}

#[test]
fn ports_and_names_of_one_service_are_those_that_the_others_use() {
    let services = services();
    let words = |name: &str| services.get(name).get("command").texts();
    let listens = value(&words("server"), "--listen").expect("where it listens").to_owned();
    let server = value(&words("swarm"), "--server").expect("a server").to_owned();
    assert_eq!(server, format!("server{listens}"), "the swarm goes where the server listens");
    // The check of the server's health looks for its first port in /proc/net/tcp.
    let first: u16 =
        listens.trim_start_matches(':').split('-').next().and_then(|port| port.parse().ok()).expect("one");
    let check = services.get("server").get("healthcheck").get("test").texts();
    assert!(check.iter().any(|word| word.starts_with(&format!(":{first:04X} "))), "{check:?}");
    let prometheus = document("packaging/prometheus.yml");
    let job = &prometheus.get("scrape_configs").list()[0];
    let targets = job.get("static_configs").list()[0].get("targets").texts();
    let exposed = text("packaging/Dockerfile");
    let exposed = exposed.lines().find_map(|line| line.strip_prefix("EXPOSE ")).expect("ports");
    let expected: Vec<String> = OURS
        .iter()
        .map(|name| {
            let port = value(&words(name), "--metrics").and_then(|at| at.rsplit(':').next()).expect("a port");
            assert!(exposed.split(' ').any(|one| one == port), "{port} is not exposed");
            format!("{name}:{port}")
        })
        .collect();
    assert_eq!(targets, expected);
    for port in services.get("prometheus").get("ports").texts() {
        assert!(port.starts_with("127.0.0.1:"), "{port}: for this machine alone");
    }
}

#[test]
fn what_a_service_names_is_there() {
    let compose = document("packaging/compose.yaml");
    let services = compose.get("services");
    for name in services.keys() {
        let service = services.get(name);
        if let Some(build) = service.find("build") {
            let context = top().join("packaging").join(build.get("context").text());
            assert!(context.join(build.get("dockerfile").text()).is_file(), "{name}: {build:?}");
        }
        let others = match service.find("depends_on") {
            Some(Node::List(all)) => all.iter().map(Node::text).collect(),
            Some(all) => all.keys(),
            None => Vec::new(),
        };
        assert!(others.iter().all(|other| services.find(other).is_some()), "{name}: {others:?}");
        let networks = service.get("networks").texts();
        assert!(
            networks.iter().all(|network| compose.get("networks").find(network).is_some()),
            "{networks:?}"
        );
        for volume in service.find("volumes").map(Node::texts).unwrap_or_default() {
            let from = volume.split(':').next().expect("a path");
            assert!(top().join("packaging").join(from).is_file(), "{volume}");
            assert!(volume.ends_with(":ro"), "{volume}");
        }
    }
}

#[test]
fn no_service_has_a_right_that_it_does_not_need() {
    let services = services();
    for name in services.keys() {
        let service = services.get(name);
        assert_eq!(service.get("cap_drop").texts(), ["ALL"], "{name}");
        assert!(service.find("cap_add").is_none() && service.find("privileged").is_none(), "{name}");
        assert!(service.find("network_mode").is_none(), "{name}: sysctls would be the machine's");
        assert_eq!(service.get("security_opt").texts(), ["no-new-privileges:true"], "{name}");
    }
    for name in OURS {
        assert_eq!(services.get(name).get("read_only").text(), "true");
        let nofile = services.get(name).get("ulimits").get("nofile");
        assert_eq!(nofile.get("soft"), nofile.get("hard"), "{name}");
    }
}

#[test]
fn the_sysctls_are_of_a_namespace_and_those_of_the_profile() {
    let profile: toml_edit::DocumentMut = text("profiles/tuned.toml").parse().expect("TOML");
    let wanted = profile["sysctl"].as_table().expect("a table");
    let written = |key: &str| -> String {
        let value = &wanted.get(key).unwrap_or_else(|| panic!("{key} is not of the profile tuned"));
        match value.as_array() {
            Some(all) => {
                all.iter().map(|one| one.to_string().trim().to_owned()).collect::<Vec<_>>().join(" ")
            }
            None => value.to_string().trim().to_owned(),
        }
    };
    for name in OURS {
        let services = services();
        let sysctls = services.get(name).get("sysctls");
        for key in sysctls.keys() {
            // Docker takes what is of the container's network namespace, and what it knows of IPC.
            assert!(key.starts_with("net."), "{name}: {key}");
            assert_eq!(sysctls.get(key).text(), written(key), "{name}: {key}");
        }
    }
}
