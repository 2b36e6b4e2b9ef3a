//! The files of the project, and which of them belong to a crate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::source;

pub(crate) struct Tree {
    /// Every Rust file, by its path from the root.
    files: BTreeMap<String, String>,
    /// Those that a crate is made of; `true`: for tests only.
    reached: BTreeMap<String, bool>,
}

/// One file of the program itself.
pub(crate) struct Source {
    pub(crate) path: String,
    /// Without comments, literals and tests.
    pub(crate) code: String,
}

pub(crate) fn read(root: &Path) -> Tree {
    let files: BTreeMap<_, _> =
        texts(root).into_iter().filter(|(path, _)| path.ends_with(".rs")).collect();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    Tree::from(files, &manifest)
}

/// Every text of the project that people write, by its path from the root.
pub(crate) fn texts(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for place in ["", "src", "tests", "benches", "examples", "docs", "policies", ".ci", ".cargo"] {
        collect(root, &root.join(place), !place.is_empty(), &mut found);
    }
    found
}

fn collect(root: &Path, directory: &Path, deep: bool, found: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && deep {
            collect(root, &path, deep, found);
        } else if let (true, Ok(text)) = (path.is_file(), fs::read_to_string(&path)) {
            found.push((path.strip_prefix(root).unwrap().display().to_string(), text));
        }
    }
}

impl Tree {
    pub(crate) fn from(files: BTreeMap<String, String>, manifest: &str) -> Self {
        let mut tree = Self { files, reached: BTreeMap::new() };
        for root in ["src/lib.rs", "src/main.rs", "build.rs"] {
            tree.reach(root.into(), false, true);
        }
        for path in manifest.lines().filter_map(|line| line.strip_prefix("path = ")) {
            let path = path.trim_matches('"');
            tree.reach(path.into(), path.starts_with("tests"), true);
        }
        tree
    }

    pub(crate) fn text(&self, path: &str) -> String {
        self.files.get(path).cloned().unwrap_or_default()
    }

    /// The files of the program, tests apart.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        let program = self.reached.iter().filter(|(_, test)| !**test);
        program.map(|(path, _)| Source {
            path: path.clone(),
            code: source::without_tests(&source::code_of(&self.files[path])),
        })
    }

    pub(crate) fn forgotten(&self) -> Vec<String> {
        // A crate of its own below `benches/` has a manifest of its own.
        let own = |path: &str| path.starts_with("examples") || path.starts_with("benches/spike-");
        let code = self.files.keys().filter(|path| !own(path));
        let forgotten = code.filter(|path| !self.reached.contains_key(*path));
        forgotten
            .map(|path| format!("{path} belongs to no crate: no `mod` line names it"))
            .collect()
    }

    fn reach(&mut self, path: String, test: bool, is_root: bool) {
        let Some(text) = self.files.get(&path).cloned() else { return };
        if self.reached.insert(path.clone(), test) == Some(test) {
            return;
        }
        for module in modules(&text) {
            let test = test || module.test;
            for candidate in candidates(&path, is_root, &module) {
                self.reach(candidate, test, false);
            }
        }
    }
}

struct Module {
    name: String,
    /// `#[path]`, if there is one.
    at: Option<String>,
    test: bool,
}

/// The `mod name;` lines of a file.
fn modules(text: &str) -> Vec<Module> {
    let code = source::code_of(text);
    let (mut test, mut at) = (false, None);
    let mut found = Vec::new();
    for (line, raw) in code.lines().zip(text.lines()) {
        let (line, raw) = (line.trim(), raw.trim());
        if line.starts_with("#[") {
            test |= line.contains("cfg(test)");
            let path = raw.strip_prefix("#[path = \"").and_then(|rest| rest.split('"').next());
            at = path.map(str::to_owned).or(at);
            continue;
        }
        if let Some(name) = declared(line) {
            found.push(Module { name: name.to_owned(), at: at.take(), test });
        }
        (test, at) = (false, None);
    }
    found
}

fn declared(line: &str) -> Option<&str> {
    let (visibility, name) = line.strip_suffix(';')?.split_once("mod ")?;
    (visibility.is_empty() || visibility.starts_with("pub")).then_some(name)
}

/// Where the compiler looks for a module of this file.
fn candidates(path: &str, is_root: bool, module: &Module) -> Vec<String> {
    let file = Path::new(path);
    let beside = file.parent().unwrap_or(Path::new(""));
    let shown = |path: PathBuf| path.display().to_string();
    if let Some(at) = &module.at {
        return vec![shown(beside.join(at))];
    }
    let own = file.file_stem().unwrap_or_default();
    let inside = if is_root || own == "mod" { beside.to_owned() } else { beside.join(own) };
    let name = &module.name;
    vec![shown(inside.join(format!("{name}.rs"))), shown(inside.join(name).join("mod.rs"))]
}
