//! A promotion as a few lines of text: share, error rates and response times over its looks.

use super::escape::line;
use super::rates::Rates;
use super::story::{LookPoint, Story};
use super::words::{percent, seconds};
use crate::share::Share;

/// Columns of a curve; more looks than that are drawn by their worst.
const COLUMNS_MAX: usize = 60;
/// Characters of a revision's name.
const NAME_CHARS: usize = 16;
/// An error rate below this looks flat: noise is no mountain.
const ERRORS_SCALE_MIN: f64 = 0.01;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Returns the plot; `None` without looks.
pub(super) fn render(story: &Story) -> Option<String> {
    let (first, last) = (story.looks.first()?, story.looks.last()?);
    let revisions = [&story.plan.stable.name, &story.plan.release.name];
    let mut rows = vec![row(
        "share",
        revisions[1],
        story,
        |point| Some(share_at(story, point).fraction()),
        1.0,
        percent,
    )];
    let arm = |of: usize| move |point: &LookPoint| [point.baseline, point.candidate][of];
    let mut curves =
        |name, value: fn(&Rates) -> Option<f64>, least: f64, unit: fn(f64) -> String| {
            let all = story.looks.iter().flat_map(|p| [p.baseline, p.candidate]);
            let most = all.filter_map(|rates| value(&rates)).fold(least, f64::max);
            for (of, revision) in revisions.iter().enumerate() {
                let points = |point: &LookPoint| value(&arm(of)(point));
                rows.push(row(name, revision, story, points, most, unit));
            }
        };
    curves("errors", |rates| rates.errors, ERRORS_SCALE_MIN, percent);
    curves("p95", |rates| rates.p95_ms, 1.0, |ms| format!("{ms:.0} ms"));
    let length = seconds((last.at - first.at).num_milliseconds() as f64 / 1000.0);
    rows.push(format!("{} looks in {length}; each curve from 0 to its most", story.looks.len()));
    Some(rows.join("\n"))
}

/// The share that held just before a look.
fn share_at(story: &Story, point: &LookPoint) -> Share {
    let before = story.shares.iter().take_while(|(at, _)| *at <= point.at);
    before.last().map_or(Share::ZERO, |(_, share)| *share)
}

fn row(
    name: &str,
    revision: &str,
    story: &Story,
    value: impl Fn(&LookPoint) -> Option<f64>,
    most: f64,
    unit: impl Fn(f64) -> String,
) -> String {
    let revision: String = line(revision).chars().take(NAME_CHARS).collect();
    let values: Vec<Option<f64>> = story.looks.iter().map(value).collect();
    let highest = values.iter().copied().flatten().filter(|v| v.is_finite()).reduce(f64::max);
    let highest = highest.map_or("no data".to_owned(), |highest| format!("most {}", unit(highest)));
    format!("{name:<7} {revision:<NAME_CHARS$} {} {highest}", curve(&values, most))
}

fn curve(values: &[Option<f64>], most: f64) -> String {
    let per_column = values.len().div_ceil(COLUMNS_MAX).max(1);
    let worst = |chunk: &[Option<f64>]| chunk.iter().copied().flatten().reduce(f64::max);
    values
        .chunks(per_column)
        .map(|chunk| worst(chunk).map_or(' ', |value| bar(value, most)))
        .collect()
}

fn bar(value: f64, most: f64) -> char {
    let part = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
    // What is not a number is drawn at the bottom: `as` makes it 0.
    BARS[((part * 7.0).round() as usize).min(7)]
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS_MAX, curve};

    #[test]
    fn a_curve_is_as_wide_as_it_may_be() {
        assert_eq!(curve(&[Some(0.0), None, Some(1.0), Some(f64::NAN)], 1.0), "▁ █▁");
        assert_eq!(curve(&[], 1.0), "");
        let long = vec![Some(0.5); 10_000];
        assert!(curve(&long, 1.0).chars().count() <= COLUMNS_MAX);
    }
}
