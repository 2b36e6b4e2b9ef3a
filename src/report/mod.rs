//! What a promotion leaves behind to be read, made from its result and the records of its journal:
//! the record itself as JSON, JUnit for any CI, Markdown for a job's summary, and one page of HTML
//! for people who would rather look than read.
//!
//! **Contract.** Pure: the same result and records give the same bytes. Where there are no records
//! (nothing was begun, or they can't be read) each still says what the result says. Whatever is
//! in a name or a message, it is text in what comes out ([`escape`]).

use chrono::{DateTime, Utc};

use crate::history::Record;
use crate::published::ResultLine;

pub mod escape;

mod words;

mod rates;

pub mod story;

mod record;

mod junit;

mod plot;

mod markdown;

mod html;

pub use markdown::SUMMARY_BYTES_MAX;
pub use record::{REPORT_SCHEMA, ReportLine};
use story::Story;
pub(crate) use words::result as result_word;

/// Everything that a report is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    result: ResultLine,
    records: Vec<(DateTime<Utc>, Record)>,
    story: Option<Story>,
}

/// The forms that a report has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole record, for programs.
    Json,
    /// `JUnit` XML: each stage and each of its conditions is a test case.
    Junit,
    Html,
    Markdown,
}

impl Form {
    /// Returns the form that a file's ending asks for; `None`: it asks for none.
    #[must_use]
    pub fn of_path(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "xml" => Some(Self::Junit),
            "html" => Some(Self::Html),
            "md" => Some(Self::Markdown),
            _ => None,
        }
    }
}

impl Report {
    #[must_use]
    pub fn new(result: ResultLine, records: Vec<(DateTime<Utc>, Record)>) -> Self {
        let story = Story::of(&records);
        Self { result, records, story }
    }

    /// Renders it in one of its forms.
    #[must_use]
    pub fn render(&self, form: Form) -> String {
        match form {
            Form::Json => record::render(&self.result, &self.records),
            Form::Junit => junit::render(&self.result, self.story.as_ref()),
            Form::Html => html::render(&self.result, self.story.as_ref()),
            Form::Markdown => self.summary(SUMMARY_BYTES_MAX),
        }
    }

    /// Renders it as Markdown of at most so many bytes: the record goes first, then what is long.
    #[must_use]
    pub fn summary(&self, bytes_max: usize) -> String {
        markdown::render(&self.result, self.story.as_ref(), &self.records, bytes_max)
    }
}

#[cfg(test)]
mod tests;
