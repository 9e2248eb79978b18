use c10k_record::{Exit, Protocol, Steps};
use tempfile::TempDir;

use super::*;
use crate::args::RunArgs;
use crate::print::print_plan;
use crate::resolve::{resolve, resolve_with_origins};

struct Plans(TempDir);

impl Plans {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        Self(folder)
    }

    fn args(&self, name: &str) -> RunArgs {
        RunArgs { plan: Some(self.0.path().join(name)), ..RunArgs::default() }
    }

    fn plan(&self, name: &str) -> Plan {
        resolve(&self.args(name)).unwrap_or_else(|refusal| panic!("{}", refusal.message))
    }

    fn refusal(&self, name: &str) -> (String, String) {
        let refusal = resolve(&self.args(name)).expect_err("refused");
        assert_eq!(refusal.exit, Exit::BadText);
        (refusal.message, refusal.hint.unwrap_or_default())
    }
}

const BASE: &str = "target = \"2k\" # two thousand\nprofile = \"stock\"\n[load]\nrate = \"2000/s\"\n";
const MINE: &str = "extends = \"base.toml\"\nhold = \"1s\"\nprotocol = \"ws\"\npayload = \"1KiB\"\n[[phase]]\nkind = \
                    \"ramp\"\n[[phase]]\nname = \"talk\"\nkind = \"echo\"\nduration = \"2s\"\n";

#[test]
fn a_file_says_what_differs_and_a_flag_stands_above_it() {
    let plans = Plans::new(&[("base.toml", BASE), ("my.toml", MINE)]);
    let mut args = plans.args("my.toml");
    args.load.target = Some(c10k_record::Quantity(500));
    let written = resolve_with_origins(&args).unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let plan = &written.plan;
    assert_eq!((plan.target, plan.protocol, plan.load.rate_per_second), (500, Protocol::Ws, Some(2000.0)));
    assert_eq!(plan.work.payload.map(|size| size.max_bytes), Some(1024));
    let names: Vec<&str> = plan.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["ramp", "talk"]);
    let text = print_plan(&written).expect("a plan");
    for line in ["target = 500 # flag --target", "topology = \"loopback\" # default", "name = \"talk\" # "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    for place in ["base.toml:4", "my.toml:2", "my.toml:7"] {
        assert!(text.contains(place), "{place}: {text}");
    }
    let again = Plans::new(&[("plan.toml", text.as_str())]);
    assert_eq!(again.plan("plan.toml"), written.plan, "what is printed repeats the run");
}

#[test]
fn a_resolved_plan_repeats_itself_exactly() {
    let plans = Plans::new(&[("base.toml", BASE), ("my.toml", MINE)]);
    let plan = plans.plan("my.toml");
    let folder = c10k_record::RunFolder::create(plans.0.path(), &plan).expect("a folder");
    let again = RunArgs { plan: Some(folder.plan()), ..RunArgs::default() };
    assert_eq!(resolve(&again).unwrap_or_else(|refusal| panic!("{}", refusal.message)), plan);
    assert_eq!(Plan::load(&folder.plan()).expect("server and swarm read it too"), plan);
}

#[test]
fn steps_and_target_of_a_higher_file_replace_each_other() {
    let plans = Plans::new(&[
        ("base.toml", "target = 9\n"),
        ("steps.toml", "extends = \"base.toml\"\nsteps = \"5x2\"\n"),
        ("target.toml", "extends = \"steps.toml\"\ntarget = 7\n"),
        ("both.toml", "target = 7\nsteps = \"5x2\"\n"),
    ]);
    let plan = plans.plan("steps.toml");
    assert_eq!((plan.target, plan.load.steps), (10, Some(Steps { size: 5, count: 2 })));
    let plan = plans.plan("target.toml");
    assert_eq!((plan.target, plan.load.steps), (7, None));
    assert!(plans.refusal("both.toml").0.contains("contradict"));
}

#[test]
fn what_nobody_knows_is_told_with_its_line_a_caret_and_the_nearest_name() {
    for (text, message, hint) in [
        ("holdd = \"1s\"", "unknown key `holdd`\n --> ", "did you mean hold?"),
        ("# a\n[load]\nrat = 3", "line 3: unknown key of [load] `rat`", "did you mean rate?"),
        ("[laod]\nhold = \"1s\"", "unknown key `laod`", "did you mean load?"),
        ("hold = 10", "load.hold: 10 is not right: expected a duration", "--print-plan"),
        ("[[phase]]\nkind = \"ehco\"", "'ehco' is not known: expected one of ramp", "[[phase]]"),
        ("[[phase]]\nname = \"a\"", "a phase without a kind", "[[phase]]"),
        (
            "[[phase]]\nkind = \"echo\"\nmesages = 3",
            "unknown key of a phase `mesages`",
            "did you mean messages?",
        ),
        ("[[verdict]]\nexpr = \"ehco_p99 < 3ms\"", "there is no metric 'ehco_p99'", "did you mean echo_p99?"),
        ("[[verdict]]\nexp = \"held = 1\"", "unknown key of a verdict `exp`", "did you mean expr?"),
        ("hold = \"1s\"\n[load]\nhold = \"2s\"", "load.hold is said already in line 1", "leave out"),
        ("messages = 1\nmessage_rate = 5", "contradict each other", "--print-plan"),
        ("in_flight = 0", "load.in_flight = 0: expected 1 to 1000000", "--print-plan"),
        ("extends = \"nobody.toml\"", "nobody.toml', cannot be read: No such file", "--print-plan"),
        ("extends = \"my.toml\"", "in a circle: ", "--print-plan"),
        ("x = [[", "line 1: ", "--print-plan"),
    ] {
        let plans = Plans::new(&[("my.toml", text)]);
        let (told, hinted) = plans.refusal("my.toml");
        assert!(told.contains(message) && told.contains("my.toml"), "{text}: {told}");
        assert!(hinted.contains(hint), "{text}: {hinted}");
    }
    let plans = Plans::new(&[("my.toml", "hold = \"1s\"\n\tworkload = \"eccho\"\n")]);
    let (told, _) = plans.refusal("my.toml");
    assert!(told.ends_with("2 |  workload = \"eccho\"\n  |             ^^^^^^^"), "{told}");
}

#[test]
fn another_topology_brings_its_addresses_and_a_profile_is_named_from_its_plan() {
    let profile = "name = \"mine\"\nsummary = \"s\"\n";
    let plans = Plans::new(&[
        ("veth.toml", "topology = \"veth\"\n"),
        ("mine.toml", "profile = \"own.toml\"\n"),
        ("own.toml", profile),
    ]);
    assert_eq!(plans.plan("veth.toml").server.listen, [([192, 168, 1, 10], 9000).into()]);
    assert_eq!(plans.plan("mine.toml").profile, plans.0.path().join("own.toml").display().to_string());
}

#[test]
fn a_plan_keeps_the_way_to_a_server_behind_a_tunnel_and_a_control_port_stands_on_its_servers_host() {
    let tunnel =
        "[server]\ncontrol = \"127.0.0.1:9900\"\nlisten = \"0.0.0.0:1\"\nreached_at = \"[fd00::1]:9000\"\n";
    let plans = Plans::new(&[
        ("tunnel.toml", tunnel),
        ("alone.toml", "control = \"[fd00::2]:9900\"\nips = \"fd00::3\"\n"),
        ("said.toml", "[server]\ncontrol = \"10.0.0.2:9900\"\nlisten = [\"10.0.0.2:9005\"]\n"),
        ("nowhere.toml", "[server]\nreached_at = \"10.0.0.2:9005\"\n"),
    ]);
    let at = |text: &str| text.parse::<std::net::SocketAddr>().expect("an address");
    let addresses = |plan: &Plan| (plan.server.reached_at.clone(), plan.server.listen.clone());
    let tunnel = plans.plan("tunnel.toml");
    assert_eq!(addresses(&tunnel), (vec![at("[fd00::1]:9000")], vec![at("[fd00::1]:9000")]));
    let written = c10k_record::RunFolder::create(plans.0.path(), &tunnel).expect("a folder").plan();
    let repeated = |change: fn(&mut RunArgs)| {
        let mut args = RunArgs { plan: Some(written.clone()), ..RunArgs::default() };
        change(&mut args);
        resolve(&args).unwrap_or_else(|refusal| panic!("{}", refusal.message))
    };
    assert_eq!(repeated(|_| {}), tunnel);
    let elsewhere = repeated(|args| args.server = vec![([10, 0, 0, 9], 9009).into()]);
    assert_eq!(addresses(&elsewhere), (vec![at("10.0.0.9:9009")], vec![at("10.0.0.9:9009")]));
    // The same far end is reached the same way, and another one not.
    assert_eq!(repeated(|args| args.control = Some(([127, 0, 0, 1], 9900).into())), tunnel);
    let other = repeated(|args| args.control = Some(([10, 0, 0, 7], 9900).into()));
    assert_eq!(addresses(&other), (vec![], vec![at("10.0.0.7:9000")]));
    let here = repeated(|args| args.topology = Some(c10k_record::Topology::Loopback));
    assert_eq!(addresses(&here), (vec![], vec![at("127.0.0.1:9000")]));
    assert_eq!(addresses(&plans.plan("alone.toml")), (vec![], vec![at("[fd00::2]:9000")]));
    assert_eq!(addresses(&plans.plan("said.toml")), (vec![], vec![at("10.0.0.2:9005")]));
    let (told, hint) = plans.refusal("nowhere.toml");
    assert!(told.contains("server.reached_at 10.0.0.2:9005") && hint.contains("--control"), "{told}: {hint}");
}
