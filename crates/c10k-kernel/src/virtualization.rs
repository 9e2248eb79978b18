//! Whether this is a virtual machine, a container, or a container in one, as far as it shows.
//!
//! The places are those that systemd-detect-virt(1) looks at. None of them has to be there: what is not seen is not said.

use std::fs;

use crate::counters::ProcRoot;

/// The pid namespace of the machine itself (include/linux/proc_ns.h, `PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// What a file of DMI begins with, and whose machine that is. Hardware of these makers has other words.
const MACHINES: &[(&str, &str)] = &[
    ("KVM", "KVM"),
    ("QEMU", "QEMU"),
    ("OpenStack", "OpenStack"),
    ("KubeVirt", "KubeVirt"),
    ("Amazon EC2", "Amazon EC2"),
    ("Google Compute Engine", "Google Compute Engine"),
    ("VMware", "VMware"),
    ("VMW", "VMware"),
    ("innotek GmbH", "VirtualBox"),
    ("VirtualBox", "VirtualBox"),
    ("Xen", "Xen"),
    ("Bochs", "Bochs"),
    ("Parallels", "Parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "Hyper-V"),
    ("Apple Virtualization", "Apple Virtualization"),
];

/// In words, such as `KVM`, `container (docker)` or `container (kubernetes) in VMware`; `None` when neither is seen.
#[must_use]
pub fn virtualization(root: &ProcRoot) -> Option<String> {
    let machine = virtual_machine(root);
    match (container(root), machine) {
        (Some(kind), Some(machine)) => Some(format!("{kind} in {machine}")),
        (kind, machine) => kind.or(machine),
    }
}

fn text(root: &ProcRoot, below: &str) -> Option<String> {
    let bytes = fs::read(root.path(below)).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim_matches(['\0', '\n', ' ']).to_owned();
    (!text.is_empty()).then_some(text)
}

fn container(root: &ProcRoot) -> Option<String> {
    let kind = named_container(root);
    let kind = kind.map(|kind| if kind == "container" { kind } else { format!("container ({kind})") });
    // Whatever made it, its processes are numbered by themselves.
    let pids = || fs::read_link(root.path("proc/self/ns/pid")).ok();
    let is_apart = || pids().is_some_and(|link| link.as_os_str() != FIRST_PID_NAMESPACE);
    kind.or_else(|| is_apart().then(|| "container".to_owned()))
}

fn named_container(root: &ProcRoot) -> Option<String> {
    // What systemd found when it started, or the container's maker says (systemd's container interface).
    let said =
        ["run/host/container-manager", "run/systemd/container"].iter().find_map(|file| text(root, file));
    // The environment of the first process, for root.
    let environment = || {
        let all = text(root, "proc/1/environ")?;
        all.split('\0').find_map(|entry| entry.strip_prefix("container=")).map(str::to_owned)
    };
    let own = || root.is_live().then(|| std::env::var_os("KUBERNETES_SERVICE_HOST")).flatten();
    let marks = || {
        if root.path(".dockerenv").exists() {
            Some("docker")
        } else if root.path("run/.containerenv").exists() {
            Some("podman")
        } else if root.path("proc/vz").exists() && !root.path("proc/bc").exists() {
            Some("openvz")
        } else if text(root, "proc/sys/kernel/osrelease")
            .is_some_and(|it| it.contains("icrosoft") || it.contains("WSL"))
        {
            Some("wsl")
        } else if own().is_some() {
            Some("kubernetes")
        } else {
            None
        }
    };
    let by_group = || {
        let groups = text(root, "proc/1/cgroup")?;
        let makers = [
            ("/kubepods", "kubernetes"),
            ("/docker", "docker"),
            ("/libpod", "podman"),
            ("/lxc", "lxc"),
            ("/containerd", "containerd"),
        ];
        makers.iter().find(|(path, _)| groups.contains(path)).map(|(_, maker)| (*maker).to_owned())
    };
    said.or_else(environment)
        .or_else(|| marks().map(str::to_owned))
        .or_else(by_group)
        .filter(|kind| !kind.is_empty())
}

fn virtual_machine(root: &ProcRoot) -> Option<String> {
    // The first domain of Xen drives the hardware itself.
    if text(root, "proc/xen/capabilities").is_some_and(|it| it.contains("control_d")) {
        return None;
    }
    let dmi = |file: &str| text(root, &format!("sys/class/dmi/id/{file}"));
    let product = dmi("product_name");
    let words: Vec<String> = ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"]
        .iter()
        .filter_map(|file| dmi(file))
        .collect();
    let known =
        |word: &String| MACHINES.iter().find(|(begin, _)| word.starts_with(begin)).map(|(_, name)| *name);
    let hyper_v = || {
        let vendor = dmi("sys_vendor").is_some_and(|vendor| vendor == "Microsoft Corporation");
        (vendor && product.as_deref() == Some("Virtual Machine")).then_some("Hyper-V")
    };
    // Whole machines of that cloud are called so too.
    let is_metal =
        product.as_deref().is_some_and(|product| product.ends_with(".metal") || product.contains(".metal-"));
    if let Some(name) = words.iter().find_map(known).or_else(hyper_v).filter(|_| !is_metal) {
        return Some(name.to_owned());
    }
    by_firmware(root).or_else(|| {
        // x86 alone has such a flag; who sets it may say nothing else.
        let cpus = text(root, "proc/cpuinfo")?;
        let flags = cpus.lines().find(|line| line.starts_with("flags"))?;
        let flagged = flags.split_whitespace().any(|flag| flag == "hypervisor");
        flagged.then(|| dmi("sys_vendor").unwrap_or_else(|| "hypervisor".to_owned()))
    })
}

/// Where there is no DMI: Xen's own folder, the device tree (aarch64, ppc64), what the system says of itself (s390x).
fn by_firmware(root: &ProcRoot) -> Option<String> {
    if text(root, "sys/hypervisor/type").is_some_and(|kind| kind == "xen") {
        return Some("Xen".to_owned());
    }
    if let Some(compatible) = text(root, "proc/device-tree/hypervisor/compatible") {
        let name = [("kvm", "KVM"), ("xen", "Xen"), ("vmware", "VMware")];
        let known = name.iter().find(|(word, _)| compatible.contains(word)).map(|(_, name)| *name);
        return Some(known.unwrap_or("hypervisor").to_owned());
    }
    let control = text(root, "proc/sysinfo")?;
    let program = control.lines().find(|line| line.contains("Control Program"))?;
    Some(if program.contains("KVM") { "KVM" } else { "z/VM" }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(files: &[(&str, &str)], expected: Option<&str>) {
        let host = tempfile::tempdir().unwrap();
        for (below, text) in files {
            let path = host.path().join(below);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(virtualization(&ProcRoot::recorded(host.path())).as_deref(), expected, "{files:?}");
    }

    const FLAGGED: (&str, &str) = ("proc/cpuinfo", "processor: 0\nflags\t\t: fpu hypervisor sse\n");
    const VENDOR: &str = "sys/class/dmi/id/sys_vendor";
    const PRODUCT: &str = "sys/class/dmi/id/product_name";

    #[test]
    fn a_virtual_machine_is_told_by_what_its_maker_left_on_any_architecture() {
        expect(&[], None);
        expect(&[(VENDOR, "QEMU\n"), FLAGGED], Some("QEMU"));
        // aarch64 has no such flag.
        expect(&[(VENDOR, "Amazon EC2\n"), (PRODUCT, "c7g.large\n")], Some("Amazon EC2"));
        expect(&[(VENDOR, "Google\n"), (PRODUCT, "Google Compute Engine\n")], Some("Google Compute Engine"));
        expect(&[("proc/device-tree/hypervisor/compatible", "linux,kvm\0")], Some("KVM"));
        expect(&[("sys/hypervisor/type", "xen\n")], Some("Xen"));
        expect(&[(VENDOR, "innotek GmbH\n"), FLAGGED], Some("VirtualBox"));
        expect(
            &[(VENDOR, "Microsoft Corporation\n"), (PRODUCT, "Virtual Machine\n"), FLAGGED],
            Some("Hyper-V"),
        );
        expect(&[(VENDOR, "Some Cloud\n"), FLAGGED], Some("Some Cloud"));
        expect(&[FLAGGED], Some("hypervisor"));
        expect(&[("proc/sysinfo", "Manufacturer: IBM\nVM00 Control Program: KVM/Linux\n")], Some("KVM"));
    }

    #[test]
    fn hardware_of_a_maker_that_also_rents_machines_is_hardware() {
        expect(&[(VENDOR, "Amazon EC2\n"), (PRODUCT, "c5.metal\n")], None);
        expect(&[(VENDOR, "Amazon EC2\n"), (PRODUCT, "m7i.metal-24xl\n")], None);
        expect(&[(VENDOR, "Microsoft Corporation\n"), (PRODUCT, "Surface Book\n")], None);
        expect(&[(VENDOR, "Dell Inc.\n"), ("proc/cpuinfo", "flags : fpu sse\n")], None);
        let xen = ("sys/hypervisor/type", "xen\n");
        expect(&[xen, ("proc/xen/capabilities", "control_d\n")], None);
    }

    #[test]
    fn a_container_is_told_with_its_maker_and_with_the_machine_that_it_is_in() {
        expect(&[(".dockerenv", "")], Some("container (docker)"));
        expect(&[("run/.containerenv", ""), (VENDOR, "QEMU\n")], Some("container (podman) in QEMU"));
        expect(&[("run/systemd/container", "lxc\n")], Some("container (lxc)"));
        expect(
            &[("proc/1/environ", "HOME=/\0container=systemd-nspawn\0")],
            Some("container (systemd-nspawn)"),
        );
        let pod = "0::/kubepods.slice/kubepods-pod7.slice/cri-containerd-9.scope\n";
        expect(&[("proc/1/cgroup", pod), FLAGGED], Some("container (kubernetes) in hypervisor"));
        expect(&[("proc/1/cgroup", "0::/init.scope\n")], None);
        expect(
            &[("proc/sys/kernel/osrelease", "5.15.90.1-microsoft-standard-WSL2\n")],
            Some("container (wsl)"),
        );
    }

    #[test]
    fn processes_that_are_numbered_apart_are_a_container_whatever_made_it() {
        let of = |link: &str| {
            let host = tempfile::tempdir().unwrap();
            let folder = host.path().join("proc/self/ns");
            fs::create_dir_all(&folder).unwrap();
            std::os::unix::fs::symlink(link, folder.join("pid")).unwrap();
            virtualization(&ProcRoot::recorded(host.path()))
        };
        assert_eq!(of("pid:[4026532999]").as_deref(), Some("container"));
        assert_eq!(of(FIRST_PID_NAMESPACE), None);
    }
}
