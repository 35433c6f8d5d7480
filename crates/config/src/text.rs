//! The small typed strings of the configuration: each says what it is, what it looks like, and in a
//! sentence what is wrong with a string that is none.

mod address;
mod arn;
mod codes;
mod credential;
mod duration;
mod feed;
mod header;
mod host;
mod money;
mod name;
mod quantity;
mod reference;
mod request;
mod route_key;
mod target;
mod template;
mod token;

use std::ops::Range;

use toml::de::DeValue;

pub(crate) use self::address::{AddressReference, ClientAddress, ListenAddress, Network};
pub(crate) use self::arn::{Account, EndpointName, Region};
pub(crate) use self::codes::Codes;
pub(crate) use self::credential::{AccessKeyId, Arn, KeyHash};
pub(crate) use self::duration::{Duration, NonZeroDuration, Timeout};
pub(crate) use self::feed::{FeedUrl, Pointer};
pub(crate) use self::header::{FieldName, FieldValue};
pub(crate) use self::host::{BackendHost, DomainName, Host};
pub(crate) use self::money::Amount;
pub(crate) use self::name::{Label, Name};
pub(crate) use self::quantity::{Rate, Size};
pub(crate) use self::reference::{AccessLog, Admin, FilePath, FileReference, Glob, SecretReference};
pub(crate) use self::request::{BasePath, Method, ProbePath, RequestPath};
pub(crate) use self::route_key::RouteKey;
pub(crate) use self::target::{Destination, Target};
pub(crate) use self::template::{BackendPath, Location, RawPart};
pub(crate) use self::token::{Claim, Issuer, Scope};

use crate::decode::{Decode, Decoder, Item};

/// A string with a meaning.
pub(crate) trait Text: Sized {
    /// What it is, as an error puts it: ``a duration such as "30s"``.
    const WHAT: &'static str;

    /// What it looks like, as a regular expression of JSON Schema. It accepts whatever `parse` does;
    /// what it cannot tell, `parse` refuses.
    const PATTERN: &'static str;

    /// Whether people may write a secret in its place, so that what is wrong is not to be shown.
    const MAY_BE_SECRET: bool = false;

    /// Reads it.
    fn parse(text: &str) -> Result<Self, TextError>;
}

/// Why a string does not mean what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextError {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The part of the string that is wrong; absent: all of it.
    pub(crate) part: Option<Range<usize>>,
}

impl TextError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, part: None }
    }

    pub(crate) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Says that only this part is wrong.
    pub(crate) fn at(self, part: Range<usize>) -> Self {
        Self { part: Some(part), ..self }
    }
}

impl<T: Text> Decode for T {
    const MAY_BE_SECRET: bool = T::MAY_BE_SECRET;

    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let read = match item.value {
            DeValue::String(text) => decoder.text(text, item.span),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                decoder.wrong_kind(item, T::WHAT);
                None
            }
        };
        if read.is_none() && T::MAY_BE_SECRET {
            decoder.hide(item.span);
        }
        read
    }
}

/// Text of the user's inside a sentence: in backticks, harmless to a terminal, and not too long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.is_empty() {
        return "an empty string".to_owned();
    }
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    // Quotes are harmless here, and easier to read without a backslash.
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}

/// Gives typed strings their JSON Schema.
macro_rules! text_schemas {
    ($($name:ident),+ $(,)?) => {
        $(
            impl schemars::JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    schemars::json_schema!({
                        "type": "string",
                        "description": <$name as Text>::WHAT,
                        "pattern": <$name as Text>::PATTERN,
                    })
                }
            }
        )+
    };
}

text_schemas!(
    AccessKeyId,
    AccessLog,
    Account,
    AddressReference,
    Admin,
    Amount,
    Arn,
    BackendHost,
    BackendPath,
    BasePath,
    Claim,
    ClientAddress,
    Codes,
    Destination,
    DomainName,
    Duration,
    EndpointName,
    FeedUrl,
    FieldName,
    FieldValue,
    FilePath,
    Glob,
    Host,
    Issuer,
    KeyHash,
    Label,
    ListenAddress,
    Location,
    Method,
    Name,
    Network,
    NonZeroDuration,
    Pointer,
    ProbePath,
    Rate,
    Region,
    RequestPath,
    RouteKey,
    Scope,
    Size,
    Target,
    Timeout,
);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Parses every string, and checks that the pattern of the JSON Schema accepts it too.
    pub(crate) fn parse_all<T: Text>(texts: &[&str]) -> Vec<T> {
        let pattern = serde_json::json!({ "type": "string", "pattern": T::PATTERN });
        let validator = jsonschema::validator_for(&pattern).unwrap();
        let parse = |text: &&str| {
            assert!(validator.is_valid(&(*text).into()), "{text} matches {}", T::PATTERN);
            T::parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.message))
        };
        texts.iter().map(parse).collect()
    }

    /// What is said about each string, one line each: `text: message (help)`.
    pub(crate) fn complaints<T: Text>(texts: &[&str]) -> String {
        let complain = |text: &&str| match T::parse(text) {
            Ok(_) => panic!("{text} was accepted"),
            Err(TextError { message, help, part }) => {
                let part = part.map(|part| format!(" [{}]", &text[part])).unwrap_or_default();
                let help = help.map(|help| format!(" ({help})")).unwrap_or_default();
                format!("{text}: {message}{help}{part}")
            }
        };
        texts.iter().map(complain).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn quoted_text_is_harmless_and_short() {
        assert_eq!(quoted(""), "an empty string");
        assert_eq!(quoted("a \"b\" 'c'"), "`a \"b\" 'c'`");
        assert_eq!(quoted("\u{1b}[31m"), "`\\u{1b}[31m`");
        assert_eq!(quoted(&"x".repeat(70)), format!("`{}…`", "x".repeat(60)));
    }
}
