//! Words to choose one of.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::model;
use crate::text::{Text, TextError, quoted};

/// Declares choices: a name, what it stands for, how an error begins that ends with another word, and the words.
macro_rules! choices {
    ($(
        $(#[doc = $about:literal])+
        $name:ident: $kind:ty, $wrong:literal {
            $first:literal => $first_value:expr $(, $word:literal => $value:expr)* $(,)?
        }
    )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub(crate) struct $name(pub(crate) $kind);

            impl Text for $name {
                const WHAT: &'static str = concat!("\"", $first, "\"" $(, " or \"", $word, "\"")*);
                const PATTERN: &'static str = concat!("^(", $first $(, "|", $word)*, ")$");

                fn parse(text: &str) -> Result<Self, TextError> {
                    match text {
                        $first => Ok(Self($first_value)),
                        $( $word => Ok(Self($value)), )*
                        _ => Err(TextError::new(format!("{} {}", $wrong, quoted(text)))
                            .with_help(concat!("write `", $first, "`" $(, " or `", $word, "`")*))),
                    }
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": "string", "enum": [$first $(, $word)*] })
                }
            }
        )+
    };
}

choices! {
    /// Who shares a bucket.
    ThrottleBy: model::ThrottleBy, "cannot throttle by" {
        "route" => model::ThrottleBy::Everyone,
        "client" => model::ThrottleBy::Client,
        "caller" => model::ThrottleBy::Caller,
    }

    /// A way to prove who one is.
    ProofKind: model::ProofKind, "nobody can prove who they are by" {
        "key" => model::ProofKind::Key,
        "sigv4" => model::ProofKind::SigV4,
        "jwt" => model::ProofKind::Jwt,
        "signed" => model::ProofKind::Signed,
    }

    /// A window of the calendar.
    Period: model::Period, "requests are not counted by" {
        "day" => model::Period::Day,
        "week" => model::Period::Week,
        "month" => model::Period::Month,
    }

    /// The header that tells the client's address.
    Forwarded: model::ForwardedHeader, "the client's address is not read from" {
        "x-forwarded-for" => model::ForwardedHeader::XForwardedFor,
        "forwarded" => model::ForwardedHeader::Forwarded,
        "off" => model::ForwardedHeader::Off,
    }

    /// Whether connections begin with a PROXY header.
    ProxyProtocol: model::ProxyProtocol, "a PROXY header cannot be" {
        "off" => model::ProxyProtocol::Off,
        "optional" => model::ProxyProtocol::Optional,
        "required" => model::ProxyProtocol::Required,
    }

    /// Where a listener sends its clients.
    RedirectTo: (), "a listener cannot send its clients to" {
        "https" => (),
    }

    /// The oldest version of TLS that is spoken.
    TlsVersion: model::TlsVersion, "cannot speak TLS in version" {
        "1.2" => model::TlsVersion::Tls12,
        "1.3" => model::TlsVersion::Tls13,
    }

    /// The kind of AWS API that is imitated.
    Compat: model::Compat, "Gatepost cannot yet imitate" {
        "aws-rest" => model::Compat::AwsRest,
    }

    /// How a target is chosen.
    Balance: model::Balance, "cannot balance by" {
        "round-robin" => model::Balance::RoundRobin,
        "least-requests" => model::Balance::LeastRequests,
        "client-hash" => model::Balance::ClientHash,
    }

    /// The version of HTTP that a backend is spoken to in.
    HttpVersion: model::HttpVersion, "cannot speak to a backend in HTTP version" {
        "1.1" => model::HttpVersion::One,
        "2" => model::HttpVersion::Two,
    }

    /// How bytes are written as text.
    TextFormat: model::TextFormat, "a signature is not written as" {
        "hex" => model::TextFormat::Hex,
        "base64" => model::TextFormat::Base64,
    }

    /// What becomes of a delivery that was let in before.
    Replay: model::Replay, "a delivery that comes again cannot be" {
        "allow" => model::Replay::Allow,
        "refuse" => model::Replay::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn words_stand_for_what_they_say() {
        let by = parse_all::<ThrottleBy>(&["route", "client", "caller"]);
        let meant = [model::ThrottleBy::Everyone, model::ThrottleBy::Client, model::ThrottleBy::Caller];
        assert_eq!(by, meant.map(ThrottleBy));
        assert_eq!(parse_all::<ProofKind>(&model::ProofKind::ALL.map(model::ProofKind::name)).len(), 4);
        let periods = parse_all::<Period>(&["day", "week", "month"]);
        assert!(periods.iter().zip(["day", "week", "month"]).all(|(period, name)| period.0.name() == name));
        parse_all::<Forwarded>(&["x-forwarded-for", "forwarded", "off"]);
        parse_all::<ProxyProtocol>(&["off", "optional", "required"]);
        parse_all::<RedirectTo>(&["https"]);
        parse_all::<TlsVersion>(&["1.2", "1.3"]);
        parse_all::<Compat>(&["aws-rest"]);
        parse_all::<Balance>(&["round-robin", "least-requests", "client-hash"]);
        parse_all::<HttpVersion>(&["1.1", "2"]);
        parse_all::<TextFormat>(&["hex", "base64"]);
        parse_all::<Replay>(&["allow", "refuse"]);
    }

    #[test]
    fn what_is_no_choice() {
        let complaints = [
            complaints::<ThrottleBy>(&["", "user", "Route"]),
            complaints::<ProofKind>(&["keys", "iam"]),
            complaints::<Period>(&["hour", "days"]),
            complaints::<Forwarded>(&["true", "x-real-ip"]),
            complaints::<ProxyProtocol>(&["v2"]),
            complaints::<RedirectTo>(&["http", "https://example.com"]),
            complaints::<TlsVersion>(&["1.0", "1.1", "TLSv1.2"]),
            complaints::<Compat>(&["aws-http", "aws", ""]),
            complaints::<Balance>(&["random", "round_robin"]),
            complaints::<HttpVersion>(&["1.0", "h2", "3"]),
            complaints::<TextFormat>(&["HEX", "base64url"]),
            complaints::<Replay>(&["deny", "true"]),
        ];
        insta::assert_snapshot!(complaints.join("\n"));
    }
}
