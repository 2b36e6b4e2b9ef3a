//! A condition cut into metric, sign and limit, and what is said when that goes wrong.

use std::ops::Range;

use super::amount::{Amount, Unit};
use super::condition::ConditionError;

pub(super) type Parsed<T> = Result<T, ConditionError>;

/// A condition cut into its three words. Ranges count in bytes of the text.
pub(super) struct Parts<'t> {
    pub(super) metric: &'t str,
    pub(super) metric_at: Range<usize>,
    pub(super) operator: &'t str,
    pub(super) operator_at: Range<usize>,
    pub(super) limit: &'t str,
    pub(super) limit_at: Range<usize>,
}

const SHAPE: &str = "a condition is written `error_rate > 5%`: metric, `>`, limit";

impl<'t> Parts<'t> {
    pub(super) fn of(text: &'t str) -> Parsed<Self> {
        let is_operator = |c: char| matches!(c, '<' | '>' | '=' | '!' | '≥' | '≤');
        let whole = trimmed(text, 0..text.len());
        let begin = text.find(is_operator);
        let Some(begin) = begin else {
            return Err(error("a condition needs `>` and a limit", &whole).help(SHAPE));
        };
        let behind = text[begin..].trim_start_matches(is_operator).len();
        let operator_at = begin..text.len() - behind;
        let metric_at = trimmed(text, 0..begin);
        let limit_at = trimmed(text, operator_at.end..text.len());
        if metric_at.is_empty() {
            return Err(error("no metric before the sign", &operator_at).help(SHAPE));
        }
        if limit_at.is_empty() {
            return Err(error("no limit behind the sign", &operator_at).help(SHAPE));
        }
        Ok(Self {
            metric: &text[metric_at.clone()],
            operator: &text[operator_at.clone()],
            limit: &text[limit_at.clone()],
            metric_at,
            operator_at,
            limit_at,
        })
    }

    /// Returns the limit as a number with a unit, and where the number stands.
    pub(super) fn amount(&self, example: &str) -> Parsed<(Amount<'t>, Unit)> {
        let Some(amount) = Amount::parse(self.limit) else {
            return Err(error(
                format!("`{}` is not a number with a unit", self.limit),
                &self.limit_at,
            )
            .help(format!("write it like `{example}`")));
        };
        let unit = Unit::of(amount.unit);
        Ok((amount, unit))
    }

    pub(super) fn wrong_unit(
        &self,
        amount: &Amount<'_>,
        what: &str,
        help: String,
    ) -> ConditionError {
        let begin = self.limit_at.start;
        if amount.unit.is_empty() {
            return error(format!("{what} needs a unit"), &self.limit_at).help(help);
        }
        let at = begin + amount.unit_at.start..begin + amount.unit_at.end;
        error(format!("`{}` is not a unit of {what}", amount.unit), &at).help(help)
    }

    pub(super) fn out_of_range(&self, allowed: &str) -> ConditionError {
        error(format!("{allowed}, not `{}`", self.limit), &self.limit_at)
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let begin = range.start + (part.len() - part.trim_start().len());
    begin..begin + part.trim().len()
}

pub(super) fn error(message: impl Into<String>, at: &Range<usize>) -> ConditionError {
    ConditionError { message: message.into(), help: None, at: at.clone() }
}

impl ConditionError {
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
