//! A comparison for programs.

use c10k_record::Better;
use serde_json::{Map, Value, json};

use super::Against;
use crate::stats::CSV_COLUMNS;

/// What stands in a row before the columns of its answer.
const FIRST_COLUMNS: [&str; 5] = ["reference", "other", "metric", "unit", "better"];

impl Against<'_> {
    /// All of it as one JSON document. Values are in the units that are named; what is not known is null.
    #[must_use]
    pub fn json(&self) -> Value {
        let groups: Vec<Value> = self
            .groups
            .iter()
            .map(|group| {
                let runs = group.runs.iter().map(|run| {
                    json!({ "run_id": run.run_id, "started_at": run.started_at, "state": run.state,
                            "held": run.connections.held, "target": run.connections.target,
                            "counted": group.counts(run) })
                });
                json!({ "name": group.name, "runs": runs.collect::<Vec<_>>() })
            })
            .collect();
        let differences: Vec<Value> = self
            .differences
            .iter()
            .map(|difference| {
                let values: Map<String, Value> =
                    difference.values.iter().map(|(name, values)| (name.clone(), json!(values))).collect();
                json!({ "what": difference.what, "values": values })
            })
            .collect();
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let metric = row.wanted.metric();
                let values = [self.reference, row.other].map(|place| {
                    self.groups[place].runs.iter().map(|run| row.wanted.of(run)).collect::<Vec<_>>()
                });
                let mut fields = json!({
                    "other": self.groups[row.other].name,
                    "metric": row.wanted.to_string(),
                    "unit": metric.unit().sign(),
                    "better": better(metric.better()),
                    "values": values,
                });
                if let (Value::Object(fields), Value::Object(answer)) = (&mut fields, row.answer.json()) {
                    fields.extend(answer);
                }
                fields
            })
            .collect();
        json!({
            "reference": self.groups[self.reference].name,
            "groups": groups,
            "differences": differences,
            "notes": self.notes(),
            "comparisons": rows,
        })
    }

    /// A row for each metric of each group against the reference, below their names.
    ///
    /// # Errors
    /// None that memory allows: the text is made in it.
    pub fn csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(FIRST_COLUMNS.iter().chain(&CSV_COLUMNS))?;
        for row in &self.rows {
            let metric = row.wanted.metric();
            let mut fields = vec![
                self.groups[self.reference].name.clone(),
                self.groups[row.other].name.clone(),
                row.wanted.to_string(),
                metric.unit().sign().to_owned(),
                better(metric.better()).to_owned(),
            ];
            fields.extend(row.answer.csv_fields());
            writer.write_record(&fields)?;
        }
        let unwritten = |error: csv::IntoInnerError<_>| std::io::Error::other(error.to_string());
        let bytes = writer.into_inner().map_err(unwritten)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn better(better: Better) -> &'static str {
    match better {
        Better::More => "more",
        Better::Less => "less",
    }
}
