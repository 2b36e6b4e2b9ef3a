//! The shape of the tree: layers, lengths, forgotten files, dependencies, links, words.
//!
//! A ratchet is a list of what is over a limit today, with its present measure: it may only shrink.
//! Every check is a function from text to complaints, and `tidy/samples.rs` proves that each can fail.

#![expect(clippy::unwrap_used, reason = "a tree that can't be read fails the test")]

#[path = "tidy/checks.rs"]
mod checks;
#[path = "tidy/samples.rs"]
mod samples;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

use std::path::Path;
use std::process::Command;

use checks::{Map, Ratchet};

/// Lines from a function's signature to its closing brace, tests apart.
const FUNCTION_LINES: Ratchet = Ratchet {
    what: "function",
    limit: 70,
    over: &[
        // ("src/file.rs: name", lines)
    ],
};

/// Lines of a file, tests apart: those may be long, one idea after the other.
const FILE_LINES: Ratchet = Ratchet {
    what: "file",
    limit: 350,
    over: &[
        // ("src/file.rs", lines)
    ],
};

/// Crates in the program, all features and transitive ones included. A new one is a decision:
/// raise the number in the same commit, and say there what the crate saves.
const CRATES: usize = 213;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_module_uses_only_what_stands_above_it() {
    let tree = tree::read(root());
    let map = Map::read(&tree.text("src/lib.rs"));
    none(map.complaints(&tree.text("src/lib.rs")));
    none(tree.sources().flat_map(|file| map.uses(&file.path, &file.code)).collect());
}

#[test]
fn pure_modules_touch_no_clock_and_no_world() {
    let tree = tree::read(root());
    let map = Map::read(&tree.text("src/lib.rs"));
    none(tree.sources().flat_map(|file| map.impurities(&file.path, &file.code)).collect());
}

#[test]
fn every_file_is_part_of_a_crate() {
    let tree = tree::read(root());
    none(tree.forgotten());
}

#[test]
fn functions_fit_a_screen() {
    let tree = tree::read(root());
    let lengths = tree.sources().flat_map(|file| {
        let functions = source::functions(&file.code).into_iter();
        functions.map(move |(name, lines)| (format!("{}: {name}", file.path), lines))
    });
    none(FUNCTION_LINES.complaints(lengths.collect()));
}

#[test]
fn files_are_of_readable_length() {
    let tree = tree::read(root());
    let lengths = tree.sources().map(|file| (file.path.clone(), source::lines_of_code(&file.code)));
    none(FILE_LINES.complaints(lengths.collect()));
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_for_later() {
    none(tree::texts(root()).iter().flat_map(|(path, text)| checks::words(path, text)).collect());
}

#[test]
fn links_in_documents_lead_somewhere() {
    let exists = |path: &Path| path.exists();
    let headings = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let documents = tree::texts(root()).into_iter().filter(|(path, _)| path.ends_with(".md"));
    let links =
        documents.flat_map(|(path, text)| checks::links(root(), &path, &text, &exists, &headings));
    none(links.collect());
}

#[test]
fn the_program_has_no_more_crates_than_it_says() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal", "--prefix", "none", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    none(checks::crates(&String::from_utf8_lossy(&tree.stdout), CRATES));
}
