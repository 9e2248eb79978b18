//! The verdicts of a run as JUnit XML, as CI systems read it.
//!
//! # What becomes of what
//! A verdict is a test case. One that does not hold is a failure, with what was measured and what was asked for; one that
//! only warns is skipped then, with the same words, since JUnit has no warnings. One that could not be judged is an error,
//! and so are all of a run that broke, was stopped or never came to its end, whatever each of them says.

use std::io;
use std::path::Path;

use c10k_record::{Condition, Limit, Record, RunResult, Style, Verdict, brief, headline, verdict_measured};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

type Xml = Writer<Vec<u8>>;

/// One test case.
struct Case {
    name: String,
    came: Came,
}

/// What came of it.
enum Came {
    Passed,
    Failed(String, String),
    /// What it was about could not be told.
    Error(String),
    Skipped(String),
}

/// The verdicts as JUnit XML; `path` is the run's folder.
#[must_use]
pub fn junit(record: &Record, path: Option<&Path>) -> String {
    let cases = cases(record);
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    // Into memory: there is nothing that could fail.
    let _ = write(&mut xml, record, path, &cases);
    let mut text = String::from_utf8(xml.into_inner()).unwrap_or_default();
    text.push('\n');
    text
}

fn write(xml: &mut Xml, record: &Record, path: Option<&Path>, cases: &[Case]) -> io::Result<()> {
    let count = |is: fn(&Came) -> bool| cases.iter().filter(|case| is(&case.came)).count().to_string();
    let sums = [
        ("tests", cases.len().to_string()),
        ("failures", count(|came| matches!(came, Came::Failed(..)))),
        ("errors", count(|came| matches!(came, Came::Error(_)))),
        ("skipped", count(|came| matches!(came, Came::Skipped(_)))),
        ("time", seconds(record)),
    ];
    let sums = || sums.iter().map(|(name, value)| (*name, value.as_str()));
    let suite = [("name", valid(&record.run_id)), ("timestamp", valid(started(record)))];
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("testsuites")
        .with_attribute(("name", "c10k-lab"))
        .with_attributes(sums())
        .write_inner_content(|xml| {
            xml.create_element("testsuite")
                .with_attributes(suite.iter().map(|(name, value)| (*name, value.as_str())))
                .with_attributes(sums())
                .write_inner_content(|xml| {
                    properties(xml, record)?;
                    cases.iter().try_for_each(|one| case(xml, record, one))?;
                    let told = valid(&brief(record, path, 0, Style::default()));
                    xml.create_element("system-out").write_text_content(BytesText::new(&told))?;
                    Ok(())
                })?;
            Ok(())
        })?;
    Ok(())
}

fn properties(xml: &mut Xml, record: &Record) -> io::Result<()> {
    let c = &record.connections;
    let mut all = vec![
        ("profile", record.profile.name.clone()),
        ("protocol", record.protocol.to_string()),
        ("workload", record.workload.to_string()),
        ("topology", record.topology.to_string()),
        ("target", c.target.to_string()),
        ("held", c.held.to_string()),
        ("program", format!("{} {}", record.tool.name, record.tool.version)),
    ];
    all.extend(record.ceiling.as_ref().map(|ceiling| ("wall", ceiling.wall.clone())));
    all.extend(record.baseline.as_ref().map(|baseline| ("baseline", baseline.run_id.clone())));
    xml.create_element("properties").write_inner_content(|xml| {
        for (name, value) in &all {
            xml.create_element("property")
                .with_attribute(("name", *name))
                .with_attribute(("value", valid(value).as_str()))
                .write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(xml: &mut Xml, record: &Record, case: &Case) -> io::Result<()> {
    let class = format!("c10k-lab.{}.{}.{}", record.profile.name, record.protocol, record.workload);
    let element = xml
        .create_element("testcase")
        .with_attribute(("classname", valid(&class).as_str()))
        .with_attribute(("name", valid(&case.name).as_str()))
        .with_attribute(("time", "0"));
    let (name, kind, message, text) = match &case.came {
        Came::Passed => {
            element.write_empty()?;
            return Ok(());
        }
        Came::Failed(message, text) => ("failure", Some("verdict"), message, text),
        Came::Error(message) => ("error", Some("not-judged"), message, message),
        Came::Skipped(message) => ("skipped", None, message, message),
    };
    element.write_inner_content(|xml| {
        let mut inner = xml.create_element(name).with_attribute(("message", valid(message).as_str()));
        if let Some(kind) = kind {
            inner = inner.with_attribute(("type", kind));
        }
        inner.write_text_content(BytesText::new(&valid(text)))?;
        Ok(())
    })?;
    Ok(())
}

/// A case a verdict; of a run that has none, and of one that failed though none of them did, one for the run.
fn cases(record: &Record) -> Vec<Case> {
    let result = record.result();
    let (_, first) = headline(record);
    let is_over = ![RunResult::Broken, RunResult::Aborted, RunResult::Unfinished].contains(&result);
    let of_run = |came| Case { name: "the run".to_owned(), came };
    let mut cases: Vec<Case> = record.verdicts.iter().map(|verdict| of_verdict(record, verdict)).collect();
    if !is_over {
        if cases.is_empty() {
            let asked = record.plan.iter().flat_map(|plan| &plan.verdicts);
            cases = asked.map(|one| Case { name: named(one), came: Came::Passed }).collect();
        }
        cases.iter_mut().for_each(|case| case.came = Came::Error(first.clone()));
        if cases.is_empty() {
            cases.push(of_run(Came::Error(first)));
        }
        return cases;
    }
    let is_told = cases.iter().any(|case| matches!(case.came, Came::Failed(..) | Came::Error(_)));
    match result {
        RunResult::Done if cases.is_empty() => cases.push(of_run(Came::Passed)),
        RunResult::Done => {}
        _ if !is_told => cases.push(of_run(Came::Failed(first.clone(), first))),
        _ => {}
    }
    cases
}

fn of_verdict(record: &Record, verdict: &Verdict) -> Case {
    let name = match verdict.condition() {
        Some(mut condition) => {
            condition.severity = verdict.severity;
            named(&condition)
        }
        None => verdict.expr.clone(),
    };
    let value = verdict_measured(verdict);
    let (expr, is) = (&verdict.expr, if verdict.value.is_some() { "measured: " } else { "" });
    let came = match verdict.passed {
        Some(true) => Came::Passed,
        None => Came::Error(format!("{expr} could not be judged")),
        Some(false) if verdict.warns() => {
            Came::Skipped(format!("warning: {expr} does not hold; {is}{value}"))
        }
        Some(false) => {
            let wall = record.ceiling.as_ref().map_or_else(String::new, |ceiling| {
                let lift = ceiling.remedy.as_ref().map(|remedy| format!("\nlift: {}", remedy.summary));
                format!("\nwall: {}{}", ceiling.wall, lift.unwrap_or_default())
            });
            let text = format!("asked for: {expr}\n{is}{value}{wall}\n");
            Came::Failed(format!("{expr} does not hold; {is}{value}"), text)
        }
    };
    Case { name, came }
}

/// A verdict's name, the same in each run: the number of a baseline is no part of it.
fn named(condition: &Condition) -> String {
    let Limit::Beside(_, percent) = condition.limit else { return condition.to_string() };
    let text = condition.to_string();
    let at = text.find(['<', '>', '=']).unwrap_or(text.len());
    let sign = text[at..].split(' ').next().unwrap_or_default();
    let way = if percent.is_sign_negative() { '-' } else { '+' };
    format!("{}{sign} baseline {way} {}%", &text[..at], percent.abs())
}

/// How long the run went on, seconds.
fn seconds(record: &Record) -> String {
    let ms = record.phases.iter().filter_map(|phase| phase.to_ms).max().unwrap_or(0);
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// When it began, without its zone, as the schema of Ant's JUnit wants it.
fn started(record: &Record) -> &str {
    record.started_at.trim_end_matches('Z')
}

/// A text without the characters that no XML document may have (XML 1.0, 2.2).
fn valid(text: &str) -> String {
    let is_valid =
        |c: char| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    text.chars().map(|c| if is_valid(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use c10k_record::{Baseline, RunState, Severity};
    use quick_xml::Reader;

    use super::*;
    use crate::fixtures;

    /// An element: its name, its attributes, its text, its children.
    #[derive(Debug, Default)]
    struct Element {
        name: String,
        attributes: Vec<(String, String)>,
        text: String,
        children: Vec<Element>,
    }

    impl Element {
        fn get(&self, name: &str) -> Option<&str> {
            self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        }

        #[track_caller]
        fn number(&self, name: &str) -> usize {
            self.get(name).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name}: {self:?}"))
        }

        fn all(&self, name: &str) -> Vec<&Element> {
            self.children.iter().filter(|child| child.name == name).collect()
        }
    }

    /// Reads a document as any XML parser does: text and attributes without their escapes.
    fn parsed(text: &str) -> Element {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Element::default()];
        let element = |start: &quick_xml::events::BytesStart<'_>| Element {
            name: start.name().as_ref().to_owned(),
            attributes: start
                .attributes()
                .map(|attribute| {
                    let attribute = attribute.expect("an attribute");
                    let value = quick_xml::escape::unescape(&attribute.value).expect("its escapes");
                    (attribute.key.as_ref().to_owned(), value.into_owned())
                })
                .collect(),
            ..Element::default()
        };
        loop {
            match reader.read_event().expect("well-formed XML") {
                Event::Start(start) => open.push(element(&start)),
                Event::Empty(start) => open.last_mut().expect("a parent").children.push(element(&start)),
                Event::End(_) => {
                    let done = open.pop().expect("an open one");
                    open.last_mut().expect("a parent").children.push(done);
                }
                Event::Text(text) => {
                    open.last_mut().expect("a parent").text.push_str(&text.xml10_content());
                }
                Event::GeneralRef(name) => {
                    let escape = format!("&{};", name.xml10_content());
                    let character = quick_xml::escape::unescape(&escape).expect("a character");
                    open.last_mut().expect("a parent").text.push_str(&character);
                }
                Event::Decl(_) => {}
                Event::Eof => break,
                other => panic!("{other:?}"),
            }
        }
        let mut root = open.pop().expect("the document");
        assert!(open.is_empty(), "an element is open");
        assert_eq!(root.children.len(), 1);
        root.children.remove(0)
    }

    /// What the schemas of JUnit's reports have in common (Ant's JUnit task, the xUnit plugin of Jenkins): which elements
    /// stand where, which attributes they must have and may have, and that the sums are those of the cases.
    #[track_caller]
    fn check(root: &Element) {
        let may = |element: &Element, must: &[&str], may: &[&str]| {
            let names: Vec<&str> = element.attributes.iter().map(|(name, _)| name.as_str()).collect();
            for name in must {
                assert!(names.contains(name), "{} without {name}", element.name);
            }
            for name in &names {
                assert!(must.contains(name) || may.contains(name), "{} with {name}", element.name);
                assert_eq!(names.iter().filter(|other| other == &name).count(), 1, "{name} twice");
            }
        };
        let is_decimal =
            |text: &str| text.parse::<f64>().is_ok_and(|value| value.is_finite() && value >= 0.0);
        assert_eq!(root.name, "testsuites");
        may(root, &[], &["name", "time", "tests", "failures", "errors", "skipped", "disabled"]);
        assert_eq!(root.children.len(), 1);
        let suite = &root.children[0];
        assert_eq!(suite.name, "testsuite");
        may(
            suite,
            &["name", "tests", "failures", "errors", "time", "timestamp"],
            &["skipped", "hostname", "id", "package"],
        );
        let stamp = suite.get("timestamp").expect("it");
        let pattern = "dddd-dd-ddTdd:dd:dd";
        let fits =
            |(is, wanted): (char, char)| if wanted == 'd' { is.is_ascii_digit() } else { is == wanted };
        assert!(stamp.len() == pattern.len() && stamp.chars().zip(pattern.chars()).all(fits), "{stamp}");
        assert!(is_decimal(suite.get("time").expect("it")));
        let order: Vec<&str> = suite.children.iter().map(|child| child.name.as_str()).collect();
        let known = ["properties", "testcase", "system-out", "system-err"];
        let places: Vec<usize> =
            order.iter().map(|name| known.iter().position(|one| one == name).expect("a known one")).collect();
        assert!(places.is_sorted(), "{order:?}");
        assert!(suite.all("properties").len() <= 1 && suite.all("system-out").len() == 1);
        for property in suite.all("properties").iter().flat_map(|all| &all.children) {
            assert_eq!(property.name, "property");
            may(property, &["name", "value"], &[]);
        }
        let cases = suite.all("testcase");
        let mut names = Vec::new();
        for case in &cases {
            may(case, &["name", "classname", "time"], &["assertions", "status"]);
            assert!(is_decimal(case.get("time").expect("it")));
            assert!(case.children.len() <= 1, "{case:?}");
            for child in &case.children {
                match child.name.as_str() {
                    "failure" | "error" => may(child, &["type"], &["message"]),
                    "skipped" => may(child, &[], &["message"]),
                    other => panic!("{other} in a test case"),
                }
            }
            names.push(case.get("name").expect("it"));
        }
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two of one name: {names:?}");
        let with = |kind: &str| cases.iter().filter(|case| !case.all(kind).is_empty()).count();
        for element in [root, suite] {
            assert_eq!(element.number("tests"), cases.len());
            for (sum, kind) in [("failures", "failure"), ("errors", "error"), ("skipped", "skipped")] {
                assert_eq!(element.number(sum), with(kind), "{sum}");
            }
        }
    }

    #[track_caller]
    fn read(record: &Record) -> Element {
        let root = parsed(&junit(record, Some(Path::new("results/a"))));
        check(&root);
        root
    }

    /// Each case with what came of it.
    fn told(record: &Record) -> Vec<(String, &'static str, String)> {
        let root = read(record);
        let kinds = ["failure", "error", "skipped"];
        root.children[0]
            .all("testcase")
            .iter()
            .map(|case| {
                let came = kinds.iter().find_map(|kind| Some((*kind, case.all(kind).first().copied()?)));
                let message = came.and_then(|(_, child)| child.get("message")).unwrap_or_default();
                (
                    case.get("name").unwrap_or_default().to_owned(),
                    came.map_or("passed", |(kind, _)| kind),
                    message.to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn a_verdict_is_a_case_and_a_broken_one_a_failure_with_what_was_measured() {
        assert!(told(&fixtures::held()).iter().all(|(_, came, _)| *came == "passed"));
        let mut record = fixtures::short();
        record.verdicts[2].value = Some(123.0);
        let cases = told(&record);
        let came: Vec<(&str, &str)> = cases.iter().map(|(name, came, _)| (name.as_str(), *came)).collect();
        assert_eq!(
            came,
            [("held = target", "failure"), ("failed <= 1%", "passed"), ("echo_p95 <= 100ms", "failure")]
        );
        assert_eq!(cases[0].2, "held = target does not hold; measured: 59,980");
        assert_eq!(cases[2].2, "echo_p95 <= 100ms does not hold; measured: 123 ms");
        let root = read(&record);
        let case = &root.children[0].all("testcase")[0].children[0];
        assert!(
            case.text
                .starts_with("asked for: held = target\nmeasured: 59,980\nwall: ports-exhausted\nlift: "),
            "{}",
            case.text
        );
    }

    #[test]
    fn one_with_nothing_measured_fails_and_one_that_could_not_be_judged_is_an_error() {
        let record = fixtures::short();
        assert_eq!(told(&record)[2].2, "echo_p95 <= 100ms does not hold; nothing was measured");
        let mut record = fixtures::held();
        record.verdicts[2].passed = None;
        let (_, came, message) = told(&record)[2].clone();
        assert_eq!((came, message.as_str()), ("error", "echo_p95 <= 100ms could not be judged"));
    }

    #[test]
    fn one_that_only_warns_is_skipped_with_its_words_when_it_does_not_hold() {
        let mut record = fixtures::held();
        record.verdicts[2].severity = Severity::Warn;
        assert_eq!(told(&record)[2].1, "passed");
        (record.verdicts[2].passed, record.verdicts[2].value) = (Some(false), Some(150.0));
        let (name, came, message) = told(&record)[2].clone();
        assert_eq!((name.as_str(), came), ("warn: echo_p95 <= 100ms", "skipped"));
        assert_eq!(message, "warning: echo_p95 <= 100ms does not hold; measured: 150 ms");
    }

    #[test]
    fn a_run_that_did_not_come_to_its_end_is_an_error_whatever_its_verdicts_say() {
        let mut broken = fixtures::held();
        broken.state = RunState::Broken;
        broken.ended_because = Some("the server was killed by SIGKILL".to_owned());
        for record in [broken, fixtures::aborted(), fixtures::unfinished()] {
            let cases = told(&record);
            assert!(!cases.is_empty() && cases.iter().all(|(_, came, _)| *came == "error"), "{cases:?}");
            assert!(cases[0].2.contains(&headline(&record).1), "{cases:?}");
        }
    }

    #[test]
    fn a_run_that_failed_though_no_verdict_did_is_a_failure_of_its_own() {
        let mut record = fixtures::short();
        record.verdicts.clear();
        let cases = told(&record);
        assert_eq!((cases[0].0.as_str(), cases[0].1), ("the run", "failure"));
        let mut record = fixtures::held();
        record.verdicts.clear();
        assert_eq!(told(&record), [("the run".to_owned(), "passed", String::new())]);
    }

    #[test]
    fn the_name_of_a_verdict_beside_a_baseline_is_the_same_in_each_run() {
        let mut record = fixtures::held();
        record.baseline = Some(Baseline::of(&fixtures::held(), "before".to_owned(), &fixtures::held()));
        for (expr, name) in [
            ("echo_p99 <= 2.501ms + 10%", "echo_p99 <= baseline + 10%"),
            ("talk.held >= 9990 - 1%", "talk.held >= baseline - 1%"),
            ("connects_per_second >= 7/s - 0%", "connects_per_second >= baseline - 0%"),
        ] {
            record.verdicts[0].expr = expr.to_owned();
            assert_eq!(told(&record)[0].0, name, "{expr}");
        }
        (record.verdicts[0].passed, record.verdicts[0].value) = (Some(false), Some(3.5));
        assert!(told(&record)[0].2.contains("0.50 × the baseline's 7 /s"), "{:?}", told(&record)[0]);
    }

    #[test]
    fn what_strangers_wrote_breaks_no_document() {
        let mut record = fixtures::short();
        let strange = "a<b>&\"c'\u{0}\u{1b}[31m]]>\u{ffff}\n</testcase>";
        record.run_id = strange.to_owned();
        record.profile.name = strange.to_owned();
        record.verdicts[0].expr = strange.to_owned();
        record.ceiling.as_mut().expect("one").wall = strange.to_owned();
        let root = read(&record);
        let name = root.children[0].all("testcase")[0].get("name").expect("it");
        assert!(name.starts_with("a<b>&\"c'\u{fffd}\u{fffd}[31m]]>\u{fffd}"), "{name}");
        assert_eq!(root.children[0].all("testcase").len(), 3);
    }
}
