//! Recorded promotions rendered in every form, and hostile words in every place where words can be.

use std::path::Path;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::{Form, Report, ReportLine, SUMMARY_BYTES_MAX};
use crate::analysis::{Unknown, Verdict};
use crate::history::journal::Body;
use crate::history::{Record, journal};
use crate::published::ResultLine;
use crate::rollout::ResultWord;

/// A promotion that really ran, as its journal has it.
pub(super) fn recorded(name: &str) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/action/records").join(name);
    let (entries, repair) = journal::read::<Record>(&path).unwrap();
    assert!(repair.is_clean(), "{repair:?}");
    let known = entries.into_iter().map(|entry| match entry.body {
        Body::Known(record) => (entry.at, record),
        Body::Unknown { schema, .. } => panic!("{schema} is not known"),
    });
    report(known.collect())
}

fn report(records: Vec<(DateTime<Utc>, Record)>) -> Report {
    let (Some((_, Record::Started { id, plan, .. })), Some((_, Record::Finished { outcome }))) =
        (records.first(), records.last())
    else {
        panic!("it has no start or no end")
    };
    let mut result = ResultLine::new(id, &plan.target, (**outcome).clone());
    result.next = Some(format!("gate history {} --id {id}", plan.target));
    Report::new(result, records)
}

fn refused() -> Report {
    let result = ResultLine::not_started(
        "local/checkout",
        ResultWord::Refused,
        7,
        "v1",
        "broken",
        "broken is quarantined".into(),
        Some("gate promote local/checkout --release broken --retry REASON".into()),
    );
    Report::new(result, Vec::new())
}

#[test]
fn a_summary_says_the_verdict_and_the_reason_first() {
    let text = recorded("broken.jsonl").render(Form::Markdown);
    let (shown, folded) = text.split_once("<details>").unwrap();
    insta::assert_snapshot!("summary_of_a_bad_release", shown);
    assert!(folded.contains("\"kind\":\"finished\""));
    let text = recorded("healthy.jsonl").render(Form::Markdown);
    let (shown, _) = text.split_once("<details>").unwrap();
    insta::assert_snapshot!("summary_of_a_good_release", shown);
    insta::assert_snapshot!("summary_of_a_refusal", refused().render(Form::Markdown));
}

#[test]
fn junit_has_a_case_for_every_stage_and_condition() {
    insta::assert_snapshot!("junit_of_a_bad_release", recorded("broken.jsonl").render(Form::Junit));
    insta::assert_snapshot!("junit_of_a_refusal", refused().render(Form::Junit));
}

#[test]
fn a_page_shows_all_there_is() {
    insta::assert_snapshot!("page_of_a_bad_release", body(&recorded("broken.jsonl")));
    insta::assert_snapshot!("page_of_a_refusal", body(&refused()));
    let page = recorded("slow.jsonl").render(Form::Html);
    assert!(page.contains("How sure it is that the candidate is worse"), "{page}");
    assert!(page.contains("limit: response_time_p95 &gt; 1000ms"));
}

fn body(report: &Report) -> String {
    let page = report.render(Form::Html);
    page.split_once("<body>").unwrap().1.to_owned()
}

#[test]
fn the_record_can_be_read_again() {
    let report = recorded("broken.jsonl");
    let read: ReportLine = serde_json::from_str(&report.render(Form::Json)).unwrap();
    assert_eq!(read.schema, "gate.report/v1");
    assert_eq!(read.result, report.result);
    let records: Vec<_> = read.records.into_iter().map(|r| (r.at, r.record)).collect();
    assert_eq!(records, report.records);
}

#[test]
fn a_form_is_told_by_the_ending() {
    for (path, expected) in [
        ("a.json", Some(Form::Json)),
        ("b/c.xml", Some(Form::Junit)),
        ("c.html", Some(Form::Html)),
        ("d.md", Some(Form::Markdown)),
        ("e.pdf", None),
        ("json", None),
        ("", None),
    ] {
        assert_eq!(Form::of_path(Path::new(path)), expected, "{path}");
    }
}

#[test]
fn a_promotion_cut_off_anywhere_is_still_told() {
    let Report { result, records, .. } = recorded("broken.jsonl");
    for end in 0..records.len() {
        let report = Report::new(result.clone(), records[..end].to_vec());
        for form in [Form::Json, Form::Junit, Form::Html, Form::Markdown] {
            assert!(report.render(form).contains("broken"), "{end} records as {form:?}");
        }
    }
}

/// A day of looks every 5 s stays readable, and a summary stays below what GitHub takes.
#[test]
fn a_long_promotion_stays_small() {
    let Report { result, records, .. } = recorded("healthy.jsonl");
    let look = records.iter().find(|(_, r)| matches!(r, Record::Observed { .. })).unwrap().clone();
    let mut long = vec![records[0].clone()];
    long.extend((0..17_280).map(|k| (look.0 + chrono::TimeDelta::seconds(5 * k), look.1.clone())));
    long.extend(records[1..].iter().cloned());
    let report = Report::new(result, long);
    assert!(report.render(Form::Markdown).len() <= SUMMARY_BYTES_MAX);
    assert!(report.render(Form::Html).len() <= 512 * 1024);
}

/// Words as nobody means well with.
fn hostile() -> impl Strategy<Value = String> {
    let known = [
        "<script>alert(1)</script>",
        "\"'><img src=x onerror=alert(1)>",
        "]]>",
        "\0\u{1}\u{1b}[31m\u{7f}\u{85}\u{FFFE}\u{202E}",
        "`` ``` ````\n~~~\n# x",
        "a|b\n|---|\n::error::x\r\n",
        "</details></table></body>&amp;&#0;",
        "[x](javascript:alert(1)) ![y](http://z.example/p.png) <http://z.example>",
        "${{ github.token }} $(touch x) `touch x`",
    ];
    prop_oneof![
        proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(known.to_vec()).prop_map(|word| word.repeat(10_240 / word.len())),
        ".{0,40}",
        Just(String::new()),
    ]
}

/// A record with hostile words wherever a user, an application or a passer-by can put some.
fn poisoned(words: [String; 4]) -> Report {
    let Report { mut result, mut records, .. } = recorded("broken.jsonl");
    let [name, reason, by, target] = words;
    for (_, record) in &mut records {
        match record {
            Record::Started { id, by: began, plan } => {
                (*id, *began) = (by.clone(), by.clone());
                plan.release.name.clone_from(&name);
                plan.stable.name.clone_from(&reason);
                plan.policy_source.clone_from(&by);
            }
            Record::Observed { judgement, .. } => {
                judgement.readings[0].condition.clone_from(&name);
                judgement.readings[0].unknown = Some(Unknown::SourceDown { what: reason.clone() });
                judgement.verdict =
                    Verdict::Unknown { why: vec![Unknown::NoData { arm: by.clone() }] };
            }
            Record::Happened { event } => event.message.clone_from(&reason),
            Record::Finished { .. }
            | Record::Decided { .. }
            | Record::Done { .. }
            | Record::Learned { .. }
            | Record::Asked { .. } => {}
        }
    }
    result.target = target;
    result.outcome.candidate_revision = name.clone();
    result.outcome.stable_revision.clone_from(&by);
    result.outcome.causes[0].condition = name;
    result.outcome.reason = reason.clone();
    result.next = Some(reason);
    Report::new(result, records)
}

/// Everything between `<` and `>`.
fn tags(text: &str) -> Vec<&str> {
    text.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect()
}

/// The names of the elements that a text opens.
fn elements(text: &str) -> std::collections::BTreeSet<String> {
    let name = |tag: &&str| tag.split([' ', '/', '\n']).next().unwrap().to_owned();
    tags(text).iter().map(name).filter(|name| !name.is_empty()).collect()
}

/// The names of the attributes: what is inside a tag and outside its quotes.
fn attributes(text: &str) -> std::collections::BTreeSet<String> {
    let bare = |tag: &str| tag.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let names = tags(text).into_iter().flat_map(|tag| {
        bare(tag).split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    });
    names.collect()
}

/// The lines of Markdown that are not inside a block of code.
fn outside_code(text: &str) -> String {
    let mut fence: Option<String> = None;
    let mut out = String::new();
    for line in text.lines() {
        let ticks: String = line.chars().take_while(|c| *c == '`').collect();
        match &fence {
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => out.push_str(line),
            Some(open) if line == open => fence = None,
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "a block of code is not closed");
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_words_are_text(words in [hostile(), hostile(), hostile(), hostile()]) {
        let clean = recorded("broken.jsonl");
        let report = poisoned(words);
        for form in [Form::Html, Form::Junit] {
            let (text, pattern) = (report.render(form), clean.render(form));
            prop_assert!(elements(&text).is_subset(&elements(&pattern)), "{:?}", elements(&text));
            prop_assert!(!text.contains("]]>"));
            let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{FFFE}' || c == '\u{FFFF}';
            prop_assert!(!text.contains(odd), "{:?}", text.chars().find(|c| odd(*c)));
            prop_assert!(attributes(&text).is_subset(&attributes(&pattern)), "{:?}", attributes(&text));
        }
        let text = report.render(Form::Markdown);
        let (shown, folded) = text.split_once("<details>").unwrap();
        prop_assert!(!outside_code(shown).contains('<'), "{shown}");
        prop_assert!(shown.starts_with("## ✘ rolled back: "));
        prop_assert!(folded.trim_end().ends_with("</details>"));
        prop_assert!(text.len() <= SUMMARY_BYTES_MAX);
    }

    #[test]
    fn a_summary_keeps_to_any_limit(bytes_max in 0_usize..40_000) {
        prop_assert!(recorded("broken.jsonl").summary(bytes_max).len() <= bytes_max);
    }
}
