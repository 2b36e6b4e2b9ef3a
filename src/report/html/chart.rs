//! Curves over time as inline SVG that stretches with the page. All writing is HTML beside it, so that
//! it keeps its size; what is told by colour is told by dashes or height as well.

use std::fmt::Write as _;

use crate::analysis::VerdictWord;

/// Width and height of the drawing, in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 200.0;
/// A limit so many times above all values would press the curves flat: it is told instead.
const LIMIT_TIMES_MAX: f64 = 10.0;
/// Points of one curve; of more, every column keeps its highest.
const POINTS_MAX: usize = 500;

/// One curve.
pub(super) struct Curve<'a> {
    /// A class of the style sheet.
    pub(super) class: &'static str,
    pub(super) name: &'a str,
    /// Seconds and value; a gap where nothing is known.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A drawing with its scales.
pub(super) struct Chart<'a> {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What is seen in it, in words, for those who don't see it.
    pub(super) words: String,
    pub(super) curves: Vec<Curve<'a>>,
    /// Values that may not be crossed, with their conditions.
    pub(super) limits: Vec<(f64, String)>,
    /// Where stages begin, in seconds.
    pub(super) marks: Vec<f64>,
    pub(super) length_s: f64,
    /// The value at the top is at least this.
    pub(super) least: f64,
    /// It fills up to the first curve, in steps.
    pub(super) is_steps: bool,
}

impl Chart<'_> {
    pub(super) fn render(
        &self,
        unit: impl Fn(f64) -> String,
        xml: impl Fn(&str) -> String,
        times: &str,
    ) -> String {
        let most = self.most();
        let mut shapes = String::new();
        for mark in &self.marks {
            // Writing into a string can't fail, here and below.
            let _ = write!(shapes, "<path class=\"mark\" d=\"M{0} 0V{HEIGHT}\"/>", self.x(*mark));
        }
        for (limit, _) in self.limits.iter().filter(|(limit, _)| *limit <= most) {
            let y = y(*limit, most);
            let _ = write!(shapes, "<path class=\"limit\" d=\"M0 {y}H{WIDTH}\"/>");
        }
        for curve in &self.curves {
            shapes.push_str(&self.draw(curve, most));
        }
        let mut keys = String::new();
        for curve in &self.curves {
            keys.push_str(&key(curve.class, &xml(curve.name)));
        }
        for (limit, condition) in &self.limits {
            let above = if *limit > most { " (above the drawing)" } else { "" };
            keys.push_str(&key("limit", &format!("limit: {}{above}", xml(condition))));
        }
        let (id, title, words) = (self.id, self.title, xml(&self.words));
        let (top, middle, bottom) = (unit(most), unit(most / 2.0), unit(0.0));
        format!(
            "<figure><figcaption><h2>{title}</h2>{keys}</figcaption>\n<div class=\"plot\">\
             <div class=\"scale\" aria-hidden=\"true\"><span>{top}</span><span>{middle}</span><span>{bottom}</span></div>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\
             <title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{words}</desc>{shapes}</svg>\n{times}</div></figure>\n"
        )
    }

    fn most(&self) -> f64 {
        let values = self.curves.iter().flat_map(|curve| &curve.points).filter_map(|(_, v)| *v);
        let highest = values.filter(|v| v.is_finite()).fold(self.least, f64::max);
        let near = |limit: &f64| *limit <= highest * LIMIT_TIMES_MAX;
        let limits = self.limits.iter().map(|(limit, _)| *limit).filter(near);
        round_up(limits.fold(highest, f64::max))
    }

    fn x(&self, seconds: f64) -> f64 {
        round(if self.length_s > 0.0 { seconds / self.length_s * WIDTH } else { 0.0 })
    }

    fn draw(&self, curve: &Curve<'_>, most: f64) -> String {
        let mut path = String::new();
        let mut pen_is_down = false;
        let mut last_x = 0.0;
        for (seconds, value) in thin(&curve.points) {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                pen_is_down = false;
                continue;
            };
            let (x, y) = (self.x(seconds), y(value, most));
            let _ = match (pen_is_down, self.is_steps) {
                // A point without neighbours is a dot: a line without length, with round ends.
                (false, _) => write!(path, "M{x} {y}h0"),
                (true, true) => write!(path, "H{x}V{y}"),
                (true, false) => write!(path, "L{x} {y}"),
            };
            pen_is_down = true;
            last_x = x;
        }
        let class = curve.class;
        let area = if self.is_steps {
            format!("<path class=\"area\" d=\"{path}V{HEIGHT}H0Z\"/>")
                .replace(&format!("V{HEIGHT}H0Z"), &format!("H{last_x}V{HEIGHT}H0Z"))
        } else {
            String::new()
        };
        format!("{area}<path class=\"{class}\" d=\"{path}\"/>")
    }
}

/// The verdict of every look: as high as it is bad, so that it is told without colours.
pub(super) fn strip(
    looks: &[(f64, VerdictWord)],
    length_s: f64,
    words: &str,
    times: &str,
) -> String {
    let x = |seconds: f64| round(if length_s > 0.0 { seconds / length_s * WIDTH } else { 0.0 });
    let mut shapes = String::new();
    let mut begins = 0.0;
    let mut runs = looks.iter().peekable();
    while let Some((at, verdict)) = runs.next() {
        // Looks of one verdict in a row are one bar.
        if runs.peek().is_some_and(|(_, next)| next == verdict) {
            continue;
        }
        let (left, right) = (x(begins), x(*at));
        begins = *at;
        let (class, height) = match verdict {
            VerdictWord::Pass => ("pass", 0.3),
            VerdictWord::Unknown => ("unknown", 0.6),
            VerdictWord::Breach => ("breach", 1.0),
        };
        let (top, height) = (round(HEIGHT * (1.0 - height)), round(HEIGHT * height));
        let width = round((right - left).max(2.0));
        let _ = write!(
            shapes,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>"
        );
    }
    format!(
        "<div class=\"plot\"><div></div><svg class=\"strip\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{words}\">{shapes}</svg>\n{times}</div>"
    )
}

/// An entry of the legend: the line as it is drawn, and its name.
fn key(class: &str, name: &str) -> String {
    format!(
        "<span class=\"key\"><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\"><path class=\"{class}\" d=\"M1 6H27\"/></svg>{name}</span>"
    )
}

/// Returns the next number that a scale ends with: 1, 2 or 5 times a power of 10.
fn round_up(most: f64) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    let ends = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    // Only rounding errors can make all of them too small.
    ends.into_iter().find(|end| *end >= most * 0.9999).unwrap_or(most)
}

fn y(value: f64, most: f64) -> f64 {
    round(HEIGHT - if most > 0.0 { (value / most).clamp(0.0, 1.0) * HEIGHT } else { 0.0 })
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A column of many points keeps its highest: a spike is what one looks for.
fn thin(points: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    let per_column = points.len().div_ceil(POINTS_MAX).max(1);
    let highest = |chunk: &[(f64, Option<f64>)]| {
        chunk.iter().copied().reduce(|a, b| match (a.1, b.1) {
            (Some(x), Some(y)) if x >= y => a,
            (Some(_), None) => a,
            (_, _) => b,
        })
    };
    points.chunks(per_column).filter_map(highest).collect()
}

#[cfg(test)]
mod tests {
    use super::{POINTS_MAX, round_up, thin};

    #[test]
    fn a_scale_ends_with_a_round_number() {
        for (most, expected) in
            [(1.0, 1.0), (0.31, 0.5), (17.0, 20.0), (1001.0, 2000.0), (0.0, 1.0), (f64::NAN, 1.0)]
        {
            assert!((round_up(most) - expected).abs() < 1e-9 * expected, "{most}");
        }
    }

    #[test]
    fn of_many_points_the_spike_stays() {
        let mut points: Vec<_> = (0..100_000).map(|k| (f64::from(k), Some(0.0))).collect();
        points[77_777].1 = Some(9.0);
        points[5].1 = None;
        let thin = thin(&points);
        assert!(thin.len() <= POINTS_MAX);
        assert!(thin.contains(&(77_777.0, Some(9.0))));
    }
}
