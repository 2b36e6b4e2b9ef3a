//! The schema and the reader can't disagree.

use serde_json::{Value, json};

use super::super::diagnostic::Notes;
use super::super::document::{self, Content, Node};
use super::super::shape::{self, Kind, Shape};
use super::super::*;
use super::COMPLETE;

/// Returns a file as the value that a validator in an editor sees.
pub(crate) fn value(text: &str) -> Value {
    fn of(node: &Node) -> Value {
        match &node.content {
            Content::Empty => Value::Null,
            Content::Scalar(scalar) if scalar.quoted => scalar.text.clone().into(),
            Content::Scalar(scalar) => {
                serde_json::from_str(&scalar.text).unwrap_or_else(|_| scalar.text.clone().into())
            }
            Content::List(items) => items.iter().map(of).collect(),
            Content::Table(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), of(&e.value))).collect())
            }
        }
    }
    of(&document::read(&mut Notes::default(), text.as_bytes()).unwrap())
}

/// Says where a value breaks a schema. It knows the keywords that gate's schemas use, and no others.
pub(crate) fn breaks(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "examples" | "properties" => true,
            "type" => is_type(rule, value),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value.as_u64().is_none_or(|n| n >= rule.as_u64().unwrap()),
            "maximum" => value.as_u64().is_none_or(|n| n <= rule.as_u64().unwrap()),
            "minLength" => value.as_str().is_none_or(|s| !s.is_empty()),
            "pattern" => {
                let pattern = regex_lite::Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|s| pattern.is_match(s))
            }
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some()),
            "oneOf" => {
                let ways = rule.as_array().unwrap().iter();
                ways.filter(|way| breaks(way, value, at).is_empty()).count() == 1
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    broken.extend(breaks(rule, item, &format!("{at}[{n}]")));
                }
                true
            }
            "additionalProperties" => {
                for (name, item) in value.as_object().into_iter().flatten() {
                    let at = format!("{at}.{name}");
                    match (schema.get("properties").and_then(|p| p.get(name)), rule) {
                        (Some(own), _) => broken.extend(breaks(own, item, &at)),
                        (None, Value::Bool(false)) => broken.push(at),
                        (None, others) => broken.extend(breaks(others, item, &at)),
                    }
                }
                true
            }
            unknown => panic!("the test does not know the keyword {unknown}"),
        };
        if !holds {
            broken.push(format!("{at}: {keyword} {rule}"));
        }
    }
    broken
}

fn is_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        unknown => panic!("the test does not know the type {unknown}"),
    };
    match rule {
        Value::String(name) => is(name),
        names => names.as_array().unwrap().iter().any(|name| is(name.as_str().unwrap())),
    }
}

#[test]
fn every_shipped_policy_keeps_to_the_schema() {
    for (name, text) in SHIPPED.into_iter().chain([("complete", COMPLETE)]) {
        assert_eq!(breaks(&schema(), &value(text), name), Vec::<String>::new());
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for text in
        ["deployment: { strategy: canary, drain: 10 }", "deployment: { strategy: blue }", "x: 1"]
    {
        assert_ne!(breaks(&schema(), &value(text), ""), Vec::<String>::new(), "{text}");
    }
}

/// Calls with the pointer of every key of a shape, and with a value that can't stand there.
pub(crate) fn each_key(shape: &'static Shape, at: &str, seen: &mut impl FnMut(&str, Value)) {
    for field in shape.fields {
        let at = format!("{at}/{}", field.name);
        match &field.kind {
            Kind::Table(inner) => each_key(inner, &at, seen),
            Kind::Tables(inner) => each_key(inner, &format!("{at}/0"), seen),
            Kind::NamedTables(inner) => each_key(inner, &format!("{at}/v1"), seen),
            Kind::Conditions | Kind::Texts => seen(&format!("{at}/0"), json!([[]])),
            Kind::Text
            | Kind::Flag
            | Kind::Whole { .. }
            | Kind::Duration { .. }
            | Kind::Share
            | Kind::Choice(_)
            | Kind::Port
            | Kind::Address
            | Kind::Moment
            | Kind::Zone
            | Kind::Named => {}
        }
        seen(&at, json!([["nothing that a key could want"]]));
    }
}

#[test]
fn the_reader_reads_every_key_of_the_schema() {
    let whole = value(COMPLETE);
    each_key(&shape::FILE, "", &mut |at, wrong| {
        let mut broken = whole.clone();
        let place = broken.pointer_mut(at);
        *place.unwrap_or_else(|| panic!("complete.yaml has no {at}")) = wrong;
        let text = serde_json::to_string_pretty(&broken).unwrap();
        let report = super::refused(text.as_bytes());
        let seen = report.notes().iter().any(|note| note.message.starts_with("expected"));
        assert!(seen, "the reader does not look at {at}: {report}");
    });
}

#[test]
fn every_word_of_a_choice_is_read() {
    fn choices(shape: &'static Shape, at: &str, seen: &mut impl FnMut(&str, &str)) {
        for field in shape.fields {
            let at = format!("{at}/{}", field.name);
            match &field.kind {
                Kind::Table(inner) => choices(inner, &at, seen),
                Kind::Choice(words) => words.iter().for_each(|word| seen(&at, word)),
                _ => {}
            }
        }
    }
    let mut read = std::collections::BTreeSet::new();
    choices(&shape::FILE, "", &mut |at, word| {
        let mut file = value(
            "deployment: { strategy: canary, auto_rollback: { enabled: false }, evidence: {}, traffic: {} }",
        );
        let (table, key) = at.rsplit_once('/').unwrap();
        file.pointer_mut(table).unwrap()[key] = word.into();
        let policy = super::policy(&file.to_string());
        read.insert(format!(
            "{:?} {:?} {:?} {:?}",
            policy.strategy,
            policy.evidence.judge,
            policy.insufficient_traffic,
            policy.traffic.router
        ));
    });
    // The defaults come up three times: each other word makes a policy of its own.
    assert_eq!(read.len(), 2 + 2 + 3 + 2 - 2);
}

#[test]
fn routes_are_taken_where_it_is_said_or_one_is_named() {
    let by_routes = |traffic: &str| {
        let unjudged = "strategy: canary, auto_rollback: { enabled: false }";
        let text = format!("deployment: {{ {unjudged}, traffic: {traffic} }}");
        super::policy(&text).traffic.by_routes()
    };
    for (traffic, expected) in [
        ("{}", false),
        ("{ router: service }", false),
        ("{ router: gateway-api }", true),
        ("{ route: shop }", true),
        ("{ router: gateway-api, route: shop }", true),
    ] {
        assert_eq!(by_routes(traffic), expected, "{traffic}");
    }
}
