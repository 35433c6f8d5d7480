//! The JSON Schema says the same as the loader, as far as a schema can.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::path::{Path, PathBuf};

use gatepost_config::schema;
use serde_json::{Value, json};

#[test]
fn the_schema_accepts_every_good_file() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for path in files("good").into_iter().chain(files("good/routes")) {
        let instance = read(&path);
        let errors: Vec<String> =
            validator.iter_errors(&instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
}

#[test]
fn the_schema_rejects_files_of_the_wrong_structure() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for name in [
        "answers",
        "behind",
        "domains",
        "durations_and_sizes",
        "examples",
        "headers",
        "hosts_and_bases",
        "listeners",
        "names",
        "not_in_this_version",
        "redirecting_listeners",
        "route_keys",
        "secret_in_the_file",
        "targets",
        "templates",
        "unknown_keys",
        "upstreams",
        "wrong_kinds",
    ] {
        let path = golden("broken").join(name).with_extension("toml");
        assert!(!validator.is_valid(&read(&path)), "{name} is valid");
    }
}

#[test]
fn every_key_is_described_and_no_other_is_allowed() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap().iter();
    let root = ("File".to_owned(), schema.clone());
    let tables = definitions.map(|(name, table)| (name.clone(), table.clone())).chain([root]);
    let mut count = 0;
    for (name, table) in tables.filter(|(_, table)| table.get("properties").is_some()) {
        assert_eq!(table["additionalProperties"], json!(false), "{name}");
        for (key, value) in table["properties"].as_object().unwrap() {
            let description = value["description"].as_str().unwrap();
            assert!(description.ends_with(['.', '`']), "{name}.{key}: {description}");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn the_schema_is_this() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&schema()).unwrap());
}

fn golden(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(directory)
}

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(golden(directory)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect()
}

/// A TOML file as JSON: dates as text.
fn read(path: &Path) -> Value {
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    to_json(toml::Value::Table(table))
}

fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, to_json(value))).collect())
        }
    }
}
