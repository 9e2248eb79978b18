//! The manifests for Kubernetes: what their schema does not see. The schema itself is asked by
//! `scripts/kubernetes/validate.sh`.

use super::yaml::{Node, documents};
use super::{known_flags, text, value};

/// Sysctls that every kubelet lets a pod set, and since when the last ones (kubernetes.io, "Using sysctls in a Kubernetes
/// Cluster": safe and unsafe sysctls; tcp_rmem and tcp_wmem since 1.32).
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// Ports of one address towards one address and port, from 1,024 on.
const PORTS: u64 = 65_536 - 1_024;

fn swarm() -> Node {
    documents("scripts/kubernetes/swarm.yaml").remove(0)
}

/// The service and the pod of the server's end.
fn serve() -> (Node, Node) {
    let mut all = documents("scripts/kubernetes/serve.yaml");
    assert_eq!(all.len(), 2);
    let pod = all.remove(1);
    (all.remove(0), pod)
}

/// What is in a pod: of a job, and of the server's end.
fn pods() -> [(&'static str, Node); 2] {
    [
        ("swarm", swarm().get("spec").get("template").get("spec").clone()),
        ("serve", serve().1.get("spec").clone()),
    ]
}

fn container(pod: &Node) -> &Node {
    let all = pod.get("containers").list();
    assert_eq!(all.len(), 1);
    &all[0]
}

fn words(pod: &Node) -> Vec<&str> {
    container(pod).get("args").texts()
}

/// The value of a flag that has one.
#[track_caller]
fn given<'a>(words: &[&'a str], flag: &str) -> &'a str {
    value(words, flag).unwrap_or_else(|| panic!("no {flag} in {words:?}"))
}

/// How many ports `ADDRESS:FIRST-LAST` or `ADDRESS:PORT` names.
fn ports(address: &str) -> u64 {
    let ports = address.rsplit(':').next().expect("ports");
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u64>().expect("a port");
    number(last) - number(first) + 1
}

#[test]
fn all_pods_of_the_job_run_at_once_and_none_is_tried_again() {
    let job = swarm();
    let spec = job.get("spec");
    assert_eq!(job.get("kind").text(), "Job");
    assert_eq!(spec.get("completionMode").text(), "Indexed");
    // Fewer at once would wait for each other until the rendezvous gives up.
    assert_eq!(spec.get("completions"), spec.get("parallelism"));
    // Both are taken together with an index of its own and with pods that are not started again alone.
    assert_eq!((spec.get("maxFailedIndexes").text(), spec.get("backoffLimitPerIndex").text()), ("0", "0"));
    assert!(
        spec.find("backoffLimit").is_none(),
        "with backoffLimitPerIndex it would end the job at another count"
    );
    for (name, pod) in pods() {
        assert_eq!(pod.get("restartPolicy").text(), "Never", "{name}");
    }
}

#[test]
fn the_shards_are_as_many_as_the_pods_and_are_numbered_by_kubernetes() {
    let job = swarm();
    let pod = job.get("spec").get("template").get("spec");
    let (index, count) = given(&words(pod), "--shard-from").split_once('/').expect("VAR/VAR");
    assert_eq!(index, "JOB_COMPLETION_INDEX", "what an Indexed Job sets by itself");
    let environment = container(pod).get("env").list();
    let shards = environment.iter().find(|it| it.get("name").text() == count).expect("the count");
    assert_eq!(shards.get("value"), job.get("spec").get("completions"));
}

#[test]
fn each_pod_has_as_many_ports_as_its_slice_needs() {
    let job = swarm();
    let pod = job.get("spec").get("template").get("spec");
    let words = words(pod);
    let of = |text: &str| text.parse::<u64>().expect("a number");
    let slice = of(given(&words, "--target")).div_ceil(of(job.get("spec").get("completions").text()));
    let sysctls = pod.get("securityContext").get("sysctls").list();
    let range = sysctls.iter().find(|it| it.get("name").text() == "net.ipv4.ip_local_port_range");
    assert_eq!(range.expect("ports are what ends first").get("value").text(), "1024 65535");
    assert!(slice <= PORTS * ports(given(&words, "--server")), "{slice} from one address");
    let manifest = text("scripts/kubernetes/swarm.yaml");
    assert!(manifest.contains("A pod has one address") && manifest.contains("64,512"), "{PORTS}");
}

#[test]
fn the_pods_ask_for_safe_sysctls_and_no_right_that_they_do_not_need() {
    let profile: toml_edit::DocumentMut = text("profiles/tuned.toml").parse().expect("TOML");
    for (name, pod) in pods() {
        let security = pod.get("securityContext");
        for sysctl in security.get("sysctls").list() {
            let key = sysctl.get("name").text();
            assert!(SAFE.contains(&key), "{name}: a kubelet refuses the pod for {key}");
            let wanted = profile["sysctl"].get(key).unwrap_or_else(|| panic!("{key} is not of tuned"));
            let wanted: Vec<String> = wanted
                .as_array()
                .map(|all| all.iter().map(|one| one.to_string().trim().to_owned()).collect())
                .unwrap_or_else(|| vec![wanted.to_string().trim().to_owned()]);
            assert_eq!(sysctl.get("value").text(), wanted.join(" "), "{name}: {key}");
        }
        assert_eq!(security.get("runAsNonRoot").text(), "true", "{name}");
        assert!(pod.find("hostNetwork").is_none(), "{name}: sysctls would be the node's");
        assert_eq!(pod.get("automountServiceAccountToken").text(), "false", "{name}");
        let own = container(&pod).get("securityContext");
        assert_eq!(own.get("allowPrivilegeEscalation").text(), "false", "{name}");
        assert_eq!(own.get("readOnlyRootFilesystem").text(), "true", "{name}");
        assert_eq!(own.get("capabilities").get("drop").texts(), ["ALL"], "{name}");
        assert!(words(&pod).contains(&"--no-apply"), "{name}: nothing in a pod may set a sysctl");
    }
}

#[test]
fn the_programs_know_the_flags_and_both_ends_mean_the_same_ports() {
    for (name, pod) in pods() {
        let words = words(&pod);
        assert_eq!(words[0], name);
        known_flags(&words[..1], &words[1..]);
    }
    let [(_, swarm), (_, pod)] = pods();
    let (swarm, serve_words) = (words(&swarm), words(&pod));
    let (service, _) = serve();
    let host = service.get("metadata").get("name").text();
    let listens = given(&serve_words, "--listen");
    assert_eq!(given(&swarm, "--server"), format!("{host}{listens}"));
    let control = given(&serve_words, "--control").rsplit(':').next().expect("a port");
    assert_eq!(given(&swarm, "--rendezvous"), format!("{host}:{control}"));
    // A service without an address of its own: no NAT and no tracked connection between.
    assert_eq!(service.get("spec").get("clusterIP").text(), "None");
    let opened: Vec<&str> =
        container(&pod).get("ports").list().iter().map(|it| it.get("containerPort").text()).collect();
    assert!(opened.contains(&control), "{opened:?}");
    let probe = container(&pod).get("readinessProbe").get("httpGet");
    assert_eq!((probe.get("path").text(), probe.get("port").text()), ("/healthz", "control"));
}

#[test]
fn the_token_is_a_file_of_a_secret_and_what_is_written_has_a_place() {
    for (name, pod) in pods() {
        let words = words(&pod);
        let mounts = container(&pod).get("volumeMounts").list();
        let volume = |path: &str| {
            let mount = mounts.iter().find(|mount| path.starts_with(mount.get("mountPath").text()));
            let mount = mount.unwrap_or_else(|| panic!("{name}: nothing is mounted at {path}"));
            let volumes = pod.get("volumes").list();
            let found = volumes.iter().find(|volume| volume.get("name") == mount.get("name"));
            found.unwrap_or_else(|| panic!("{name}: no volume for {path}")).clone()
        };
        let token = given(&words, "--token-file");
        let secret = volume(token).get("secret").clone();
        // Decimal: 0440 is octal for YAML 1.1 alone. The group that fsGroup names may read it, nobody else.
        assert_eq!(secret.get("defaultMode").text(), 0o440.to_string(), "{name}");
        let written = if name == "swarm" { "--result" } else { "--results" };
        assert!(volume(given(&words, written)).find("emptyDir").is_some(), "{name}");
        let environment = container(&pod).find("env").map(Node::list).unwrap_or_default();
        assert!(environment.iter().all(|it| !it.get("name").text().contains("TOKEN")), "{name}");
    }
}

#[test]
fn both_ends_are_of_one_image_with_the_version_of_this_program() {
    let images: Vec<String> =
        pods().iter().map(|(_, pod)| container(pod).get("image").text().to_owned()).collect();
    let expected = format!("c10k-lab:{}", env!("CARGO_PKG_VERSION"));
    assert!(images.iter().all(|image| *image == expected), "{images:?}");
}
