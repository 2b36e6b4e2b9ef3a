//! The whole record of a promotion as one JSON document.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::history::Record;
use crate::published::ResultLine;

pub const REPORT_SCHEMA: &str = "gate.report/v1";

/// A report as programs read it: the result, and every record that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportLine {
    pub schema: String,
    pub result: ResultLine,
    /// In the order in which they were written; none where nothing was begun.
    pub records: Vec<Recorded>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    pub at: DateTime<Utc>,
    pub record: Record,
}

#[derive(Serialize)]
struct Borrowed<'a> {
    schema: &'a str,
    result: &'a ResultLine,
    records: Vec<BorrowedRecord<'a>>,
}

#[derive(Serialize)]
pub(super) struct BorrowedRecord<'a> {
    pub(super) at: DateTime<Utc>,
    pub(super) record: &'a Record,
}

pub(super) fn render(result: &ResultLine, records: &[(DateTime<Utc>, Record)]) -> String {
    let records = records.iter().map(|(at, record)| BorrowedRecord { at: *at, record }).collect();
    let document = Borrowed { schema: REPORT_SCHEMA, result, records };
    // Numbers, strings and lists always have a JSON form; the fallback keeps this total.
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}
