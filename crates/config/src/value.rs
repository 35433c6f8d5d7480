//! Values that may be written in more than one way.

use std::borrow::Cow;

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use toml::de::DeValue;

use crate::choice::RedirectTo;
use crate::collections::{List, Named};
use crate::decode::{Decode, Decoder, Field, Item};
use crate::file::{EjectTable, HmacSha256Table, ListenerRedirectTable, ListenerTable, SignedTable};
use crate::model::Expect;
use crate::text::{ListenAddress, Name};

/// `listen`: one address, or listeners by name.
#[derive(Debug)]
pub(crate) enum Listen {
    Address(ListenAddress),
    Listeners(Named<Name, ListenerTable>),
}

impl Decode for Listen {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        match item.value {
            DeValue::Table(listeners) if listeners.is_empty() => {
                let error = decoder.error(item.name, "`listen` is there, but no listener is");
                decoder.report(error.with_help("write `[listen.NAME]` with `addresses = [\"…\"]`"));
                None
            }
            DeValue::Table(_) => Named::decode(item, decoder).map(Self::Listeners),
            DeValue::Array(_) => {
                let error = decoder.error(item.span, "`listen` takes one address, not a list");
                decoder.report(
                    error.with_help("for several write a table `[listen.NAME]` with `addresses = [\"…\", \"…\"]`"),
                );
                None
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => ListenAddress::decode(item, decoder).map(Self::Address),
        }
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let address = generator.subschema_for::<ListenAddress>();
        let listeners = generator.subschema_for::<Named<Name, ListenerTable>>();
        json_schema!({ "anyOf": [address, listeners] })
    }
}

/// `redirect` of a listener: `"https"`, or a table that says with which status.
#[derive(Debug)]
pub(crate) struct ListenerRedirect(pub(crate) StatusCode);

impl Decode for ListenerRedirect {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        match item.value {
            DeValue::Table(_) => {
                let table = ListenerRedirectTable::decode(item, decoder)?;
                let RedirectTo(()) = table.to.value()?;
                match table.status {
                    Field::Absent => Some(Self::DEFAULT),
                    Field::Broken => None,
                    Field::Given(status) => Some(Self(status.value.0)),
                }
            }
            DeValue::String(_) => RedirectTo::decode(item, decoder).map(|RedirectTo(())| Self::DEFAULT),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                decoder.wrong_kind(item, "\"https\" or `{ to = \"https\", status = 308 }`");
                None
            }
        }
    }
}

impl ListenerRedirect {
    const DEFAULT: Self = Self(StatusCode::PERMANENT_REDIRECT);
}

impl JsonSchema for ListenerRedirect {
    fn schema_name() -> Cow<'static, str> {
        "ListenerRedirect".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = generator.subschema_for::<RedirectTo>();
        let table = generator.subschema_for::<ListenerRedirectTable>();
        json_schema!({ "anyOf": [short, table] })
    }
}

/// `eject`: when a target is left alone, or `"off"`.
#[derive(Debug)]
pub(crate) enum Eject {
    Off,
    On(EjectTable),
}

impl Decode for Eject {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        match item.value {
            DeValue::Table(_) => EjectTable::decode(item, decoder).map(Self::On),
            DeValue::String(text) if text == "off" => Some(Self::Off),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                decoder.wrong_kind(item, "`{ after = 5, pause = \"10s\" }` or \"off\"");
                None
            }
        }
    }
}

impl JsonSchema for Eject {
    fn schema_name() -> Cow<'static, str> {
        "Eject".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<EjectTable>();
        json_schema!({ "anyOf": [table, { "type": "string", "enum": ["off"] }] })
    }
}

/// `signed`: a table that names secrets. What is written in its place may be one, and is not shown.
#[derive(Debug)]
pub(crate) struct Signed(pub(crate) SignedTable);

impl Decode for Signed {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        const HELP: &str = "write `signed = { github = \"env:NAME\" }`, or `stripe`, `slack`, `standard-webhooks`, \
                            `hmac-sha256`";
        table_of_secrets(item, HELP, decoder).map(Self)
    }
}

impl JsonSchema for Signed {
    fn schema_name() -> Cow<'static, str> {
        SignedTable::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SignedTable::json_schema(generator)
    }
}

/// `hmac-sha256`: likewise.
#[derive(Debug)]
pub(crate) struct HmacSha256(pub(crate) HmacSha256Table);

impl Decode for HmacSha256 {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        const HELP: &str = "write `hmac-sha256 = { secret = \"env:NAME\", header = \"x-signature\" }`";
        table_of_secrets(item, HELP, decoder).map(Self)
    }
}

impl JsonSchema for HmacSha256 {
    fn schema_name() -> Cow<'static, str> {
        HmacSha256Table::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        HmacSha256Table::json_schema(generator)
    }
}

fn table_of_secrets<T: Decode>(item: Item<'_>, help: &str, decoder: &mut Decoder<'_>) -> Option<T> {
    if matches!(item.value, DeValue::Table(_)) {
        return T::decode(item, decoder);
    }
    decoder.hide(item.span);
    let error = decoder.error(item.span, "how a body is signed is said by a table");
    decoder.report(error.with_help(help));
    None
}

/// A table in whose place people may write a secret.
#[derive(Debug)]
pub(crate) struct Discreet<T>(pub(crate) T);

impl<T: Decode> Decode for Discreet<T> {
    const MAY_BE_SECRET: bool = true;

    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        if matches!(item.value, DeValue::Table(_)) {
            return T::decode(item, decoder).map(Self);
        }
        decoder.hide(item.span);
        decoder.report(decoder.error(item.span, "expected a table").with_help("write `{ … }`"));
        None
    }
}

impl<T: JsonSchema> JsonSchema for Discreet<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// `callers`: names, or `"any"`.
#[derive(Debug)]
pub(crate) enum Callers {
    Any,
    Named(List<Name>),
}

impl Decode for Callers {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        match item.value {
            DeValue::String(text) if text == "any" => Some(Self::Any),
            DeValue::Array(items) => {
                let any = items.iter().find(|item| item.get_ref().as_str() == Some("any"));
                if let Some(any) = any {
                    let error =
                        decoder.error(decoder.span(any.span()), "`any` is no name, but stands for every caller");
                    decoder.report(error.with_help("write `callers = \"any\"`, or leave it out"));
                    return None;
                }
                List::decode(item, decoder).map(Self::Named)
            }
            DeValue::String(text) => {
                let error = decoder.wrong_kind_error(item, "a list of names, or \"any\"");
                decoder.report(error.with_help(format!("write `[{:?}]`", text.as_ref())));
                None
            }
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => {
                decoder.wrong_kind(item, "a list of names, or \"any\"");
                None
            }
        }
    }
}

impl JsonSchema for Callers {
    fn schema_name() -> Cow<'static, str> {
        "Callers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names = generator.subschema_for::<List<Name>>();
        json_schema!({ "anyOf": [{ "type": "string", "enum": ["any"] }, names] })
    }
}

/// The status of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RedirectStatus(pub(crate) StatusCode);

impl RedirectStatus {
    const ALL: [u16; 5] = [301, 302, 303, 307, 308];
}

impl Decode for RedirectStatus {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::Integer(number) = item.value else {
            decoder.wrong_kind(item, "the status of a redirect");
            return None;
        };
        let status = number.as_str().parse().ok().filter(|status| Self::ALL.contains(status));
        if status.is_none() {
            let message = format!("`{number}` is not the status of a redirect");
            let help = "write 301 or 308 (permanent), 302 or 307 (for now), or 303 (go and GET it)";
            decoder.report(decoder.error(item.span, message).with_help(help));
        }
        status.and_then(|status| StatusCode::from_u16(status).ok()).map(Self)
    }
}

impl JsonSchema for RedirectStatus {
    fn schema_name() -> Cow<'static, str> {
        "RedirectStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "enum": Self::ALL })
    }
}

/// What must become of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expectation(pub(crate) Expect);

impl Decode for Expectation {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let expect = match item.value {
            DeValue::String(text) => (text == "admitted").then_some(Expect::Admitted),
            DeValue::Integer(number) => {
                let status = number.as_str().parse().ok().filter(|code| (400..=599).contains(code));
                status.and_then(|code| StatusCode::from_u16(code).ok()).map(Expect::Refused)
            }
            DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        };
        if expect.is_none() {
            let message = "an example expects `\"admitted\"`, or the status of a refusal";
            let help = "`\"admitted\"` says that the request enters, whatever its answer is; a refusal \
                        has a status from 400 to 599, such as `403`";
            decoder.report(decoder.error(item.span, message).with_help(help));
        }
        expect.map(Self)
    }
}

impl JsonSchema for Expectation {
    fn schema_name() -> Cow<'static, str> {
        "Expectation".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "enum": ["admitted"] },
                { "type": "integer", "minimum": 400, "maximum": 599 },
            ]
        })
    }
}

/// JSON, written as a TOML value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Json(pub(crate) Value);

impl Decode for Json {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let value = match item.value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(date) => Value::String(date.to_string()),
            DeValue::Integer(number) => {
                let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
                number_or_report(read.map(Value::from), item, decoder)?
            }
            DeValue::Float(number) => {
                let read = number.as_str().parse::<f64>().ok();
                let read = read.and_then(serde_json::Number::from_f64);
                number_or_report(read.map(Value::Number), item, decoder)?
            }
            DeValue::Array(items) => {
                let items = items.iter().map(|value| Self::decode(decoder.item(value), decoder));
                Value::Array(items.map(|item| Some(item?.0)).collect::<Option<_>>()?)
            }
            DeValue::Table(table) => {
                let entries = table.iter().map(|(key, value)| {
                    let item = decoder.keyed_item(key.span(), value);
                    Some((key.get_ref().to_string(), Self::decode(item, decoder)?.0))
                });
                Value::Object(entries.collect::<Option<_>>()?)
            }
        };
        Some(Self(value))
    }
}

fn number_or_report(number: Option<Value>, item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Value> {
    if number.is_none() {
        decoder.report(decoder.error(item.span, "JSON has no such number"));
    }
    number
}

impl JsonSchema for Json {
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "JSON, written as a TOML value" })
    }
}

impl Decode for String {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::String(text) = item.value else {
            decoder.wrong_kind(item, "a string");
            return None;
        };
        Some(text.to_string())
    }
}
