//! Lists and named tables of the configuration.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use crate::decode::{Decode, Decoder, Item, Located};
use crate::source::Span;
use crate::text::Text;

/// A list with at least one item.
#[derive(Debug)]
pub(crate) struct List<T> {
    /// The items that could be read.
    pub(crate) items: Vec<Located<T>>,
    /// Whether there were others.
    pub(crate) broken: bool,
}

impl<T> List<T> {
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.items.iter().map(|item| &item.value)
    }
}

impl<T: Decode> Decode for List<T> {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::Array(array) = item.value else {
            if T::MAY_BE_SECRET {
                decoder.hide(item.span);
                let error = decoder.error(item.span, "expected a list");
                decoder.report(error.with_help("put it in brackets: `[…]`"));
                return None;
            }
            let error = decoder.wrong_kind_error(item, "a list");
            decoder.report(match item.value {
                DeValue::String(text) => error.with_help(format!("write `[\"{text}\"]`")),
                DeValue::Table(_) => error.with_help("put it in brackets: `[{ … }]`"),
                DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => error,
            });
            return None;
        };
        if array.is_empty() {
            let error = decoder.error(item.span, "an empty list says nothing");
            decoder.report(error.with_help("leave the key out, or name at least one"));
            return None;
        }
        let items: Vec<Located<T>> = array.iter().filter_map(|value| decoder.located(decoder.item(value))).collect();
        let broken = items.len() < array.len();
        Some(Self { items, broken })
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("List_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": generator.subschema_for::<T>(),
            "minItems": 1,
        })
    }
}

/// A list, or one item of it in place of the list.
#[derive(Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) List<T>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        if matches!(item.value, DeValue::Array(_)) {
            return List::decode(item, decoder).map(Self);
        }
        let one = decoder.located(item)?;
        Some(Self(List { items: vec![one], broken: false }))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("One_or_many_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        let many = generator.subschema_for::<List<T>>();
        json_schema!({ "anyOf": [one, many] })
    }
}

/// Something large that is rarely there, or there many times.
#[derive(Debug)]
pub(crate) struct Boxed<T>(Box<T>);

impl<T> Deref for Boxed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Decode> Decode for Boxed<T> {
    const MAY_BE_SECRET: bool = T::MAY_BE_SECRET;

    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        T::decode(item, decoder).map(|value| Self(Box::new(value)))
    }
}

impl<T: JsonSchema> JsonSchema for Boxed<T> {
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

/// A table whose keys are names that the user gives: `[listen.NAME]`.
///
/// It keeps every name that was written, also where the name or what it stands for is broken: a
/// reference to it is not the mistake then.
#[derive(Debug)]
pub(crate) struct Named<K, T> {
    pub(crate) entries: BTreeMap<Box<str>, Entry<K, T>>,
}

/// One entry of a [`Named`].
#[derive(Debug)]
pub(crate) struct Entry<K, T> {
    /// The name, unless it is broken.
    pub(crate) key: Option<K>,
    /// Where the name is.
    pub(crate) span: Span,
    /// What it stands for, unless that is broken.
    pub(crate) value: Option<T>,
}

impl<K: Text, T: Decode> Decode for Named<K, T> {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::Table(table) = item.value else {
            decoder.wrong_kind(item, "a table");
            return None;
        };
        let entries = table.iter().map(|(key, value)| {
            let item = decoder.keyed_item(key.span(), value);
            let entry =
                Entry { key: decoder.text(key.get_ref(), item.name), span: item.name, value: T::decode(item, decoder) };
            (key.get_ref().as_ref().into(), entry)
        });
        Some(Self { entries: entries.collect() })
    }
}

impl<K: Text, T: JsonSchema> JsonSchema for Named<K, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": K::PATTERN },
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}
