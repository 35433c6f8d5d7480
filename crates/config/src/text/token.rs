//! What tokens say: who made them, for whom, about whom, and what for.

use std::sync::Arc;

use crate::model::TargetHost;
use crate::text::{Target, Text, TextError, quoted};

/// Who makes tokens: a URL without a query, kept to the byte (OpenID Connect Core 1.0, 2: `iss`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issuer(pub(crate) Arc<str>);

impl Text for Issuer {
    const WHAT: &'static str = "the issuer of tokens such as \"https://idp.example.com\"";
    const PATTERN: &'static str = "^https?://[^/?#@\\s]+(/[!\"$->@-~]*)?$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme));
        let Some(scheme) = scheme else {
            let error = TextError::new(format!("{} is not the issuer of tokens", quoted(text)));
            return Err(error.with_help("an issuer is the URL that stands in `iss`, such as `https://idp.example.com`"));
        };
        let end = text[scheme.len()..].find(['/', '?', '#']).map_or(text.len(), |at| scheme.len() + at);
        let (server, path) = text.split_at(end);
        if let Some(at) = server.find('@') {
            let error = TextError::new("an issuer has no credentials").at(scheme.len()..at + 1);
            return Err(error.with_help("leave out what stands before the host, up to the `@`"));
        }
        if let Some(at) = path.find(['?', '#']) {
            let error = TextError::new("an issuer has neither a query nor a fragment").at(end + at..text.len());
            return Err(error.with_help("write what stands in `iss`"));
        }
        let Target(target) = Target::parse(server).map_err(|error| {
            let message = format!("there is no server at {}", quoted(server));
            TextError { message, help: error.help, part: Some(0..end) }
        })?;
        let is_here = matches!(target.host, TargetHost::Address(address) if address.is_loopback());
        if !target.tls && !is_here {
            let error = TextError::new("whoever is on the way could give this issuer other keys").at(0..scheme.len());
            return Err(error.with_help("write `https://`; `http://` is for an issuer on this machine: `127.0.0.1`"));
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            let error = TextError::new("this is no path that HTTP can carry").at(end..text.len());
            return Err(error.with_help("write other characters as `%` and two hexadecimal digits"));
        }
        Ok(Self(text.into()))
    }
}

/// A claim that is a text: an audience, a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim(pub(crate) Box<str>);

/// Longer than any that issuers write.
const LONGEST_CLAIM: usize = 1_024;

impl Text for Claim {
    const WHAT: &'static str = "the value of a claim such as \"api\"";
    const PATTERN: &'static str = "^[^\\u0000-\\u001F\\u007F]{1,1024}$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let length = text.chars().count();
        let error = if length == 0 {
            TextError::new("an empty claim says nothing")
        } else if length > LONGEST_CLAIM {
            TextError::new(format!("this claim is {length} characters long, and 1024 are the most"))
        } else if text.bytes().any(|byte| byte.is_ascii_control()) {
            TextError::new("a claim holds no line breaks or other control characters")
        } else {
            return Ok(Self(text.into()));
        };
        Err(error.with_help("write it as it stands in the token"))
    }
}

/// What a token is good for (RFC 6749, 3.3: `scope-token`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope(pub(crate) Box<str>);

impl Text for Scope {
    const WHAT: &'static str = "a scope such as \"orders:write\"";
    const PATTERN: &'static str = "^[!#-\\[\\]-~]+$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if !text.is_empty() && text.bytes().all(is_plain) {
            return Ok(Self(text.into()));
        }
        let error = TextError::new(format!("{} is not a scope", quoted(text)));
        Err(error.with_help(if text.trim().contains(' ') {
            "write each scope by itself: `[\"orders:read\", \"orders:write\"]`"
        } else {
            "a scope is made of letters, digits and marks, without blanks, quotes and backslashes"
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn what_tokens_say() {
        let issuers = parse_all::<Issuer>(&[
            "https://idp.example.com",
            "https://idp.example.com/",
            "https://IDP.example.com:8443/realms/a%20b",
            "http://127.0.0.1:9000/t",
            "http://[::1]",
        ]);
        assert_eq!(&*issuers[1].0, "https://idp.example.com/", "a slash counts");
        assert_eq!(&*issuers[2].0, "https://IDP.example.com:8443/realms/a%20b", "so do capitals");
        parse_all::<Claim>(&["api", "auth0|5f7c8ec7c33c6c004bbafe82", "caf\u{e9}", "a b"]);
        parse_all::<Scope>(&["orders:write", "https://example.com/scope", "!"]);
    }

    #[test]
    fn what_no_token_says() {
        let complaints = [
            complaints::<Issuer>(&[
                "",
                "idp.example.com",
                "ftp://idp.example.com",
                "http://idp.example.com",
                "http://localhost:9000",
                "http://10.0.0.1",
                "https://user@idp.example.com",
                "https://idp.example.com/?a=b",
                "https://idp.example.com/#a",
                "https://",
                "https://idp.example.com/caf\u{e9}",
            ]),
            complaints::<Claim>(&["", "a\nb"]),
            complaints::<Scope>(&["", "a b", "a\"b", "caf\u{e9}"]),
        ];
        insta::assert_snapshot!(complaints.join("\n"));
        assert!(Claim::parse(&"x".repeat(1_025)).is_err());
    }
}
