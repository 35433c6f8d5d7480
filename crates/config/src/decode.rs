//! From TOML to the types of `file.rs`, with a place for everything and a problem for every mistake.
//!
//! A type says how it is read by [`Decode`]; a table is declared with [`table!`], which makes the
//! type, its decoding and its JSON Schema from one definition. Decoding goes on after a mistake: what
//! cannot be read is [`Field::Broken`], so that nothing built on it complains a second time.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::reading::Reading;
use crate::source::{FileId, Span};
use crate::text::{Text, TextError, quoted};

/// How a type is read from TOML.
pub(crate) trait Decode: Sized {
    /// Whether people may write a secret in its place, so that what is wrong is not to be shown.
    const MAY_BE_SECRET: bool = false;

    /// Reads it, or reports why it cannot be read.
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self>;
}

/// What is being decoded.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) value: &'a DeValue<'a>,
    /// Where the value is.
    pub(crate) span: Span,
    /// Where its name is: the key, or the value itself when it has none.
    pub(crate) name: Span,
}

/// Something read, and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// The value of a key in a table.
#[derive(Debug, Default)]
pub(crate) enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// It is there, and what is wrong with it has been reported.
    Broken,
    /// It is there.
    Given(Given<T>),
}

/// The value of a key that is there.
#[derive(Debug)]
pub(crate) struct Given<T> {
    pub(crate) value: T,
    /// Where the value is.
    pub(crate) span: Span,
    /// Where the key is.
    pub(crate) key: Span,
}

impl<T> Field<T> {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(crate) fn given(&self) -> Option<&Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Broken => None,
        }
    }

    pub(crate) fn into_given(self) -> Option<Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Broken => None,
        }
    }

    /// The value, for one that needs no place.
    pub(crate) fn value(&self) -> Option<&T> {
        self.given().map(|given| &given.value)
    }
}

/// Decodes one file.
pub(crate) struct Decoder<'a> {
    file: FileId,
    reading: &'a mut Reading,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(file: FileId, reading: &'a mut Reading) -> Self {
        Self { file, reading }
    }

    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.file, range)
    }

    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.reading.error(span, message)
    }

    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.reading.report(diagnostic);
    }

    /// Keeps what `span` covers out of everything that is rendered.
    pub(crate) fn hide(&mut self, span: Span) {
        self.reading.hide(span);
    }

    /// Decodes a value, and remembers where it was.
    pub(crate) fn located<T: Decode>(&mut self, item: Item<'_>) -> Option<Located<T>> {
        let value = T::decode(item, self)?;
        Some(Located { value, span: item.span })
    }

    /// An item of a list: it has no name but itself.
    pub(crate) fn item<'v>(&self, value: &'v Spanned<DeValue<'v>>) -> Item<'v> {
        let span = self.span(value.span());
        Item { value: value.get_ref(), span, name: span }
    }

    /// An item of a table.
    pub(crate) fn keyed_item<'v>(&self, key: Range<usize>, value: &'v Spanned<DeValue<'v>>) -> Item<'v> {
        Item { name: self.span(key), ..self.item(value) }
    }

    /// Reports a value of the wrong kind.
    pub(crate) fn wrong_kind(&mut self, item: Item<'_>, expected: &str) {
        self.report(self.wrong_kind_error(item, expected));
    }

    pub(crate) fn wrong_kind_error(&self, item: Item<'_>, expected: &str) -> Diagnostic {
        let message = format!("expected {expected}, found {}", kind(item.value));
        self.error(item.span, message)
    }

    /// Parses a typed string; the problem underlines the part of it that is wrong.
    pub(crate) fn text<T: Text>(&mut self, text: &str, span: Span) -> Option<T> {
        let error = match T::parse(text) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let TextError { message, help, part } = error;
        let place = match part {
            Some(part) => self.reading.part(span, part.start, &text[part]),
            None => span,
        };
        let mut diagnostic = self.error(place, message);
        if let Some(help) = help {
            diagnostic = diagnostic.with_help(help);
        }
        self.report(diagnostic);
        None
    }

    /// Opens a table whose keys are `known`; `whose` says in which words it is spoken of.
    pub(crate) fn table<'v>(
        &mut self,
        item: Item<'v>,
        whose: &'static str,
        known: &'static [&'static str],
    ) -> Option<Table<'v>> {
        let DeValue::Table(table) = item.value else {
            self.wrong_kind(item, "a table");
            return None;
        };
        let mut unknown = UnknownKeys::default();
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let near = nearest(key.get_ref(), known.iter().copied());
            unknown.0.push(near);
            let span = self.span(key.span());
            let message = format!("unknown key {} {whose}", quoted(key.get_ref()));
            self.report(self.error(span, message).with_help(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", listed(known)),
            }));
        }
        Some(Table { table, name: item.name, whose, unknown })
    }
}

/// A table while its keys are read.
pub(crate) struct Table<'v> {
    table: &'v DeTable<'v>,
    name: Span,
    whose: &'static str,
    unknown: UnknownKeys,
}

/// The unknown keys of a table, each as the key that was probably meant.
///
/// They have been reported. While there are any, nothing can be said about what the table lacks.
#[derive(Debug, Default)]
pub(crate) struct UnknownKeys(Vec<Option<&'static str>>);

impl UnknownKeys {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them was probably meant to be `name`.
    pub(crate) fn may_mean(&self, name: &str) -> bool {
        self.0.contains(&Some(name))
    }
}

impl Table<'_> {
    pub(crate) fn into_unknown_keys(self) -> UnknownKeys {
        self.unknown
    }

    /// Reads the value of a key.
    pub(crate) fn field<T: Decode>(&self, name: &'static str, decoder: &mut Decoder<'_>) -> Field<T> {
        let Some((key, value)) = self.table.get_key_value(name) else {
            return if self.unknown.may_mean(name) { Field::Broken } else { Field::Absent };
        };
        let item = decoder.keyed_item(key.span(), value);
        match T::decode(item, decoder) {
            Some(value) => Field::Given(Given { value, span: item.span, key: item.name }),
            None => Field::Broken,
        }
    }

    /// Reports the keys of `required` that are missing.
    pub(crate) fn require(&self, required: &[&'static str], decoder: &mut Decoder<'_>) {
        for name in required {
            if self.unknown.is_empty() && !self.table.contains_key(*name) {
                let message = format!("`{name}` is missing {}", self.whose);
                decoder.report(decoder.error(self.name, message));
            }
        }
    }
}

/// The name among `known` that `written` was probably meant to be.
pub(crate) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let tolerated = ((written.chars().count() + 1) / 3).clamp(1, 3);
    known
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= tolerated && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// `a`, `b` and `c`.
pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {}", quoted(text)),
        DeValue::Integer(number) => format!("the number `{number}`"),
        DeValue::Float(number) => format!("the number `{}`", number.as_str()),
        DeValue::Boolean(value) => format!("`{value}`"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Declares a table of the configuration: the type that holds what was written, how it is decoded, and
/// its JSON Schema. The comments become the schema's descriptions. `in` says how an error speaks of the
/// table, `requires` which of its keys must be there, `as` how a key is written that is no name in Rust.
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        $name:ident in $whose:literal $(requires [$($required:ident),+])? {
            $( $(#[doc = $field_about:literal])+ $field:ident $(as $key:literal)?: $kind:ty, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $( $(#[doc = $field_about])+ pub(crate) $field: $crate::decode::Field<$kind>, )+
            /// Keys that it should not have.
            #[allow(dead_code, reason = "most tables require keys by declaration only")]
            pub(crate) unknown: $crate::decode::UnknownKeys,
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                item: $crate::decode::Item<'_>,
                decoder: &mut $crate::decode::Decoder<'_>,
            ) -> Option<Self> {
                let table = decoder.table(item, $whose, &[$($crate::decode::key!($field $($key)?)),+])?;
                $( table.require(&[$(stringify!($required)),+], decoder); )?
                Some(Self {
                    $( $field: table.field($crate::decode::key!($field $($key)?), decoder), )+
                    unknown: table.into_unknown_keys(),
                })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::schema::table(
                    &[$($about),+],
                    [$( (
                        $crate::decode::key!($field $($key)?),
                        &[$($field_about),+] as &[&str],
                        generator.subschema_for::<$kind>(),
                    ) ),+],
                    &[$($(stringify!($required)),+)?],
                )
            }
        }
    };
}
pub(crate) use table;

/// How the key of a field is written.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(crate) use key;
