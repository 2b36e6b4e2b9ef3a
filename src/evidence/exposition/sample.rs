//! The lines of the text format.
//!
//! After <https://prometheus.io/docs/instrumenting/exposition_formats/> and OpenMetrics 1.0:
//! `name{label="value",…} value [timestamp] [# exemplar]`, comments, `# EOF` at the end.

use std::borrow::Cow;

use super::ExpositionError;

/// Labels of one series; more are no sensible metric.
const LABELS_MAX: usize = 64;

/// One line that has a value. Timestamps and exemplars are read and dropped.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) value: f64,
}

impl Sample<'_> {
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_ref())
    }
}

/// Returns the samples of a text, up to the first line that is none.
pub(super) fn samples(text: &str) -> impl Iterator<Item = Result<Sample<'_>, ExpositionError>> {
    let mut ended = false;
    text.split('\n').enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        let at = |why| ExpositionError::Line { line: index + 1, why };
        if line.is_empty() {
            None
        } else if ended {
            Some(Err(at("something stands after # EOF")))
        } else if line.starts_with('#') {
            ended = line == "# EOF";
            None
        } else {
            Some(sample(line).map_err(at))
        }
    })
}

fn sample(line: &str) -> Result<Sample<'_>, &'static str> {
    let (name, rest) = take_name(line, true).ok_or("it begins with no metric name")?;
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => take_labels(inside)?,
        None => (Vec::new(), rest),
    };
    let values = rest.split_once(" #").map_or(rest, |(before, _exemplar)| before);
    let mut values = values.split_ascii_whitespace();
    let value = values.next().and_then(number).ok_or("it has no value")?;
    if values.next().is_some_and(|timestamp| number(timestamp).is_none()) {
        return Err("its timestamp is no number");
    }
    if values.next().is_some() {
        return Err("something stands after its timestamp");
    }
    Ok(Sample { name, labels, value })
}

/// Takes a metric's or a label's name off the front; only a metric's may have colons.
fn take_name(text: &str, colons: bool) -> Option<(&str, &str)> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let end = text.find(|c| !fits(c)).unwrap_or(text.len());
    let begins_well = text.starts_with(|c: char| !c.is_ascii_digit());
    (end > 0 && begins_well).then(|| text.split_at(end))
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Takes `name="value",…}` off the front.
fn take_labels(mut rest: &str) -> Result<(Labels<'_>, &str), &'static str> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        if labels.len() == LABELS_MAX {
            return Err("it has too many labels");
        }
        let (name, after) = take_name(rest, false).ok_or("a label has no name")?;
        let after = after.trim_start().strip_prefix('=').ok_or("a label has no value")?;
        let after = after.trim_start().strip_prefix('"').ok_or("a label's value is not quoted")?;
        let (value, after) = take_quoted(after).ok_or("a label's value does not end")?;
        labels.push((name, value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(next) => next,
            None if after.starts_with('}') => after,
            None => return Err("labels are separated by commas"),
        };
    }
}

/// Takes a value up to its closing quote; `\\`, `\"` and `\n` are escapes.
fn take_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let closing = text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })?;
    let (raw, rest) = (&text[..closing], &text[closing + 1..]);
    let value = if raw.contains('\\') { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) };
    Some((value, rest))
}

fn unescape(raw: &str) -> String {
    let mut value = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => value.push('\n'),
                Some(other @ ('\\' | '"')) => value.push(other),
                // As Prometheus does: what is no escape stays as it is.
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            (plain, false) => value.push(plain),
        }
    }
    value
}

/// Reads a number as Go writes it: also `NaN`, `+Inf`, `-Inf`.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}
