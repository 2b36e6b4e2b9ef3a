//! Bad samples: each check must find what it is there for.

use std::collections::BTreeMap;
use std::path::Path;

use crate::checks::{self, Map, Ratchet};
use crate::source;
use crate::tree::Tree;

const LIB: &str = "//! | layer | module | what |\n//! | pure | [`policy`] | x |\n//! | shell | [`platform`] | x |\n\
    //! | shell | [`evidence`] | x |\n//! | shell | [`history`] | x |\n//! | face | [`cli`] | x |\n\
    pub mod policy;\npub mod platform;\npub mod evidence;\npub mod history;\nmod cli;\n";

#[test]
fn a_map_that_drifts_from_the_modules_is_found() {
    let map = Map::read(LIB);
    assert_eq!(map.complaints(LIB), Vec::<String>::new());
    assert_eq!(map.complaints(&format!("{LIB}mod more;\n")).len(), 1);
    assert_eq!(Map::read("mod cli;").complaints("mod cli;").len(), 1, "no map at all");
}

#[test]
fn a_use_of_a_lower_layer_is_found() {
    let check = |path: &str, code: &str, found: usize| {
        assert_eq!(Map::read(LIB).uses(path, code).len(), found, "{code}");
    };
    check("src/cli/mod.rs", "use crate::policy::Policy; crate::cli::x()", 0);
    check("src/policy/parse.rs", "use crate::platform::Platform;", 1);
    check("src/policy.rs", "use crate::{platform::{a, b}, cli};", 2);
    check("src/policy.rs", "use crate::{policy::{cli, platform}, policy};", 0);
    check("src/policy.rs", "fn f() -> crate::cli::Exit {}", 1);
    check("src/policy.rs", "use crate::unmapped;", 1);
    check("src/history/a.rs", "use crate::platform::local;", 1);
    check("src/main.rs", "use crate::cli;", 0);
}

#[test]
fn an_impure_word_in_a_pure_module_is_found() {
    let check = |path: &str, text: &str, found: usize| {
        let code = source::without_tests(&source::code_of(text));
        assert_eq!(Map::read(LIB).impurities(path, &code).len(), found, "{text}");
    };
    check("src/policy/a.rs", "use std::fs;", 1);
    check("src/policy/a.rs", "let t = Utc::now(); async fn f() {}", 2);
    check("src/policy/a.rs", "tokio::spawn(x)", 1);
    check("src/policy/a.rs", "// tokio\nlet a = \"hyper\"; let kubernetes = 1;", 0);
    check("src/policy/a.rs", "#[cfg(test)]\nmod tests {\n use std::fs;\n}", 0);
    check("src/platform/a.rs", "use std::fs;", 0);
}

#[test]
fn a_forgotten_file_is_found() {
    let check = |files: &[(&str, &str)], forgotten: &[&str]| {
        let files: BTreeMap<_, _> =
            files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
        let found = Tree::from(files, "[[test]]\npath = \"tests/it/main.rs\"\n").forgotten();
        assert_eq!(found.len(), forgotten.len(), "{found:?}");
        assert!(found.iter().zip(forgotten).all(|(found, path)| found.starts_with(path)));
    };
    check(&[("src/lib.rs", "pub mod a;"), ("src/a.rs", ""), ("src/b.rs", "")], &["src/b.rs"]);
    check(&[("src/lib.rs", "// mod a;\n"), ("src/a.rs", "")], &["src/a.rs"]);
    check(
        &[
            ("src/lib.rs", "mod a;\npub(crate) mod b;"),
            ("src/a/mod.rs", "#[cfg(test)]\nmod tests;"),
            ("src/a/tests.rs", ""),
            ("src/b.rs", "#[path = \"other.rs\"]\nmod c;\nmod d;"),
            ("src/other.rs", ""),
            ("src/b/d.rs", ""),
            ("tests/it/main.rs", "mod e;"),
            ("tests/it/e.rs", ""),
            ("tests/it/f.rs", ""),
        ],
        &["tests/it/f.rs"],
    );
}

#[test]
fn what_is_for_tests_only_is_no_source() {
    let files = [
        ("src/lib.rs", "mod a;\n#[cfg(test)]\nmod storm;"),
        (
            "src/a.rs",
            "fn kept() {}\n#[cfg(test)]\nmod tests { fn f() {} }\n#[tokio::test(a = 1)]\nasync fn g() { if a {} }",
        ),
        ("src/storm.rs", "fn h() {}"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let tree = Tree::from(files.into(), "");
    let functions: Vec<_> = tree.sources().flat_map(|file| source::functions(&file.code)).collect();
    assert_eq!(functions, [("kept".to_owned(), 1)]);
}

#[test]
fn functions_are_measured_from_signature_to_brace() {
    let text = "impl A {\n  /// fn doc() {\n  fn a(x: [u8; 4]) -> char {\n    let s = \"}\";\n    '}'\n  }\n\
        fn b(&self);\n}\nconst fn c<'a>(x: &'a str) where 'a: 'a {\n /* } */ let r = r#\"}\"}\"#;\n b'\\''\n}\n\
        type F = fn (u8);\n";
    let found = source::functions(&source::code_of(text));
    assert_eq!(found, [("a".to_owned(), 4), ("c".to_owned(), 4)]);
    assert_eq!(source::lines_of_code("a\n\nb\n\n  \n"), 3);
}

#[test]
fn a_ratchet_only_turns_one_way() {
    let ratchet = Ratchet { what: "function", limit: 70, over: &[("old", 90), ("gone", 80)] };
    let check = |name: &str, lines: usize, found: usize| {
        let measured = vec![(name.to_owned(), lines), ("gone".to_owned(), 80)];
        let complaints = ratchet.complaints(measured.clone());
        let complaints = complaints.iter().filter(|text| text.contains(&format!(" {name} ")));
        assert_eq!(complaints.count(), found, "{name} {lines}");
    };
    check("new", 70, 0);
    check("new", 71, 1);
    check("old", 90, 0);
    check("old", 91, 1);
    check("old", 89, 1);
    assert_eq!(ratchet.complaints(vec![("old".to_owned(), 90)]).len(), 1, "what is gone is found");
}

#[test]
fn forbidden_words_are_found() {
    for word in [concat!("// TO", "DO later"), concat!("FIX", "ME"), concat!("to", "do!()")] {
        assert_eq!(checks::words("src/a.rs", word).len(), 1, "{word}");
    }
    assert_eq!(
        checks::words("src/a.rs", concat!("fine\n#[ig", "nore]")),
        [concat!("src/a.rs:2: #[ig", "nore")]
    );
    assert_eq!(checks::words("src/a.rs", "autodoc").len(), 0);
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let check = |text: &str, found: usize| {
        let exists = |path: &Path| path.ends_with("docs/there.md") || path.ends_with("docs/a.md");
        let read = |_: &Path| "# One thing, and `another`\n```\n# no heading\n```\n".to_owned();
        let complaints = checks::links(Path::new("/r"), "docs/a.md", text, &exists, &read);
        assert_eq!(complaints.len(), found, "{text}: {complaints:?}");
    };
    check("[a](there.md) and [b](missing.md)", 1);
    check("[a](https://example.org/missing.md)", 0);
    check("[a](there.md#one-thing-and-another) [b](#one-thing-and-another \"title\")", 0);
    check("[a](there.md#no-heading)", 1);
    check("```\n[a](missing.md)\n```", 0);
    check("[a](../missing)", 1);
}

#[test]
fn a_crate_too_many_is_found() {
    let tree = "gate v0.1.0 (/r)\na v1\nb v1\na v1 (*)\n\nb v2\n";
    assert_eq!(checks::crates(tree, 3).len(), 0);
    assert_eq!(checks::crates(tree, 2).len(), 1);
    assert_eq!(checks::crates(tree, 4).len(), 1);
}
