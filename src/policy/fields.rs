//! Typed readers: from a [`Node`] to a value, noting what is wrong.
//!
//! Every reader returns `None` both for what is absent and for what was noted; the notes decide
//! in the end whether there is a policy.

use core::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::de::value::{Error as WordError, StrDeserializer};

use super::amount::Amount;
use super::diagnostic::{Notes, did_you_mean, nearest};
use super::document::{Content, Entry, Node, Scalar};
use super::shape::{Kind, Shape};
use crate::share::Share;

/// Entries of one list, or of a table of the user's own names: some rules compare each with each.
pub(crate) const ITEMS_MAX: usize = 200;

/// A table of the file, seen through its shape.
pub(crate) struct Fields<'n> {
    shape: &'static Shape,
    entries: &'n [Entry],
    pub(crate) at: Range<usize>,
}

impl<'n> Fields<'n> {
    /// Opens a table: notes keys that it doesn't know and keys that it misses.
    pub(crate) fn open(notes: &mut Notes, node: &'n Node, shape: &'static Shape) -> Option<Self> {
        let Content::Table(entries) = &node.content else {
            let names: Vec<&str> = shape.fields.iter().map(|field| field.name).collect();
            mismatch(notes, node, "a table").help(format!("known here: {}", names.join(", ")));
            return None;
        };
        let fields = Self { shape, entries, at: node.at.clone() };
        for entry in entries {
            fields.check_key(notes, entry);
        }
        for field in shape.fields.iter().filter(|field| field.required) {
            if !entries.iter().any(|entry| entry.key == field.name) {
                let message = format!("the key `{}` is missing", field.name);
                notes.error(fields.head(), message).help(field.about);
            }
        }
        Some(fields)
    }

    fn check_key(&self, notes: &mut Notes, entry: &Entry) {
        if self.shape.field(&entry.key).is_none() {
            let names: Vec<&str> = self.shape.fields.iter().map(|field| field.name).collect();
            notes
                .error(entry.key_at.clone(), format!("unknown key `{}`", entry.key))
                .help(did_you_mean(&entry.key, &names));
        }
    }

    /// Returns a short piece of the file that stands for the whole table: its first key.
    pub(crate) fn head(&self) -> Range<usize> {
        let first = self.entries.iter().map(|entry| &entry.key_at).min_by_key(|at| at.start);
        first
            .filter(|at| at.start >= self.at.start && at.end <= self.at.end)
            .unwrap_or(&self.at)
            .clone()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        debug_assert!(self.shape.field(name).is_some(), "the shape has no key {name}");
        self.entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
    }

    /// Returns where a key's value stands.
    pub(crate) fn place(&self, name: &str) -> Option<Range<usize>> {
        self.get(name).map(|node| node.at.clone())
    }

    /// Returns where a key itself stands.
    pub(crate) fn place_of_key(&self, name: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|entry| entry.key == name).map(|entry| entry.key_at.clone())
    }

    /// Returns where the value at the end of a path of keys stands.
    pub(crate) fn find(&self, path: &[&str]) -> Option<Range<usize>> {
        let (last, tables) = path.split_last()?;
        let mut entries = self.entries;
        for name in tables {
            let entry = entries.iter().find(|entry| entry.key == *name)?;
            let Content::Table(inner) = &entry.value.content else { return None };
            entries = inner;
        }
        entries.iter().find(|entry| entry.key == *last).map(|entry| entry.value.at.clone())
    }

    pub(crate) fn table(&self, notes: &mut Notes, name: &str) -> Option<Self> {
        let Some(Kind::Table(shape)) = self.kind(name) else { return None };
        Self::open(notes, self.get(name)?, shape)
    }

    /// Returns the tables of a list that are tables.
    pub(crate) fn tables(&self, notes: &mut Notes, name: &str) -> Vec<Self> {
        let (Some(Kind::Tables(shape)), Some(node)) = (self.kind(name), self.get(name)) else {
            return Vec::new();
        };
        list(notes, node).iter().filter_map(|item| Self::open(notes, item, shape)).collect()
    }

    /// Returns the user's own names, whatever stands under them.
    pub(crate) fn names(&self, name: &str) -> Vec<&'n str> {
        match self.get(name).map(|node| &node.content) {
            Some(Content::Table(entries)) => entries.iter().map(|e| e.key.as_str()).collect(),
            Some(Content::Empty | Content::Scalar(_) | Content::List(_)) | None => Vec::new(),
        }
    }

    /// Returns the user's own names with their tables.
    pub(crate) fn named_tables(&self, notes: &mut Notes, name: &str) -> Vec<(&'n Entry, Self)> {
        let (Some(Kind::NamedTables(shape)), Some(node)) = (self.kind(name), self.get(name)) else {
            return Vec::new();
        };
        let entries = entries(notes, node).iter();
        entries.filter_map(|e| Some((e, Self::open(notes, &e.value, shape)?))).collect()
    }

    /// Returns the user's own names with their texts.
    pub(crate) fn named(&self, notes: &mut Notes, name: &str) -> Vec<(&'n Entry, &'n str)> {
        let Some(node) = self.get(name) else { return Vec::new() };
        let entries = entries(notes, node).iter();
        entries.filter_map(|e| Some((e, any_text(notes, &e.value)?))).collect()
    }

    pub(crate) fn text(&self, notes: &mut Notes, name: &str) -> Option<&'n str> {
        text(notes, self.get(name)?).map(|scalar| scalar.text.as_str())
    }

    pub(crate) fn texts(&self, notes: &mut Notes, name: &str) -> Vec<&'n str> {
        let Some(node) = self.get(name) else { return Vec::new() };
        let items = list(notes, node).iter();
        items.filter_map(|item| any_text(notes, item)).collect()
    }

    pub(crate) fn flag(&self, notes: &mut Notes, name: &str) -> Option<bool> {
        let node = self.get(name)?;
        match &node.content {
            Content::Scalar(Scalar { text, quoted: false, .. }) if text == "true" => Some(true),
            Content::Scalar(Scalar { text, quoted: false, .. }) if text == "false" => Some(false),
            Content::Scalar(_) | Content::Empty | Content::List(_) | Content::Table(_) => {
                mismatch(notes, node, "`true` or `false`");
                None
            }
        }
    }

    pub(crate) fn whole(&self, notes: &mut Notes, name: &str) -> Option<u64> {
        let node = self.get(name)?;
        let Some(Kind::Whole { least, most }) = self.kind(name) else { return None };
        let written = match &node.content {
            Content::Scalar(scalar) if !scalar.quoted => scalar.text.parse::<u64>().ok(),
            Content::Scalar(_) | Content::Empty | Content::List(_) | Content::Table(_) => None,
        };
        let value = written.filter(|value| (least..=most).contains(&value));
        if value.is_none() {
            mismatch(notes, node, &format!("a whole number from {least} to {most}"));
        }
        value
    }

    pub(crate) fn duration(&self, notes: &mut Notes, name: &str) -> Option<Duration> {
        let node = self.get(name)?;
        let Some(Kind::Duration { least, most }) = self.kind(name) else { return None };
        let value = duration(notes, node)?;
        if value < *least || value > *most {
            let [least, most] = [least, most].map(|d| humantime::format_duration(*d));
            notes.error(node.at.clone(), format!("`{name}` lies between {least} and {most}"));
            return None;
        }
        Some(value)
    }

    pub(crate) fn share(&self, notes: &mut Notes, name: &str) -> Option<Share> {
        share(notes, self.get(name)?)
    }

    pub(crate) fn address(&self, notes: &mut Notes, name: &str) -> Option<SocketAddr> {
        let node = self.get(name)?;
        let written = &text(notes, node)?.text;
        let address = written.parse().ok();
        if address.is_none() {
            let port = written.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
            let help = format!("did you mean `127.0.0.1:{}`?", port.unwrap_or("8080"));
            mismatch(notes, node, "an IP address with a port").help(help);
        }
        address
    }

    /// Reads one of the words that the shape lists, as `serde` knows it.
    pub(crate) fn choice<T: DeserializeOwned>(&self, notes: &mut Notes, name: &str) -> Option<T> {
        let node = self.get(name)?;
        let Some(Kind::Choice(words)) = self.kind(name) else { return None };
        let written = text(notes, node)?.text.as_str();
        if words.contains(&written) {
            return T::deserialize(StrDeserializer::<WordError>::new(written)).ok();
        }
        notes
            .error(node.at.clone(), format!("`{written}` is no {}", name.replace('_', " ")))
            .help(did_you_mean(written, words));
        None
    }

    pub(crate) fn zone(&self, notes: &mut Notes, name: &str) -> Option<chrono_tz::Tz> {
        let node = self.get(name)?;
        let written = text(notes, node)?.text.as_str();
        let zone = written.parse().ok();
        if zone.is_none() {
            let near = nearest(written, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            let help = near.map_or_else(
                || "write an IANA name, such as `Europe/Berlin` or `UTC`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            mismatch(notes, node, "a time zone").help(help);
        }
        zone
    }

    fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.shape.field(name).map(|field| &field.kind)
    }
}

/// Returns the items of a list; none if it isn't one.
pub(crate) fn list<'n>(notes: &mut Notes, node: &'n Node) -> &'n [Node] {
    let Content::List(items) = &node.content else {
        mismatch(notes, node, "a list");
        return &[];
    };
    bounded(notes, node, items)
}

fn entries<'n>(notes: &mut Notes, node: &'n Node) -> &'n [Entry] {
    let Content::Table(entries) = &node.content else {
        mismatch(notes, node, "a table");
        return &[];
    };
    bounded(notes, node, entries)
}

fn bounded<'n, T>(notes: &mut Notes, node: &Node, items: &'n [T]) -> &'n [T] {
    if items.len() > ITEMS_MAX {
        let message = format!("there are {} entries, at most {ITEMS_MAX}", items.len());
        notes.error(node.at.clone(), message);
    }
    &items[..items.len().min(ITEMS_MAX)]
}

/// Returns a single value as it is written, whatever it looks like.
pub(crate) fn text<'n>(notes: &mut Notes, node: &'n Node) -> Option<&'n Scalar> {
    match &node.content {
        Content::Scalar(scalar) if !scalar.text.trim().is_empty() => Some(scalar),
        Content::Scalar(_) | Content::Empty | Content::List(_) | Content::Table(_) => {
            mismatch(notes, node, "a text");
            None
        }
    }
}

/// The same where a text may be empty: an argument, the value of a variable.
fn any_text<'n>(notes: &mut Notes, node: &'n Node) -> Option<&'n str> {
    match &node.content {
        Content::Scalar(scalar) => Some(&scalar.text),
        Content::Empty | Content::List(_) | Content::Table(_) => {
            mismatch(notes, node, "a text");
            None
        }
    }
}

fn duration(notes: &mut Notes, node: &Node) -> Option<Duration> {
    let written = text(notes, node)?.text.trim();
    if let Some(amount) = Amount::parse(written).filter(|amount| amount.unit.is_empty()) {
        notes
            .error(node.at.clone(), "a duration needs a unit")
            .help(format!("did you mean `{}s`?", amount.number));
        return None;
    }
    let value = humantime::parse_duration(written).ok();
    if value.is_none() {
        mismatch(notes, node, "a duration").help("write it like `500ms`, `10s`, `2m` or `1h 30m`");
    }
    value
}

fn share(notes: &mut Notes, node: &Node) -> Option<Share> {
    let written = text(notes, node)?.text.as_str();
    let Some(amount) = Amount::parse(written) else {
        mismatch(notes, node, "a share of traffic").help("write it like `5%`");
        return None;
    };
    match amount.unit {
        "%" => percent(notes, node, amount.value),
        "" => {
            let fraction = amount.value > 0.0 && amount.value < 1.0;
            let percent = if fraction { amount.value * 100.0 } else { amount.value };
            let help = format!("did you mean `{}%`?", super::amount::tidy(percent));
            notes.error(node.at.clone(), "a share needs its unit").help(help);
            None
        }
        unit => {
            let at = node.part(amount.unit_at.clone());
            notes
                .error(at, format!("`{unit}` is not a unit of a share"))
                .help("write it like `5%`");
            None
        }
    }
}

fn percent(notes: &mut Notes, node: &Node, percent: f64) -> Option<Share> {
    let Some(share) = Share::from_percent(percent) else {
        notes.error(node.at.clone(), "a share lies between 0% and 100%");
        return None;
    };
    if (share.fraction() * 100.0 - percent).abs() > 1e-9 {
        notes
            .error(node.at.clone(), "a share is exact to 0.01%")
            .help(format!("the nearest is `{}%`", super::amount::tidy(share.fraction() * 100.0)));
        return None;
    }
    Some(share)
}

/// Notes that something else was expected here.
pub(crate) fn mismatch<'a>(
    notes: &'a mut Notes,
    node: &Node,
    expected: &str,
) -> &'a mut super::diagnostic::Note {
    let found = match &node.content {
        Content::Scalar(Scalar { text, .. }) if text.len() <= 40 => format!("`{text}`"),
        Content::Scalar(_) | Content::Empty | Content::List(_) | Content::Table(_) => {
            node.kind().to_owned()
        }
    };
    notes.error(node.at.clone(), format!("expected {expected}, found {found}"))
}
