//! A YAML file as a tree that knows where everything stands.
//!
//! `serde` stops at the first mistake and forgets positions, so the tree is built from the
//! parser's events. This is the only file that names the YAML library. Nothing in here trusts
//! its input: size, depth and number of values are bounded, an alias costs what it expands to,
//! and a file that can't be read is a note, never a panic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::diagnostic::Notes;

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Values of a file, with what its aliases expand to.
pub const NODES_MAX: usize = 10_000;

/// Lists and tables inside each other.
pub const DEPTH_MAX: usize = 32;

/// One value. `at` counts in bytes of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: Range<usize>,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Nothing, `~` or `null`.
    Empty,
    Scalar(Scalar),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    pub text: String,
    /// Quoted text is never a number or a flag.
    pub quoted: bool,
    /// Where the text begins in the file, when it stands there letter for letter.
    begins: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_at: Range<usize>,
    pub value: Node,
}

impl Node {
    /// Returns what the value is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Empty => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Table(_) => "a table",
        }
    }

    /// Returns where a part of the scalar's text stands in the file; all of it, if that can't be told.
    #[must_use]
    pub fn part(&self, of_text: Range<usize>) -> Range<usize> {
        match &self.content {
            Content::Scalar(Scalar { begins: Some(begins), .. }) => {
                begins + of_text.start..begins + of_text.end
            }
            Content::Empty | Content::Scalar(_) | Content::List(_) | Content::Table(_) => {
                self.at.clone()
            }
        }
    }

    fn count(&self) -> usize {
        1 + match &self.content {
            Content::Empty | Content::Scalar(_) => 0,
            Content::List(items) => items.iter().map(Self::count).sum(),
            Content::Table(entries) => entries.iter().map(|entry| entry.value.count()).sum(),
        }
    }
}

/// Reads the one document of a file. `None`: it can't be read; the notes say why.
pub fn read(notes: &mut Notes, bytes: &[u8]) -> Option<Node> {
    if bytes.len() > FILE_BYTES_MAX {
        notes
            .error(0..0, format!("the file has {} bytes, at most 1 MiB is read", bytes.len()))
            .help("a policy or an app file is a few kilobytes; is this the right file?");
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            notes.error(at..at, "the file is not UTF-8 text").help("save it as UTF-8");
            return None;
        }
    };
    build(notes, text)
}

fn build(notes: &mut Notes, text: &str) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut tree = Tree { text, ..Tree::default() };
    for event in Parser::new_from_str_with_options(text, options) {
        let done = match event {
            Ok((event, span)) => tree.take(notes, event, &span),
            Err(error) => Err(syntax(notes, text, &error)),
        };
        if done.is_err() {
            return None;
        }
    }
    match tree.root {
        None | Some(Node { content: Content::Empty, .. }) => {
            notes.error(0..0, "the file is empty");
            None
        }
        Some(root) => Some(root),
    }
}

/// The rest of the file can't be understood; the reason is noted.
struct Stop;

fn syntax(notes: &mut Notes, text: &str, error: &ScanError) -> Stop {
    let offset = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    if let Some(tab) = indenting_tab(text, offset) {
        notes.error(tab..tab + 1, "a tab can't indent YAML").help("use spaces");
    } else {
        notes.error(offset..offset, format!("not YAML: {}", error.kind()));
    }
    Stop
}

/// Returns the tab that indents the line at the offset, the one after it (a plain text goes on
/// there) or the one before it.
fn indenting_tab(text: &str, offset: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let start_of =
        |end: usize| bytes[..end].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let here = start_of(offset);
    let after = text[here..].find('\n').map(|at| here + at + 1);
    let before = start_of(here.saturating_sub(1));
    [Some(here), after, Some(before)].into_iter().flatten().find_map(|start| {
        let mut indent = bytes[start..].iter().take_while(|b| matches!(b, b' ' | b'\t'));
        Some(start + indent.position(|b| *b == b'\t')?)
    })
}

/// The tree while it grows: the collections that are still open, innermost last.
#[derive(Default)]
struct Tree<'t> {
    text: &'t str,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

struct Open {
    start: usize,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Node>),
    Table { entries: Vec<Entry>, keys: BTreeMap<String, usize>, key: Key },
}

/// The key whose value comes next.
enum Key {
    None,
    Word(String, Range<usize>),
    /// It can't be used, and neither can its value.
    Unusable,
}

impl Tree<'_> {
    fn take(&mut self, notes: &mut Notes, event: Event<'_>, span: &Span) -> Result<(), Stop> {
        let at = span.byte_range().unwrap_or_default();
        match event {
            Event::DocumentStart(..) => self.begin_document(notes, at),
            Event::Scalar(value, style, anchor, tag) => {
                let forced_text = self.check_tag(notes, tag.as_deref(), &at);
                let node = self.scalar(value.into_owned(), style, at, forced_text);
                self.place(notes, node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(notes, tag.as_deref(), &at);
                let content = OpenContent::List(Vec::new());
                self.open.push(Open { start: at.start, anchor, content });
                Ok(())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(notes, tag.as_deref(), &at);
                let (entries, keys, key) = (Vec::new(), BTreeMap::new(), Key::None);
                let content = OpenContent::Table { entries, keys, key };
                self.open.push(Open { start: at.start, anchor, content });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(notes, at),
            Event::Alias(anchor) => self.alias(notes, anchor, at),
            // Comments and anchor names are not asked for; the stream's ends say nothing.
            _ => Ok(()),
        }
    }

    fn begin_document(&mut self, notes: &mut Notes, at: Range<usize>) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        notes
            .error(at, "the file holds more than one document")
            .help("put each into a file of its own");
        Err(Stop)
    }

    /// Returns whether a scalar's tag makes it text whatever it looks like.
    fn check_tag(&self, notes: &mut Notes, tag: Option<&Tag>, at: &Range<usize>) -> bool {
        let Some(tag) = tag else { return false };
        if !tag.is_yaml_core_schema() {
            notes.error(at.clone(), format!("the tag `{}` means nothing here", tag.original()));
        }
        tag.is_yaml_core_schema_tag("str")
    }

    fn scalar(&self, text: String, style: ScalarStyle, at: Range<usize>, forced: bool) -> Node {
        let plain = matches!(style, ScalarStyle::Plain) && !forced;
        if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
            return Node { at, content: Content::Empty };
        }
        let begins = self.text.get(at.clone()).and_then(|raw| raw.find(&text));
        let begins = begins.map(|inside| at.start + inside);
        Node { at, content: Content::Scalar(Scalar { text, quoted: !plain, begins }) }
    }

    fn alias(&mut self, notes: &mut Notes, anchor: usize, at: Range<usize>) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&anchor) else {
            notes.error(at, "the alias stands inside of what it refers to");
            return Err(Stop);
        };
        // Counted before it is copied: nine lines of aliases can stand for a billion values.
        if self.nodes + node.count() > NODES_MAX {
            return Err(too_many(notes, at));
        }
        self.nodes += node.count() - 1;
        let node = node.clone();
        self.place(notes, node, 0)
    }

    fn close(&mut self, notes: &mut Notes, at: Range<usize>) -> Result<(), Stop> {
        let Some(Open { start, anchor, content }) = self.open.pop() else { return Ok(()) };
        let content = match content {
            OpenContent::List(items) => Content::List(items),
            OpenContent::Table { entries, .. } => Content::Table(merge(notes, entries)),
        };
        // A block collection ends where the next thing begins: do not point past its own text.
        let own = self.text.get(start..at.end).unwrap_or_default().trim_end().len();
        self.place(notes, Node { at: start..start + own, content }, anchor)
    }

    /// Puts a finished value where it belongs: into the innermost open collection.
    fn place(&mut self, notes: &mut Notes, node: Node, anchor: usize) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(too_many(notes, node.at));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(OpenContent::List(items)) => items.push(node),
            Some(OpenContent::Table { entries, keys, key }) => {
                match std::mem::replace(key, Key::None) {
                    Key::None => *key = as_key(notes, node, keys),
                    Key::Word(key, key_at) => entries.push(Entry { key, key_at, value: node }),
                    Key::Unusable => {}
                }
            }
        }
        Ok(())
    }
}

fn too_many(notes: &mut Notes, at: Range<usize>) -> Stop {
    notes
        .error(at, format!("the file holds more than {NODES_MAX} values"))
        .help("aliases count with everything that they stand for");
    Stop
}

fn as_key(notes: &mut Notes, node: Node, keys: &mut BTreeMap<String, usize>) -> Key {
    let Content::Scalar(Scalar { text, .. }) = node.content else {
        notes.error(node.at, "a key must be a word");
        return Key::Unusable;
    };
    if let Some(first) = keys.insert(text.clone(), node.at.start) {
        notes
            .error(node.at, format!("the key `{text}` is written twice"))
            .related("it is first written", first);
        keys.insert(text, first);
        return Key::Unusable;
    }
    Key::Word(text, node.at)
}

/// Resolves `<<`: what is written beside it wins, then the earlier of several sources.
fn merge(notes: &mut Notes, entries: Vec<Entry>) -> Vec<Entry> {
    const MERGE: &str = "<<";
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.key == MERGE);
    let mut known: BTreeSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
    for source in merges {
        let sources = match source.value.content {
            Content::List(items) => items,
            Content::Empty | Content::Scalar(_) | Content::Table(_) => vec![source.value],
        };
        for node in sources {
            let Content::Table(entries) = node.content else {
                notes.error(node.at, "`<<` takes in a table or a list of tables");
                continue;
            };
            own.extend(entries.into_iter().filter(|entry| known.insert(entry.key.clone())));
        }
    }
    own
}
