//! How callers are known: hashes of keys, ids of access keys, ARNs.

use crate::model;
use crate::text::{Text, TextError, quoted};

/// The hash of an API key: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(pub(crate) model::KeyHash);

impl Text for KeyHash {
    const WHAT: &'static str = "the hash of an API key, `sha256:` and 64 hexadecimal digits";
    const PATTERN: &'static str = "^sha256:[0-9A-Fa-f]{64}$";
    const MAY_BE_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, TextError> {
        if let Some(hash) = text.strip_prefix("sha256:").and_then(bytes) {
            if hash == OF_NOTHING {
                let error = TextError::new("this is the hash of nothing, which is no API key");
                return Err(error.with_help(KEY_HELP));
            }
            return Ok(Self(model::KeyHash(hash)));
        }
        Err(if bytes(text).is_some() {
            TextError::new("the hash of an API key says what it was made with").with_help("write `sha256:` before it")
        } else if let Some(digits) = text.strip_prefix("sha256:") {
            let count = digits.chars().count();
            TextError::new(format!("a SHA-256 is 64 hexadecimal digits, and this is {count} characters"))
                .with_help(KEY_HELP)
        } else if text.starts_with("gp_") {
            TextError::new("an API key is not written here, only its hash").with_help(
                "`gatepost key new NAME` makes another key and prints the line for it; this one is no longer a secret",
            )
        } else {
            TextError::new("this is not the hash of an API key").with_help(KEY_HELP)
        })
    }
}

/// The SHA-256 of no bytes (FIPS 180-4): what a script prints whose variable was empty.
const OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

const KEY_HELP: &str = "write `sha256:` and the 64 digits, as `gatepost key new NAME` prints them; \
                        if this was a key itself, change it";

/// What 64 hexadecimal digits stand for.
fn bytes(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// The id of an access key (AWS STS API reference, Credentials: 16 to 128 characters).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessKeyId(pub(crate) Box<str>);

impl Text for AccessKeyId {
    const WHAT: &'static str = "the id of an access key such as \"AKIAIOSFODNN7EXAMPLE\"";
    const PATTERN: &'static str = "^[A-Za-z0-9_]{16,128}$";
    const MAY_BE_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, TextError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if (16..=128).contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(Self(text.into()));
        }
        let error = TextError::new("this is not the id of an access key");
        Err(error.with_help("an id is 16 to 128 letters, digits and `_`, such as `AKIAIOSFODNN7EXAMPLE`"))
    }
}

/// What policies call somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arn(pub(crate) model::CallerArn);

impl Text for Arn {
    const WHAT: &'static str = "the ARN of a caller such as \"arn:aws:iam::123456789012:user/acme\"";
    const PATTERN: &'static str = "^arn:[^:]+:(iam|sts)::[0-9]{12}:.+$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new(format!("{} is not the ARN of a caller", quoted(text)));
        let help = "write that of a user, `arn:aws:iam::123456789012:user/NAME`, or of a session of a role, \
                    `arn:aws:sts::123456789012:assumed-role/ROLE/SESSION`";
        match model::CallerArn::new(text) {
            // An account's number alone names it too, but is no ARN.
            Ok(arn) if text.starts_with("arn:") && !text.contains(['\n', '\r']) => Ok(Self(arn)),
            Ok(_) | Err(model::NoCallerArn) => Err(wrong().with_help(help)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    const HASH: &str = "9f2C000000000000000000000000000000000000000000000000000000000001";

    #[test]
    fn credentials() {
        let hash = parse_all::<KeyHash>(&[&format!("sha256:{HASH}")])[0].0;
        assert_eq!((hash.0[0], hash.0[1], hash.0[31]), (0x9f, 0x2c, 1));
        assert_eq!(hash.to_string(), format!("sha256:{}", HASH.to_lowercase()));
        parse_all::<AccessKeyId>(&["AKIAIOSFODNN7EXAMPLE", "a_b_c_d_e_f_g_h_"]);
        parse_all::<Arn>(&[
            "arn:aws:iam::123456789012:user/acme",
            "arn:aws:iam::123456789012:user/partners/acme",
            "arn:aws:sts::123456789012:assumed-role/app/session",
            "arn:aws:sts::123456789012:federated-user/acme",
            "arn:aws:iam::123456789012:root",
        ]);
    }

    #[test]
    fn the_hash_of_nothing_is_no_key() {
        let of_nothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let complaints = complaints::<KeyHash>(&[of_nothing]);
        assert!(complaints.contains("the hash of nothing"), "{complaints}");
    }

    #[test]
    fn what_is_no_credential_is_not_repeated() {
        let complaints = [
            complaints::<KeyHash>(&["", HASH, "sha256:9f2c", "gp_0123456789", "hunter2", "sha256:é"]),
            complaints::<AccessKeyId>(&["", "AKIA", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"]),
            complaints::<Arn>(&[
                "",
                "acme",
                "123456789012",
                "arn:aws:iam::123456789012:group/staff",
                "arn:aws:iam::123456789012:user/*",
                "arn:aws:s3:::bucket",
            ]),
        ];
        insta::assert_snapshot!(complaints.join("\n"));
    }
}
