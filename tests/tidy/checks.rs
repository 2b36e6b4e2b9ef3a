//! What is checked. Each returns its complaints, with what to do about them.

use std::collections::BTreeSet;
use std::path::Path;

/// A limit, and what was over it when the limit came.
pub(crate) struct Ratchet {
    pub(crate) what: &'static str,
    pub(crate) limit: usize,
    pub(crate) over: &'static [(&'static str, usize)],
}

impl Ratchet {
    pub(crate) fn complaints(&self, measured: Vec<(String, usize)>) -> Vec<String> {
        let mut complaints = Vec::new();
        for (name, lines) in &measured {
            let listed =
                self.over.iter().find(|(listed, _)| listed == name).map(|(_, lines)| *lines);
            let allowed = listed.unwrap_or(self.limit);
            if *lines > allowed {
                complaints.push(format!(
                    "{} {name} has {lines} lines, over {allowed}: split it where an idea ends",
                    self.what
                ));
            } else if listed.is_some_and(|listed| *lines < listed) {
                complaints.push(format!(
                    "{} {name} has shrunk to {lines} lines: write that (or nothing, from {}) into the list",
                    self.what, self.limit
                ));
            }
        }
        let gone = |name: &&str| !measured.iter().any(|(measured, _)| measured == name);
        let listed = self.over.iter().map(|(name, _)| *name);
        complaints.extend(
            listed.filter(gone).map(|name| format!("{name} is gone: take it off the list")),
        );
        complaints
    }
}

/// The map of layers, as `src/lib.rs` draws it.
pub(crate) struct Map {
    /// Layer and module, from top to bottom.
    rows: Vec<(String, String)>,
}

/// What the pure layer never mentions.
const IMPURE: &[&str] = &[
    "tokio",
    "kube",
    "hyper",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "Utc::now",
    "Instant::now",
    "SystemTime::now",
    "async fn",
];

/// They meet in the engine only, so that each can be replaced alone. (A platform may ask the probes
/// of `evidence` itself: health decides who gets traffic.)
const STRANGERS: &[(&str, &str)] = &[("history", "platform"), ("history", "evidence")];

impl Map {
    pub(crate) fn read(lib: &str) -> Self {
        let rows = lib.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
            let layer = cells.next()?.to_owned();
            let module = cells.next()?.strip_prefix("[`")?.strip_suffix("`]")?.to_owned();
            Some((layer, module))
        });
        Self { rows: rows.collect() }
    }

    /// The map and the `mod` lines must say the same, in the same order.
    pub(crate) fn complaints(&self, lib: &str) -> Vec<String> {
        let declared = lib.lines().filter_map(|line| {
            line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')
        });
        let declared: Vec<_> = declared.collect();
        let drawn: Vec<_> = self.rows.iter().map(|(_, module)| module.as_str()).collect();
        if declared == drawn && !drawn.is_empty() {
            Vec::new()
        } else {
            vec![format!("src/lib.rs: the map has {drawn:?}, the modules are {declared:?}")]
        }
    }

    fn place(&self, module: &str) -> Option<usize> {
        self.rows.iter().position(|(_, name)| name == module)
    }

    pub(crate) fn uses(&self, path: &str, code: &str) -> Vec<String> {
        let Some(own) = module_of(path) else { return Vec::new() };
        let Some(place) = self.place(own) else { return Vec::new() };
        let mut complaints = Vec::new();
        for used in used_modules(code) {
            let strangers = STRANGERS.contains(&(own, used.as_str()));
            match self.place(&used) {
                None => complaints.push(format!("{path}: crate::{used} is not on the map in src/lib.rs")),
                Some(other) if other > place => complaints.push(format!(
                    "{path}: {own} uses crate::{used}, which stands below it on the map in src/lib.rs"
                )),
                Some(_) if strangers => complaints
                    .push(format!("{path}: {own} uses crate::{used}: they meet in the engine only")),
                Some(_) => {}
            }
        }
        complaints
    }

    pub(crate) fn impurities(&self, path: &str, code: &str) -> Vec<String> {
        let layer = module_of(path)
            .and_then(|module| self.rows.iter().find(|(_, name)| name == module))
            .map(|(layer, _)| layer.as_str());
        if layer != Some("pure") {
            return Vec::new();
        }
        let found = IMPURE.iter().filter(|word| has_word(code, word));
        found.map(|word| format!("{path} is pure, so it may not mention {word}")).collect()
    }
}

/// `src/policy/parse.rs` and `src/policy.rs` are of the module `policy`.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first)).filter(|name| !["lib", "main"].contains(name))
}

/// What follows `crate::`, also in `crate::{a, b::c}`.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (start, found) in code.match_indices("crate::") {
        let rest = code[start + found.len()..].trim_start();
        match rest.strip_prefix('{') {
            None => used.extend(first_word(rest)),
            Some(group) => used.extend(top_level(group).filter_map(first_word)),
        }
    }
    used
}

/// The parts of `a, b::{c, d}, e}` that commas of this level separate.
fn top_level(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 1_i32;
    let whole = group.find(move |c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    });
    let mut depth = 0_i32;
    group[..whole.unwrap_or(group.len())].split(move |c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0 && c == ','
    })
}

fn first_word(text: &str) -> Option<String> {
    let text = text.trim_start();
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

fn has_word(code: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, found)| {
        let (before, after) = (&code[..at], &code[at + found.len()..]);
        !before.ends_with(joins) && !after.starts_with(joins)
    })
}

/// What must not be in any file: written so that this file does not contain it.
pub(crate) fn words(path: &str, text: &str) -> Vec<String> {
    let mut forbidden = vec![
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimpl", "emented!"),
        concat!("to", "do!"),
    ];
    if path.ends_with(".rs") {
        forbidden.push(concat!("#[ig", "nore"));
    }
    let lines = text.lines().enumerate();
    let found = lines.flat_map(|(index, line)| {
        let here = forbidden.iter().filter(move |word| line.contains(**word));
        here.map(move |word| format!("{path}:{}: {word}", index + 1))
    });
    found.collect()
}

/// Links of a document to files and headings of the tree; the web is not asked.
pub(crate) fn links(
    root: &Path,
    path: &str,
    text: &str,
    exists: &dyn Fn(&Path) -> bool,
    read: &dyn Fn(&Path) -> String,
) -> Vec<String> {
    let document = root.join(path);
    let mut complaints = Vec::new();
    for target in prose(text).flat_map(targets) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let to =
            if file.is_empty() { document.clone() } else { document.with_file_name("").join(file) };
        if !exists(&to) {
            complaints.push(format!("{path}: {target} leads nowhere"));
        } else if !heading.is_empty() && !anchors(&read(&to)).contains(heading) {
            complaints.push(format!("{path}: {target} has no such heading"));
        }
    }
    complaints
}

/// The lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?;
        target.split_ascii_whitespace().next()
    })
}

/// The anchors that GitHub gives to headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    headings.map(anchor).collect()
}

/// `cargo tree` prints the package itself first, and a crate as often as it is needed.
pub(crate) fn crates(tree: &str, allowed: usize) -> Vec<String> {
    let lines = tree.lines().skip(1).filter(|line| !line.is_empty());
    let unique: BTreeSet<_> = lines.map(|line| line.trim_end_matches(" (*)")).collect();
    let count = unique.len();
    if count == allowed {
        return Vec::new();
    }
    vec![format!("the program has {count} crates, tests/tidy.rs says {allowed}: see CRATES there")]
}
