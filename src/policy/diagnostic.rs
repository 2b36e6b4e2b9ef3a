//! What is wrong with a file that a user wrote, and how it is said.
//!
//! Readers collect [`Note`]s instead of stopping at the first mistake; a [`Report`] puts them in
//! the order of the file and prints them as rustc does. The path printed is the path given, so
//! that an editor's "go to" works; lines and columns count from 1, columns in characters.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::document::FILE_BYTES_MAX;

/// Notes printed of one file; the rest are counted.
pub const NOTES_MAX: usize = 100;

/// Characters of a line that are printed around a mistake.
const LINE_CHARS_MAX: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake. Offsets are bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub severity: Severity,
    pub message: String,
    pub at: Range<usize>,
    /// What stands beside the caret.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// Another place of the file that matters: what it is, and where.
    pub related: Option<(&'static str, usize)>,
}

impl Note {
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub fn related(&mut self, what: &'static str, offset: usize) -> &mut Self {
        self.related = Some((what, offset));
        self
    }
}

/// The mistakes found so far.
#[derive(Clone, Debug, Default)]
pub struct Notes(Vec<Note>);

impl Notes {
    pub fn error(&mut self, at: Range<usize>, message: impl Into<String>) -> &mut Note {
        self.add(Severity::Error, at, message.into())
    }

    pub fn warning(&mut self, at: Range<usize>, message: impl Into<String>) -> &mut Note {
        self.add(Severity::Warning, at, message.into())
    }

    /// Returns how many errors there are: warnings refuse nothing.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|note| note.severity == Severity::Error).count()
    }

    fn add(&mut self, severity: Severity, at: Range<usize>, message: String) -> &mut Note {
        let note = Note { severity, message, at, label: None, help: None, related: None };
        let last = self.0.len();
        self.0.push(note);
        &mut self.0[last]
    }
}

/// A value that was read, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Checked<T> {
    pub value: T,
    pub warnings: Report,
}

/// The mistakes of one file, in its order. `Display` prints them without colour.
#[derive(Clone, Debug)]
pub struct Report {
    path: String,
    text: String,
    notes: Vec<Note>,
    omitted: usize,
}

impl std::error::Error for Report {}

/// One mistake for a machine to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    pub help: Option<String>,
}

impl Report {
    /// Sorts the notes and keeps what is needed to print them.
    #[must_use]
    pub fn new(path: &Path, bytes: &[u8], notes: Notes) -> Self {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(FILE_BYTES_MAX)]).into_owned();
        let mut notes = notes.0;
        notes.sort_by_key(|note| (note.at.start, note.severity));
        // An alias brings the mistakes of its anchor a second time.
        notes.dedup();
        let omitted = notes.len().saturating_sub(NOTES_MAX);
        notes.truncate(NOTES_MAX);
        Self { path: path.display().to_string(), text, notes, omitted }
    }

    /// Splits what was read into a success with warnings or a refusal.
    ///
    /// # Errors
    /// All notes, when one of them is an error or there is no value.
    pub fn conclude<T>(self, value: Option<T>) -> Result<Checked<T>, Self> {
        let refused = self.notes.iter().any(|note| note.severity == Severity::Error);
        match value {
            Some(value) if !refused => Ok(Checked { value, warnings: self }),
            _ => Err(self),
        }
    }

    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Returns the notes as data, for `--output json` and annotations.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.notes.iter().map(|note| self.finding(note)).collect()
    }

    /// Returns the notes as text with terminal colours.
    #[must_use]
    pub fn coloured(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn finding(&self, note: &Note) -> Finding {
        let place = Place::of(&self.text, note.at.start);
        Finding {
            severity: note.severity,
            file: self.path.clone(),
            line: place.line,
            column: place.column,
            message: note.message.clone(),
            help: note.help.clone(),
        }
    }

    fn render(&self, renderer: &Renderer) -> String {
        let mut out = String::new();
        for note in &self.notes {
            out.push_str(&renderer.render(&[self.group(note)]));
            out.push_str("\n\n");
        }
        out.push_str(&self.count());
        out
    }

    fn group<'a>(&'a self, note: &'a Note) -> Group<'a> {
        let level = match note.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = self.snippet(level.primary_title(&note.message), note);
        if let Some((what, offset)) = note.related {
            let line = Place::of(&self.text, offset).line;
            group = group.element(Level::NOTE.message(format!("{what} in line {line}")));
        }
        if let Some(help) = &note.help {
            group = group.element(Level::HELP.message(help));
        }
        group
    }

    fn snippet<'a>(&'a self, title: annotate_snippets::Title<'a>, note: &'a Note) -> Group<'a> {
        let place = Place::of(&self.text, note.at.start);
        let line = &self.text[place.source.clone()];
        if line.chars().nth(LINE_CHARS_MAX).is_some() || line.trim().is_empty() {
            let origin = Origin::path(&self.path).line(place.line).char_column(place.column);
            return title.element(origin);
        }
        let start = place.offset - place.source.start;
        let end = note.at.end.min(place.source.end).saturating_sub(place.source.start);
        let end = (start.max(end)..=line.len()).find(|&at| line.is_char_boundary(at));
        let mut caret = AnnotationKind::Primary.span(start..end.unwrap_or(line.len()));
        if let Some(label) = &note.label {
            caret = caret.label(label);
        }
        title.element(
            Snippet::source(line).line_start(place.line).path(&self.path).annotation(caret),
        )
    }

    fn count(&self) -> String {
        let of = |severity| self.notes.iter().filter(|note| note.severity == severity).count();
        let say = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let mut parts: Vec<String> = Vec::new();
        parts.extend(say(of(Severity::Error), "error"));
        parts.extend(say(of(Severity::Warning), "warning"));
        parts.extend((self.omitted > 0).then(|| format!("{} more not shown", self.omitted)));
        format!("{} in {}", parts.join(", "), self.path)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

/// Where an offset is, as an editor counts.
struct Place {
    line: usize,
    column: usize,
    /// The offset itself, moved back to the last thing written when it lay behind it.
    offset: usize,
    /// The line's bytes, without its end.
    source: Range<usize>,
}

impl Place {
    fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.trim_end().len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: text[start..offset].chars().count() + 1,
            offset,
            source: start..start + text[start..end].trim_end_matches('\r').len(),
        }
    }
}

/// Returns the word that was probably meant, if one is near enough to be worth saying.
#[must_use]
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // Words longer than this are no slips of the pen, and the distance costs their product.
    const WORD_BYTES_MAX: usize = 64;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let plain = |w: &str| w.to_lowercase().replace(['-', '_', ' '], "");
    let written = plain(word);
    let distance = |w: &str| strsim::damerau_levenshtein(&written, &plain(w));
    let reach = (written.chars().count() / 3).max(1);
    let nearest = known.into_iter().map(|w| (distance(w), w)).min_by_key(|(d, _)| *d)?;
    (nearest.0 <= reach).then_some(nearest.1)
}

/// Returns the help for a word that is none of the known ones.
#[must_use]
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}
