//! What lies outside of the file: paths, globs, logs, the admin listener, secrets.

use std::net::SocketAddr;

use toml::de::DeValue;

use crate::decode::{Decode, Decoder, Item};
use crate::text::{ListenAddress, Text, TextError, quoted};

/// The path of a file or directory, relative to the file that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePath(pub(crate) Box<str>);

impl Text for FilePath {
    const WHAT: &'static str = "a path such as \"lists/partner.txt\"";
    const PATTERN: &'static str = "^[^\\u0000]+$";

    fn parse(text: &str) -> Result<Self, TextError> {
        check_path(text)?;
        Ok(Self(text.into()))
    }
}

/// Paths with `*` and `?` in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(pub(crate) Box<str>);

impl Text for Glob {
    const WHAT: &'static str = "a path such as \"routes/*.toml\"";
    const PATTERN: &'static str = "^[^\\u0000\\[\\]{}]+$";

    fn parse(text: &str) -> Result<Self, TextError> {
        check_path(text)?;
        let unknown = ["**", "[", "]", "{", "}"].into_iter().find(|mark| text.contains(mark));
        if let Some(unknown) = unknown {
            let error = TextError::new(format!("`{unknown}` has no meaning in an include"));
            return Err(error.with_help("`*` stands for any characters within a name, `?` for one"));
        }
        Ok(Self(text.into()))
    }
}

/// Where a line for each request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccessLog {
    Off,
    Stdout,
    File(Box<str>),
}

impl Text for AccessLog {
    const WHAT: &'static str = "\"stdout\", \"file:PATH\" or \"off\"";
    const PATTERN: &'static str = "^(stdout|off|file:[^\\u0000]+)$";

    fn parse(text: &str) -> Result<Self, TextError> {
        match text {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            _ => match text.strip_prefix("file:") {
                Some(path) => check_path(path).map(|()| Self::File(path.into())),
                None => Err(TextError::new(format!("{} is no place for a log", quoted(text)))
                    .with_help("write `stdout`, `file:PATH` or `off`")),
            },
        }
    }
}

/// Where the admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admin {
    Off,
    Tcp(SocketAddr),
    Unix(Box<str>),
}

impl Text for Admin {
    const WHAT: &'static str = "an address with a port, \"unix:PATH\" or \"off\"";
    const PATTERN: &'static str =
        "^(off|unix:[^\\u0000]+|([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\]):[0-9]{1,5})$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return check_path(path).map(|()| Self::Unix(path.into()));
        }
        ListenAddress::parse(text).map(|ListenAddress(address)| Self::Tcp(address))
    }
}

fn check_path(text: &str) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::new("the path is missing"));
    }
    if text.contains('\0') {
        return Err(TextError::new("a path holds no NUL"));
    }
    Ok(())
}

/// Where a secret comes from. A string that is none of these may be the secret itself, so it is
/// never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretReference {
    Environment(Box<str>),
    File(Box<str>),
}

impl SecretReference {
    const WHAT: &str = "where a secret is: \"env:NAME\" or \"file:PATH\"";
    const PATTERN: &str = "^(env:[^=\\u0000]+|file:[^\\u0000]+)$";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let DeValue::String(text) = value else { return None };
        if let Some(name) = text.strip_prefix("env:") {
            let named = !name.is_empty() && !name.contains(['=', '\0']);
            return named.then(|| Self::Environment(name.into()));
        }
        let path = text.strip_prefix("file:").filter(|path| check_path(path).is_ok())?;
        Some(Self::File(path.into()))
    }
}

impl Decode for SecretReference {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let reference = Self::read(item.value);
        if reference.is_none() {
            decoder.hide(item.span);
            let message = "a secret is not written here, only where it is to be found";
            let help = "write `env:NAME` or `file:PATH`; if this was the secret itself, change it";
            decoder.report(decoder.error(item.span, message).with_help(help));
        }
        reference
    }
}

/// A file that is read whole, such as a certificate: `file:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileReference(pub(crate) Box<str>);

impl FileReference {
    const WHAT: &str = "where a file is: \"file:PATH\"";
    const PATTERN: &str = "^file:[^\\u0000]+$";
}

impl Decode for FileReference {
    fn decode(item: Item<'_>, decoder: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::String(text) = item.value else {
            decoder.wrong_kind(item, Self::WHAT);
            return None;
        };
        if let Some(path) = text.strip_prefix("file:").filter(|path| check_path(path).is_ok()) {
            return Some(Self(path.into()));
        }
        if text.contains("-----BEGIN") {
            // Whoever pastes a certificate here may have pasted its key.
            decoder.hide(item.span);
            let error = decoder.error(item.span, "what the file holds is not written here, only where it is");
            decoder.report(error.with_help("write `file:PATH`; if this was a private key, change it"));
            return None;
        }
        let error = decoder.error(item.span, format!("{} does not say where a file is", quoted(text)));
        let as_file = format!("file:{text}");
        decoder.report(error.with_help(if text.contains(':') || text.is_empty() {
            "write `file:PATH`".to_owned()
        } else {
            format!("write {}", quoted(&as_file))
        }));
        None
    }
}

impl schemars::JsonSchema for FileReference {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileReference".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": Self::WHAT,
            "pattern": Self::PATTERN,
        })
    }
}

impl schemars::JsonSchema for SecretReference {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretReference".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": Self::WHAT,
            "pattern": Self::PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn references() {
        parse_all::<FilePath>(&["a.txt", "/var/lib/a", "../a"]);
        parse_all::<Glob>(&["routes/*.toml", "r?utes/a.toml"]);
        assert_eq!(parse_all::<AccessLog>(&["stdout", "off", "file:a.log"])[2], AccessLog::File("a.log".into()));
        assert_eq!(
            parse_all::<Admin>(&["127.0.0.1:9900", "off", "unix:/run/gatepost.sock"])[2],
            Admin::Unix("/run/gatepost.sock".into())
        );
    }

    #[test]
    fn what_is_no_reference() {
        insta::assert_snapshot!(complaints::<Glob>(&["", "**/*.toml", "[ab].toml", "{a,b}"]));
        insta::assert_snapshot!(complaints::<AccessLog>(&["", "stderr", "a.log", "file:"]));
        insta::assert_snapshot!(complaints::<Admin>(&["", "on", "9900", "unix:", "localhost:9900"]));
    }
}
