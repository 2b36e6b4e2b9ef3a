//! Files that want to hurt: nothing panics, nothing takes long, every note is inside the file.

use proptest::prelude::*;

use super::super::document::{DEPTH_MAX, NODES_MAX};
use super::super::{FILE_BYTES_MAX, Report, SHIPPED, Severity, diagnostic, read};
use super::{COMPLETE, refused};

/// Asserts that a refusal can be printed and that all its places exist.
pub(crate) fn check_report(bytes: &[u8], report: &Report) -> Result<(), TestCaseError> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.split('\n').collect();
    prop_assert!(report.notes().iter().any(|note| note.severity == Severity::Error));
    let printed = report.to_string();
    for finding in report.findings() {
        let place = format!("policy.yaml:{}:{}\n", finding.line, finding.column);
        prop_assert!(printed.contains(&place), "{} is not in {}", place, printed);
        prop_assert!((1..=lines.len()).contains(&finding.line), "{:?}", finding);
        let characters = lines[finding.line - 1].chars().count();
        prop_assert!((1..=characters + 1).contains(&finding.column), "{:?}", finding);
    }
    prop_assert!(report.coloured().contains("policy.yaml"));
    Ok(())
}

/// A valid text with a few things cut out, doubled and put in.
pub(crate) fn mutated(texts: Vec<&'static str>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\t"),
        Just(": "),
        Just("- "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just("\""),
        Just("&a "),
        Just("*a"),
        Just("<<: "),
        Just("%"),
        Just("\n"),
        Just("\r\n"),
        Just("---\n"),
        Just("null"),
        Just("!x "),
        Just("|\n"),
        Just("é"),
        Just("\u{feff}"),
        Just("# "),
        Just("0"),
    ];
    let edit = (any::<prop::sample::Index>(), 0..20_usize, piece, any::<bool>());
    (prop::sample::select(texts), prop::collection::vec(edit, 1..6)).prop_map(|(text, edits)| {
        let mut bytes = text.as_bytes().to_vec();
        for (at, length, piece, keep) in edits {
            let at = at.index(bytes.len() + 1);
            let end = if keep { at } else { (at + length).min(bytes.len()) };
            bytes.splice(at..end, piece.bytes());
        }
        bytes
    })
}

fn texts() -> Vec<&'static str> {
    SHIPPED.iter().map(|(_, text)| *text).chain([COMPLETE]).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_refused_inside_the_file(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(report) = read(std::path::Path::new("policy.yaml"), &bytes) {
            check_report(&bytes, &report)?;
        }
    }

    #[test]
    fn a_damaged_policy_is_read_or_refused_inside_the_file(bytes in mutated(texts())) {
        if let Err(report) = read(std::path::Path::new("policy.yaml"), &bytes) {
            check_report(&bytes, &report)?;
        }
    }
}

/// Asserts the first message and its place.
fn check(bytes: &[u8], line: usize, message: &str) {
    let report = refused(bytes);
    check_report(bytes, &report).unwrap();
    let first = &report.findings()[0];
    assert!(first.message.contains(message), "{}", first.message);
    assert_eq!(first.line, line, "{}", first.message);
}

#[test]
fn a_file_over_one_mebibyte_is_refused() {
    let mut bytes = b"deployment:\n  strategy: canary\n#".to_vec();
    bytes.resize(FILE_BYTES_MAX + 1, b'x');
    check(&bytes, 1, "1048577 bytes");
    bytes.truncate(FILE_BYTES_MAX);
    check(&bytes, 2, "no condition");
}

#[test]
fn nesting_is_bounded() {
    check("[".repeat(10_000).as_bytes(), 1, "recursion limit");
    check("{a: ".repeat(10_000).as_bytes(), 1, "recursion limit");
    check("- ".repeat(10_000).as_bytes(), 1, "recursion limit");
    let blocks: String = (0..1_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    check(blocks.as_bytes(), DEPTH_MAX + 1, "recursion limit");
}

#[test]
fn aliases_cost_what_they_expand_to() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    check(bomb.as_bytes(), 4, "more than 10000 values");
    check(b"a: &a [*a]\n", 1, "inside of what it refers to");
    check(b"a: *nothing\n", 1, "unknown anchor");
}

#[test]
fn values_are_counted() {
    let list = format!("a: [{}]\n", "x, ".repeat(NODES_MAX));
    check(list.as_bytes(), 1, "more than 10000 values");
}

#[test]
fn many_mistakes_are_cut_short() {
    let keys: String = (0..4_000).map(|n| format!("key{n}: 1\n")).collect();
    let report = refused(keys.as_bytes());
    assert_eq!(report.notes().len(), diagnostic::NOTES_MAX);
    assert!(report.to_string().ends_with("100 errors, 3901 more not shown in policy.yaml"));
}

#[test]
fn what_is_no_text_is_refused() {
    check(b"deployment:\n  strategy: \xff\xfe\n", 2, "not UTF-8");
    check(b"", 1, "empty");
    check(b"# nothing but a comment\n", 1, "empty");
    check(b"\xef\xbb\xbf\n", 1, "empty");
    check(b"a\0b", 1, "");
    check(b"deployment:\n  strategy: canary\n\tstages: []\n", 3, "a tab can't indent YAML");
    check(b"a: 1\n---\nb: 1\n", 2, "more than one document");
}

#[test]
fn lists_are_bounded() {
    let many = "error_rate > 5%, ".repeat(2_000);
    let text =
        format!("deployment: {{ strategy: canary, auto_rollback: {{ conditions: [{many}] }} }}");
    check(text.as_bytes(), 1, "2000 entries, at most 200");
}
