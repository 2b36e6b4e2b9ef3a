//! Recordings with the verdicts of the reference (`tests/golden`): the same numbers to 1e-6 and the
//! same words, in one go and with the state stored and restored between every two looks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::{Header, Judge, Line, Part, VerdictLine};
use super::conditions;

const TOLERANCE: f64 = 1e-6;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Names of the recordings.
pub(super) fn names() -> Vec<String> {
    let names =
        fs::read_dir(folder()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter_map(|n| n.strip_suffix(".conditions.json").map(str::to_owned)).collect();
    names.sort();
    names
}

pub(super) fn judge_of(name: &str) -> (Judge, Vec<Line>) {
    let read = |end: &str| fs::read_to_string(folder().join(format!("{name}.{end}"))).unwrap();
    let policy: Value = serde_json::from_str(&read("conditions.json")).unwrap();
    let texts: Vec<&str> =
        policy["conditions"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    let recording = read("jsonl");
    let mut lines = recording.lines().filter(|line| !line.trim().is_empty());
    let header = Header::parse(lines.next().unwrap()).unwrap();
    let judge = Judge::new(&conditions(&texts), &header).unwrap();
    (judge, lines.map(Line::parse).collect())
}

fn expected(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(format!("{name}.verdicts.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Compares one verdict, key by key; returns the largest difference of a number.
fn compare(name: &str, got: &VerdictLine, want: &Value) -> f64 {
    let got = serde_json::to_value(got).unwrap();
    let words = |v: &Value| {
        let mut v = v.as_object().unwrap().clone();
        for number in ["log_e", "log_e_parts", "confidence"] {
            v.remove(number).unwrap();
        }
        v.into_iter().collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(words(&got), words(want), "{name}");
    let mut pairs =
        vec![(&got["log_e"], &want["log_e"]), (&got["confidence"], &want["confidence"])];
    for part in Part::ALL {
        pairs.push((&got["log_e_parts"][part.word()], &want["log_e_parts"][part.word()]));
    }
    let difference = |(a, b): &(&Value, &Value)| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs(),
        (None, None) => 0.0,
        (Some(_), None) | (None, Some(_)) => f64::INFINITY,
    };
    let worst = pairs.iter().map(difference).fold(0.0, f64::max);
    assert!(worst <= TOLERANCE, "{name} at {}: off by {worst}\n{got}\n{want}", want["at_s"]);
    worst
}

fn store_and_restore(judge: &Judge) -> Judge {
    serde_json::from_str(&serde_json::to_string(judge).unwrap()).unwrap()
}

fn check_all(between: fn(&Judge) -> Judge) -> f64 {
    let names = names();
    assert_eq!(names.len(), 38);
    let mut worst = 0.0_f64;
    for name in names {
        let (mut judge, lines) = judge_of(&name);
        let want = expected(&name);
        let mut got = Vec::new();
        for line in &lines {
            judge = between(&judge);
            got.extend(judge.look(line));
        }
        assert_eq!(got.len(), want.len(), "{name}");
        for (got, want) in got.iter().zip(&want) {
            worst = worst.max(compare(&name, got, want));
        }
    }
    worst
}

#[test]
fn says_what_the_reference_says() {
    let worst = check_all(Judge::clone);
    println!("largest difference {worst:e}");
}

#[test]
fn is_restored_bit_for_bit_between_looks() {
    check_all(|judge| {
        let restored = store_and_restore(judge);
        assert_eq!(&restored, judge);
        restored
    });
}
