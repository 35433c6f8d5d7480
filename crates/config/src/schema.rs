//! The JSON Schema of the configuration, made from the types that decode it.

use schemars::generate::SchemaSettings;
use schemars::{Schema, json_schema};
use serde_json::{Map, Value};

use crate::file::File;

/// The JSON Schema (draft 2020-12) of a configuration file.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    schema.insert("title".to_owned(), "Gatepost configuration".into());
    schema.to_value()
}

/// The schema of a table: `about` and the comments of its fields are lines of doc comments.
pub(crate) fn table<const N: usize>(
    about: &[&str],
    fields: [(&'static str, &[&str], Schema); N],
    required: &[&str],
) -> Schema {
    let mut properties = Map::new();
    for (name, field_about, mut schema) in fields {
        schema.insert("description".to_owned(), described(field_about).into());
        properties.insert(name.to_owned(), schema.to_value());
    }
    let mut schema = json_schema!({
        "type": "object",
        "description": described(about),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// The text of a doc comment: its lines joined into paragraphs.
fn described(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines.iter().map(|line| line.trim()) {
        match line {
            "" => text.push_str("\n\n"),
            line if text.is_empty() || text.ends_with('\n') => text.push_str(line),
            line => {
                text.push(' ');
                text.push_str(line);
            }
        }
    }
    text
}
