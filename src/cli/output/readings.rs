//! Every condition at the newest look: what is seen against the limit, and how much room is left.

use anstyle::Style;

use super::line::Line;
use super::style::{BAD, CARE, FAINT, GOOD, PLAIN};
use super::words;
use crate::analysis::{Reading, in_unit};

/// Cells of the bar that fills up to the limit.
const BAR_CELLS: usize = 6;
/// Between two columns.
const GAP: usize = 2;
/// Above this part of the limit it is time to look.
const NEAR: f64 = 0.8;

/// Eighths of a cell.
const EIGHTHS: [Option<char>; 8] =
    [None, Some('▏'), Some('▎'), Some('▍'), Some('▌'), Some('▋'), Some('▊'), Some('▉')];

/// One column: its head, its cells, and how much it matters (0 stays at any width).
struct Column {
    head: &'static str,
    cells: Vec<(Style, String)>,
    rank: u8,
}

/// Returns the conditions as a table that fits: the least important columns go first.
pub(crate) fn table(readings: &[Reading], width: usize) -> Vec<Line> {
    if readings.is_empty() {
        return Vec::new();
    }
    let mut columns = columns(readings);
    while total(&columns) > width {
        let Some(last) = columns.iter().map(|c| c.rank).max().filter(|rank| *rank > 0) else {
            break;
        };
        columns.retain(|column| column.rank != last);
    }
    let mut lines = vec![row(&columns, |column| (FAINT, column.head.to_owned()))];
    lines.extend((0..readings.len()).map(|at| row(&columns, |column| column.cells[at].clone())));
    lines
}

fn columns(readings: &[Reading]) -> Vec<Column> {
    let column = |head, rank, cell: &dyn Fn(&Reading) -> (Style, String)| Column {
        head,
        cells: readings.iter().map(cell).collect(),
        rank,
    };
    let value = |reading: &Reading, value: Option<f64>| {
        (PLAIN, value.map_or("–".to_owned(), |value| in_unit(&reading.condition, value)))
    };
    vec![
        column("condition", 0, &|reading| (PLAIN, reading.condition.clone())),
        column("seen", 0, &|reading| value(reading, reading.seen)),
        column("of the limit", 1, &|reading| bar(reading)),
        column("limit", 4, &|reading| value(reading, reading.limit)),
        column("baseline", 2, &|reading| value(reading, reading.baseline)),
        column("requests", 3, &|reading| {
            (PLAIN, reading.requests.map_or("–".to_owned(), words::count))
        }),
    ]
}

fn total(columns: &[Column]) -> usize {
    columns.iter().map(|column| wide(column) + GAP).sum::<usize>().saturating_sub(GAP)
}

fn wide(column: &Column) -> usize {
    let cells = column.cells.iter().map(|(_, text)| text.chars().count());
    cells.chain([column.head.chars().count()]).max().unwrap_or(0)
}

fn row(columns: &[Column], cell: impl Fn(&Column) -> (Style, String)) -> Line {
    let mut line = Line::default();
    for (at, column) in columns.iter().enumerate() {
        let (style, text) = cell(column);
        let pad = " ".repeat(wide(column).saturating_sub(text.chars().count()));
        let gap = " ".repeat(if at == 0 { 0 } else { GAP });
        // Words stand left, numbers right.
        line = if column.rank < 2 && column.head != "seen" {
            let last = at + 1 == columns.len();
            line.and(PLAIN, gap).and(style, text).and(PLAIN, if last { String::new() } else { pad })
        } else {
            line.and(PLAIN, gap + &pad).and(style, text)
        };
    }
    line
}

/// Returns how much of the limit is used up, as a bar and in percent.
fn bar(reading: &Reading) -> (Style, String) {
    let Some(used) = used(reading) else {
        let why = reading.unknown.as_ref().map_or("no value", |_| "unknown");
        return (FAINT, why.to_owned());
    };
    let style = match used {
        used if used > 1.0 => BAD,
        used if used > NEAR => CARE,
        _ => GOOD,
    };
    let percent = if used < 10.0 { format!("{:.0}", used * 100.0) } else { "≫".into() };
    (style, format!("{} {percent:>3} %", cells(used)))
}

/// Returns the part of the limit that is used up; above 1 it is broken.
fn used(reading: &Reading) -> Option<f64> {
    let (seen, limit) = (reading.seen?, reading.limit?);
    let is_least = reading.condition.contains(" < ");
    let (part, whole) = if is_least { (limit, seen) } else { (seen, limit) };
    match (part, whole) {
        (part, _) if !part.is_finite() || !whole.is_finite() => None,
        (part, whole) if whole > 0.0 => Some(part / whole),
        (part, _) => Some(if part > 0.0 { f64::INFINITY } else { 0.0 }),
    }
}

fn cells(used: f64) -> String {
    let eighths = (used.clamp(0.0, 1.0) * (BAR_CELLS * 8) as f64).round() as usize;
    let mut text = "█".repeat(eighths / 8);
    text.extend(EIGHTHS.get(eighths % 8).copied().flatten());
    let empty = BAR_CELLS - text.chars().count();
    text + &"░".repeat(empty)
}

#[cfg(test)]
mod tests {
    use super::{cells, used};
    use crate::analysis::Reading;

    #[track_caller]
    fn check(condition: &str, seen: f64, limit: f64, expected: Option<f64>) {
        let reading = Reading {
            condition: condition.into(),
            seen: Some(seen),
            limit: Some(limit),
            baseline: None,
            requests: None,
            unknown: None,
        };
        assert_eq!(used(&reading), expected);
    }

    #[test]
    fn the_room_left_depends_on_the_bad_side() {
        check("error_rate > 5%", 0.025, 0.05, Some(0.5));
        check("traffic_share < 0.5x asked", 0.5, 0.25, Some(0.5));
        check("traffic_share < 0.5x asked", 0.0, 0.25, Some(f64::INFINITY));
        check("health_check_failures > 0", 0.0, 0.0, Some(0.0));
        check("error_rate > 5%", f64::NAN, 0.05, None);
    }

    #[test]
    fn a_bar_has_its_cells() {
        for (used, expected) in
            [(0.0, "░░░░░░"), (0.5, "███░░░"), (0.1, "▋░░░░░"), (1.0, "██████"), (7.0, "██████")]
        {
            assert_eq!(cells(used), expected);
        }
    }
}
