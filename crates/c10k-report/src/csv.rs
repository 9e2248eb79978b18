//! `samples.csv` read back.

use c10k_record::{RampRow, Sample};
use csv::{Error, ErrorKind, ReaderBuilder};
use thiserror::Error as ThisError;

/// Why a text is not a table of samples.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum CsvError {
    /// There is not even a header.
    #[error("the samples are empty: expected a header line that begins with 'elapsed_ms'")]
    Empty,
    /// The column without which a sample has no place.
    #[error("line 1: there is no column 'elapsed_ms'")]
    NoTime,
    /// A row with more or fewer cells than the header, or with a cell that is not what its column holds.
    #[error("line {line}: {message}")]
    Row {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
}

/// Reads `samples.csv` by the names of its columns. An empty cell is "could not be read"; columns of other versions are
/// passed over. The last line is left out when its writer was killed in the middle of it: it has no line end and cannot
/// be read.
///
/// # Errors
/// [`CsvError`] with the line and what was expected.
pub fn read_samples(text: &str) -> Result<Vec<Sample>, CsvError> {
    let first = text.lines().next().unwrap_or_default();
    if first.trim().is_empty() {
        return Err(CsvError::Empty);
    }
    if !first.split(',').any(|name| name.trim() == "elapsed_ms") {
        return Err(CsvError::NoTime);
    }
    let mut reader = ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let read: Vec<Result<Sample, Error>> = reader.deserialize().collect();
    let (rows, torn) = (read.len(), !text.ends_with('\n'));
    let mut samples = Vec::with_capacity(rows);
    for (position, sample) in read.into_iter().enumerate() {
        match sample {
            Ok(sample) => samples.push(sample),
            Err(_) if torn && position + 1 == rows => break,
            Err(error) => return Err(of_row(&error)),
        }
    }
    Ok(samples)
}

/// The rows of `samples.csv` up to the first that cannot be read, with what is wrong there.
#[must_use]
pub fn read_what_can_be_read(text: &str) -> (Vec<Sample>, Option<CsvError>) {
    match read_samples(text) {
        Ok(samples) => (samples, None),
        Err(error @ CsvError::Row { line, .. }) => {
            let until = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
            let before: String = text.split_inclusive('\n').take(until).collect();
            (read_samples(&before).unwrap_or_default(), Some(error))
        }
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// The rows of `ramp.csv` that can be read: those of a torn last line are left out.
#[must_use]
pub fn read_ramp(text: &str) -> Vec<RampRow> {
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    if !whole.starts_with("elapsed_ms,") {
        return Vec::new();
    }
    let mut reader = ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(whole.as_bytes());
    reader.deserialize().filter_map(Result::ok).collect()
}

fn of_row(error: &Error) -> CsvError {
    let line = error.position().map_or(0, csv::Position::line);
    let message = match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells where the header has {expected_len}")
        }
        ErrorKind::Deserialize { err, .. } => match err.field() {
            Some(field) => format!("cell {}: {}", field + 1, err.kind()),
            None => err.kind().to_string(),
        },
        _ => error.to_string(),
    };
    CsvError::Row { line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[Sample]) -> String {
        let mut text = format!("{}\n", Sample::csv_header());
        for row in rows {
            text.push_str(&row.csv_row());
            text.push('\n');
        }
        text
    }

    fn rows() -> Vec<Sample> {
        let first =
            Sample { elapsed_ms: 200, phase: "ramp".to_owned(), attempted: Some(0), ..Sample::default() };
        let second = Sample {
            elapsed_ms: 400,
            phase: "hold".to_owned(),
            open: Some(u64::MAX),
            server_cores: Some(0.25),
            connects_per_second: Some(40_000.5),
            partial: true,
            ..Sample::default()
        };
        vec![Sample::default(), first, second]
    }

    #[test]
    fn samples_read_back_as_they_were_written() {
        assert_eq!(read_samples(&table(&rows())), Ok(rows()));
        assert_eq!(read_samples(&table(&[])), Ok(Vec::new()));
    }

    #[test]
    fn a_last_line_that_was_torn_off_is_left_out() {
        let whole = table(&rows());
        for cut in 1..whole.lines().last().expect("rows").len() {
            let torn = &whole[..whole.len() - cut];
            let read = read_samples(torn).expect("the rest can be read");
            assert!((2..=3).contains(&read.len()), "cut by {cut}: {}", read.len());
            assert_eq!(read[..2], rows()[..2]);
        }
    }

    #[test]
    fn a_torn_line_in_the_middle_is_an_error_with_its_number() {
        let text = table(&rows()).replace("200,ramp", "200");
        let error = read_samples(&text).expect_err("a cell is missing");
        assert!(error.to_string().starts_with("line 3: "), "{error}");
    }

    #[test]
    fn rows_before_one_that_cannot_be_read_are_kept() {
        let text = table(&rows()).replace("200,ramp", "200");
        let (read, error) = read_what_can_be_read(&text);
        assert_eq!(read, rows()[..1]);
        assert!(error.is_some_and(|error| error.to_string().starts_with("line 3: ")));
        assert_eq!(read_what_can_be_read(&table(&rows())), (rows(), None));
        assert_eq!(read_what_can_be_read(""), (Vec::new(), Some(CsvError::Empty)));
        let whole = table(&rows());
        for cut in (0..whole.len()).filter(|cut| whole.is_char_boundary(*cut)) {
            let (read, _) = read_what_can_be_read(&whole[..cut]);
            assert!(read.len() <= rows().len());
        }
    }

    #[test]
    fn rows_of_the_ramp_read_back_as_they_were_written() {
        let row = |n: u64| RampRow {
            elapsed_ms: n * 25,
            attempted: n * 100,
            established: n * 90,
            ..RampRow::default()
        };
        let all: Vec<RampRow> = (0..4).map(row).collect();
        let text = RampRow::csv(&all);
        assert_eq!(read_ramp(&text), all);
        assert_eq!(read_ramp(&text[..text.len() - 9]), all[..3]);
        assert!(read_ramp("").is_empty() && read_ramp("x\n1\n").is_empty());
    }

    #[test]
    fn a_column_of_another_version_is_passed_over_wherever_it_stands() {
        let text = table(&rows());
        let with = |at: usize, name: &str, cell: &str| -> String {
            let lines = text.lines().enumerate().map(|(number, line)| {
                let mut cells: Vec<&str> = line.split(',').collect();
                cells.insert(at, if number == 0 { name } else { cell });
                format!("{}\n", cells.join(","))
            });
            lines.collect()
        };
        for (at, cell) in [(0, "red"), (3, ""), (Sample::csv_header().split(',').count(), "7")] {
            assert_eq!(read_samples(&with(at, "colour", cell)), Ok(rows()), "{at}");
        }
    }

    #[test]
    fn what_is_no_table_of_samples_is_refused() {
        assert_eq!(read_samples(""), Err(CsvError::Empty));
        assert_eq!(read_samples("\n1\n"), Err(CsvError::Empty));
        assert_eq!(read_samples("open\n1\n"), Err(CsvError::NoTime));
        for bad in ["x", "-1", "1e400", "null", "", "true"] {
            assert!(read_samples(&format!("elapsed_ms,phase\n{bad},\n")).is_err(), "{bad}");
        }
    }
}
