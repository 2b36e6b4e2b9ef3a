//! The JSON Schema (draft 2020-12) of the files that users write, for their editors.
//!
//! It is printed from the same table that the reader uses; see [`super::shape`].

use serde_json::{Map, Value, json};

use super::shape::{self, Kind, Shape};

/// Returns the schema of a policy file.
#[must_use]
pub fn schema() -> Value {
    of("gate policy", &shape::FILE)
}

/// Returns the schema of a file of that shape.
#[must_use]
pub fn of(title: &str, shape: &'static Shape) -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
    });
    if let (Value::Object(schema), Value::Object(table)) = (&mut schema, table(shape)) {
        schema.extend(table);
    }
    schema
}

fn table(shape: &'static Shape) -> Value {
    let mut properties = Map::new();
    for field in shape.fields {
        let mut value = kind(&field.kind);
        if let Value::Object(value) = &mut value {
            value.insert("description".to_owned(), field.about.into());
        }
        properties.insert(field.name.to_owned(), value);
    }
    let required: Vec<&str> = shape.fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    json!({
        "type": "object",
        "description": shape.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn kind(kind: &'static Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole { least, most } => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Duration { .. } => pattern(r"^\s*(\d+(\.\d+)?\s*[a-zA-Zµ]+\s*)+$", "30s"),
        Kind::Share => pattern(r"^\s*\d+(\.\d+)?\s*%\s*$", "5%"),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Port => json!({ "oneOf": [
            { "const": "auto" },
            { "type": "integer", "minimum": 1, "maximum": 65_535 },
        ] }),
        Kind::Address => pattern(r"^.+:\d+$", "127.0.0.1:8080"),
        Kind::Moment => {
            pattern(r"^\s*(\d{4}-\d{2}-\d{2} |[A-Za-z]+ +)?\d{1,2}:\d{2}\s*$", "Fri 16:00")
        }
        Kind::Zone => json!({ "type": "string", "examples": ["Europe/Berlin"] }),
        Kind::Conditions => json!({
            "type": "array",
            "items": pattern(r"^\s*[a-z_][a-z0-9_.]*\s*[<>]\s*-?\d.*$", "error_rate > 5%"),
        }),
        Kind::Texts => {
            json!({ "type": "array", "items": { "type": ["string", "number", "boolean"] } })
        }
        Kind::Named => json!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        }),
        Kind::Table(shape) => table(shape),
        Kind::Tables(shape) => json!({ "type": "array", "items": table(shape) }),
        Kind::NamedTables(shape) => {
            json!({ "type": "object", "additionalProperties": table(shape) })
        }
    }
}

fn pattern(pattern: &str, example: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "examples": [example] })
}
