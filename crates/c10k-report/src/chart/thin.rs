//! A fixed number of points, however long a run was.

use super::{Line, Point};

/// More points than this are drawn as the least and the greatest of each of half as many stretches.
pub(super) const MOST_POINTS: usize = 300;

/// The points to draw: all, or of each stretch the least and the greatest, so that no peak is lost.
pub(super) fn drawn(points: &[Point]) -> Vec<Point> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(MOST_POINTS / 2);
    let mut kept = Vec::with_capacity(MOST_POINTS);
    for points in points.chunks(stretch) {
        let known = || points.iter().filter(|point| point.1.is_some());
        let least = known().min_by(|a, b| order(a, b));
        let greatest = known().max_by(|a, b| order(a, b));
        match (least, greatest) {
            (Some(a), Some(b)) if a == b => kept.push(*a),
            (Some(a), Some(b)) if a.0 <= b.0 => kept.extend([*a, *b]),
            (Some(a), Some(b)) => kept.extend([*b, *a]),
            _ => kept.push((points[0].0, None)),
        }
    }
    kept
}

/// The points to write down: all, or of each stretch the greatest.
fn written(points: &[Point]) -> Vec<Point> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(MOST_POINTS / 2);
    let greatest = |points: &[Point]| {
        let known = points.iter().filter(|point| point.1.is_some());
        known.max_by(|a, b| order(a, b)).map_or((points[0].0, None), |point| (points[0].0, point.1))
    };
    points.chunks(stretch).map(greatest).collect()
}

fn order(a: &Point, b: &Point) -> std::cmp::Ordering {
    a.1.unwrap_or(f64::NEG_INFINITY).total_cmp(&b.1.unwrap_or(f64::NEG_INFINITY))
}

/// The numbers of a plot as CSV: the place, then each line. An empty cell is no value there.
pub(super) fn csv(x: &str, lines: &[Line]) -> String {
    let kept: Vec<Vec<Point>> = lines.iter().map(|line| written(&line.points)).collect();
    let mut places: Vec<f64> = kept.iter().flatten().map(|point| point.0).filter(|x| x.is_finite()).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mut out = csv::WriterBuilder::new().from_writer(Vec::new());
    // Text into memory: nothing that could fail but memory itself.
    let _ = out.write_record(std::iter::once(x).chain(lines.iter().map(|line| line.name.as_str())));
    let mut at: Vec<usize> = vec![0; lines.len()];
    for place in places {
        let mut row = vec![cell(Some(place))];
        for (points, at) in kept.iter().zip(&mut at) {
            while points.get(*at).is_some_and(|point| point.0 < place) {
                *at += 1;
            }
            row.push(cell(points.get(*at).filter(|point| point.0 == place).and_then(|point| point.1)));
        }
        let _ = out.write_record(&row);
    }
    String::from_utf8(out.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => format!("{value:.0}"),
        Some(value) => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Look;

    #[test]
    fn a_long_run_is_thinned_without_losing_its_peak() {
        let mut points: Vec<Point> = (0..20_000).map(|n| (f64::from(n), Some(5.0))).collect();
        points[7_777].1 = Some(9_999.0);
        points[1_000..2_000].iter_mut().for_each(|point| point.1 = None);
        for kept in [drawn(&points), written(&points)] {
            assert!(kept.len() <= MOST_POINTS, "{}", kept.len());
            assert!(kept.iter().any(|(_, value)| *value == Some(9_999.0)));
            assert!(kept.iter().any(|(_, value)| value.is_none()), "the gap is kept");
            assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        let few = &points[..100];
        assert_eq!((drawn(few), written(few)), (few.to_vec(), few.to_vec()));
    }

    #[test]
    fn lines_of_other_places_stand_in_rows_of_their_own_and_no_value_is_an_empty_cell() {
        let line = |name: &str, points: &[Point]| Line {
            name: name.to_owned(),
            look: Look::Line,
            points: points.to_vec(),
            intervals: Vec::new(),
        };
        let lines = [
            line("A, B", &[(0.0, Some(1.0)), (0.5, None)]),
            line("C", &[(0.5, Some(2.25)), (1.0, Some(0.0))]),
        ];
        assert_eq!(csv("seconds", &lines), "seconds,\"A, B\",C\n0,1,\n0.5,,2.25\n1,,0\n");
    }
}
