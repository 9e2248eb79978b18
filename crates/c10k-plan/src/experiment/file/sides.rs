//! The sides of a comparison as the file has them: `[vary]`, `[[case]]`, `grid`.

use c10k_record::Plan;
use toml_edit::{Item, TableLike, Value};

use super::super::arm::Arm;
use super::super::hint::HINT;
use super::super::setting::{Leaf, Setting};
use super::Reader;
use crate::file::{Given, profile_beside};
use crate::say::refusal::Refusal;

/// More sides than a night has room for.
const MOST_ARMS: usize = 64;

impl Reader<'_> {
    /// The base, and each side that is compared with it.
    pub(super) fn arms(&self, base: &Plan) -> Result<Vec<Arm>, Refusal> {
        let mut made: Vec<(Option<String>, Vec<Setting>)> = vec![(None, Vec::new())];
        let varied = self.varied()?;
        let is_grid = match self.value("grid")? {
            None => false,
            Some(value) => {
                Given(value).boolean().map_err(|message| self.wrong("grid", &format!("grid: {message}")))?
            }
        };
        if is_grid {
            made.extend(grid(&varied).into_iter().map(|settings| (None, settings)));
        } else {
            made.extend(varied.into_iter().flatten().map(|setting| (None, vec![setting])));
        }
        made.extend(self.cases()?.into_iter().map(|(name, settings)| (Some(name), settings)));
        if made.len() < 2 {
            let hint = "for example [vary] with \"net.core.somaxconn\" = [128, 4096]";
            return Err(self.layer.file.wrong("nothing is varied", self.place("vary"), hint));
        }
        if made.len() > MOST_ARMS {
            let message = format!("{} sides: expected at most {MOST_ARMS}", made.len());
            return Err(self.wrong("vary", &message));
        }
        let common = self.common()?;
        let mut arms = Vec::new();
        for (at, (case, settings)) in made.into_iter().enumerate() {
            let name = if at == 0 { "base".to_owned() } else { format!("arm-{at}") };
            let arm =
                Arm::of(name, case, (base, &common), settings).map_err(
                    |(message, setting)| match setting {
                        Some(setting) => {
                            // Some messages begin with what is set.
                            let set = format!("{} = {}: ", setting.key, setting.told);
                            let why = message.strip_prefix(&set).unwrap_or(&message);
                            self.layer.file.wrong(&format!("{set}{why}"), setting.place, HINT)
                        }
                        None => self.wrong("base", &format!("base: {message}")),
                    },
                )?;
            if arms.iter().any(|other: &Arm| other.label() == arm.label()) {
                return Err(self.wrong("case", &format!("two sides are called '{}'", arm.label())));
            }
            arms.push(arm);
        }
        Ok(arms)
    }

    /// `[set]`: what all sides have.
    fn common(&self) -> Result<Vec<Setting>, Refusal> {
        let Some(item) = self.table.get("set") else { return Ok(Vec::new()) };
        let Some(table) = item.as_table_like() else {
            return Err(self.wrong("set", "[set] is a table of settings, each with its value"));
        };
        leaves(table, "").iter().map(|leaf| self.setting(leaf, leaf.value)).collect()
    }

    /// The settings of `[vary]`, each with all its values.
    fn varied(&self) -> Result<Vec<Vec<Setting>>, Refusal> {
        let mut all = Vec::new();
        let Some(item) = self.table.get("vary") else { return Ok(all) };
        let Some(table) = item.as_table_like() else {
            return Err(self.wrong("vary", "[vary] is a table of settings, each with a list of values"));
        };
        for leaf in leaves(table, "") {
            let place = leaf.value.span().or_else(|| leaf.place.clone());
            let wrong = |message: &str| {
                let message = format!("{}: {message}", leaf.name);
                self.layer.file.wrong(
                    &message,
                    place.clone(),
                    "for example \"net.core.somaxconn\" = [128, 4096]",
                )
            };
            let Some(values) = leaf.value.as_array() else {
                return Err(wrong("expected a list of values"));
            };
            if values.is_empty() {
                return Err(wrong("a list without a value: expected one or more"));
            }
            let mut settings: Vec<Setting> = Vec::new();
            for value in values {
                let setting = self.setting(&leaf, value)?;
                if settings.iter().any(|other| other.told == setting.told) {
                    let message = format!("{}: {} stands twice", leaf.name, setting.told);
                    let hint = "name each value once; `pairs` says how often each is run";
                    return Err(self.layer.file.wrong(&message, value.span(), hint));
                }
                settings.push(setting);
            }
            all.push(settings);
        }
        Ok(all)
    }

    fn setting(&self, leaf: &Leaf<'_>, value: &Value) -> Result<Setting, Refusal> {
        // A profile's file is named from the sweep's.
        let named = value.as_str().filter(|_| leaf.name == "profile");
        match named.map(|named| profile_beside(&self.layer.file.path, named)) {
            Some(path) => {
                Ok(Setting { place: value.span(), ..leaf.setting(self.layer, &Value::from(path))? })
            }
            None => leaf.setting(self.layer, value),
        }
    }

    /// `[[case]]`: settings that are changed together, under a name.
    fn cases(&self) -> Result<Vec<(String, Vec<Setting>)>, Refusal> {
        let mut cases: Vec<(String, Vec<Setting>)> = Vec::new();
        for table in self.tables("case")? {
            self.known(table, "a case", &["name", "set"])?;
            let wrong = |message: &str| self.layer.file.wrong(message, table.span(), HINT);
            let name = table.get("name").and_then(Item::as_str).filter(|name| !name.trim().is_empty());
            let name = name.ok_or_else(|| wrong("a case without a name"))?.to_owned();
            if name == "base" || cases.iter().any(|(known, _)| *known == name) {
                return Err(wrong(&format!("two sides are called '{name}'")));
            }
            let set = table.get("set").and_then(Item::as_table_like);
            let set = set.ok_or_else(|| wrong("a case without set = { … }"))?;
            let leaves = leaves(set, "");
            if leaves.is_empty() {
                return Err(wrong("a case that sets nothing"));
            }
            let settings: Result<Vec<Setting>, Refusal> =
                leaves.iter().map(|leaf| self.setting(leaf, leaf.value)).collect();
            cases.push((name, settings?));
        }
        Ok(cases)
    }
}

/// Every choice of one value of each setting.
fn grid(varied: &[Vec<Setting>]) -> Vec<Vec<Setting>> {
    let mut all: Vec<Vec<Setting>> = vec![Vec::new()];
    for values in varied {
        let with = |chosen: &Vec<Setting>| {
            let chosen = chosen.clone();
            values.iter().map(move |value| [chosen.clone(), vec![value.clone()]].concat())
        };
        all = all.iter().flat_map(with).take(MOST_ARMS + 1).collect();
    }
    all.retain(|settings| !settings.is_empty());
    all
}

/// The keys of a table with the values below them; `net.core.somaxconn` may stand with or without quotes.
fn leaves<'a>(table: &'a dyn TableLike, above: &str) -> Vec<Leaf<'a>> {
    let mut all = Vec::new();
    for (name, item) in table.iter() {
        let place = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let name = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        match item {
            Item::Value(Value::InlineTable(inner)) if inner.is_dotted() => all.extend(leaves(inner, &name)),
            Item::Value(value) => all.push(Leaf { name, place, value }),
            Item::Table(inner) => all.extend(leaves(inner, &name)),
            _ => {}
        }
    }
    all
}
