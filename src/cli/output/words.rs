//! Numbers as people read them.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Returns a length of time to the second: `1h 2m 3s`, `12 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes, rest) {
        (0, 0, rest) => format!("{rest} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, 0, 0) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Columns of a text that is wrapped, as far as its words allow.
const COLUMNS: usize = 78;

/// Returns a line broken between words; what follows the first line is indented. A line that is indented
/// already is code, and stays.
pub(crate) fn wrapped(line: &str, indent: &str) -> String {
    if line.starts_with(char::is_whitespace) {
        return line.to_owned();
    }
    let mut text = String::new();
    let mut columns = 0;
    for word in line.split(' ') {
        let wide = word.chars().count();
        if columns > 0 && columns + 1 + wide > COLUMNS {
            text.push('\n');
            text.push_str(indent);
            columns = indent.len();
        } else if columns > 0 {
            text.push(' ');
            columns += 1;
        }
        text.push_str(word);
        columns += wide;
    }
    text
}

pub(crate) fn duration(length: Duration) -> String {
    seconds(length.as_secs_f64())
}

/// Returns a short time as exactly as it was measured: `480 ms`, `12.0 s`.
pub(crate) fn milliseconds(ms: i64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1000.0) }
}

/// Returns the time of day in UTC.
pub(crate) fn clock(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%S").to_string()
}

/// Returns a moment in UTC, with its day where that is another than today.
pub(crate) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at.date_naive() == now.date_naive() {
        clock(at)
    } else {
        at.format("%m-%d %H:%M").to_string()
    }
}

/// Returns a count with its thousands apart.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{count, milliseconds, seconds};

    #[test]
    fn reads_as_people_say_it() {
        for (input, expected) in [
            (0.4, "0 s"),
            (59.4, "59 s"),
            (60.0, "1 min"),
            (61.0, "1 min 1 s"),
            (7260.0, "2 h 1 min"),
        ] {
            assert_eq!(seconds(input), expected);
        }
        for (input, expected) in [(7, "7"), (1234, "1 234"), (1_234_567, "1 234 567")] {
            assert_eq!(count(input), expected);
        }
        for (input, expected) in [(12, "12 ms"), (1234, "1.2 s")] {
            assert_eq!(milliseconds(input), expected);
        }
    }
}
