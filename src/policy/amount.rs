//! A number with its unit, as people write it: `5%`, `1000 ms`, `1.3x baseline`.

use std::ops::Range;

/// Digits that a number may have. More don't survive being printed and read again.
const DIGITS_MAX: usize = 15;

/// A number and what stands behind it. Ranges count in bytes of the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Amount<'t> {
    /// Finite.
    pub(crate) value: f64,
    pub(crate) number: &'t str,
    /// Without the blanks around it; empty if there is none.
    pub(crate) unit: &'t str,
    pub(crate) unit_at: Range<usize>,
}

impl<'t> Amount<'t> {
    /// Splits a text into number and unit; `None` if it doesn't begin with a decimal number.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let begin = text.len() - text.trim_start().len();
        let digits = |b: u8| b.is_ascii_digit() || b == b'.';
        let sign = usize::from(text[begin..].starts_with('-'));
        let length = text[begin + sign..].bytes().take_while(|b| digits(*b)).count() + sign;
        let number = &text[begin..begin + length];
        let behind = &text[begin + length..];
        let unit = behind.trim();
        let unit_begin = begin + length + (behind.len() - behind.trim_start().len());
        Some(Self {
            value: decimal(number)?,
            number,
            unit,
            unit_at: unit_begin..unit_begin + unit.len(),
        })
    }
}

/// What a limit can be measured in.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    None,
    Percent,
    Milliseconds,
    Seconds,
    /// `x` without saying of what.
    Times,
    TimesBaseline,
    TimesAsked,
    Unknown,
}

impl Unit {
    pub(crate) fn of(written: &str) -> Self {
        let times = written.strip_prefix(['x', '×']).map(str::trim);
        match (written, times) {
            ("", _) => Self::None,
            ("%", _) => Self::Percent,
            ("ms", _) => Self::Milliseconds,
            ("s", _) => Self::Seconds,
            (_, Some("")) => Self::Times,
            (_, Some("baseline")) => Self::TimesBaseline,
            (_, Some("asked")) => Self::TimesAsked,
            (_, _) => Self::Unknown,
        }
    }
}

/// Reads a plain decimal number: `f64` also takes `.5`, `5.`, `inf` and `1e9`.
fn decimal(number: &str) -> Option<f64> {
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    let well_formed = match unsigned.split_once('.') {
        None => !unsigned.is_empty(),
        Some((whole, part)) => !whole.is_empty() && !part.is_empty() && !part.contains('.'),
    };
    let digits = unsigned.bytes().filter(u8::is_ascii_digit).count();
    if !well_formed || digits > DIGITS_MAX {
        return None;
    }
    number.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Prints a number without the noise of binary fractions: 0.07 · 100 is 7.000000000000001.
pub(crate) fn tidy(value: f64) -> f64 {
    let digits = DIGITS_MAX - 1;
    format!("{value:.digits$e}").parse().unwrap_or(value)
}
