//! The text of an API key: `gp_`, 32 random characters, and a checksum of 6.
//!
//! The prefix and the checksum let scanners for leaked secrets find keys, and tell them from what only looks like one,
//! without asking anybody.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use gatepost_config::model::KeyHash;
use zeroize::Zeroizing;

/// The text of an API key. Shown once, to whoever made it.
pub(super) struct ApiKey(Zeroizing<String>);

/// What keys that we make begin with.
pub(super) const PREFIX: &str = "gp_";

/// Random characters: 190 bits.
const RANDOM: usize = 32;

/// Characters of the checksum: the least that hold 32 bits.
const CHECKSUM: usize = 6;

/// The digits of both, in the order of their values.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key of any make has at least and at most, in bytes.
const SHORTEST: usize = 20;
pub(super) const LONGEST: usize = 128;

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoKey {
    /// It has another length than keys have.
    #[error("a key has {SHORTEST} to {LONGEST} characters, and none of them is a blank")]
    Form,
    /// It was mistyped or cut off.
    #[error("this begins like a key of ours, but its checksum is wrong: was a part of it left out?")]
    Checksum,
}

/// The system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(super) struct NoRandomness;

impl ApiKey {
    /// A new one.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub(super) fn random() -> Result<Self, NoRandomness> {
        // Of one size from the beginning: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + RANDOM + CHECKSUM));
        text.push_str(PREFIX);
        while text.len() < PREFIX.len() + RANDOM {
            let mut bytes = Zeroizing::new([0; 2 * RANDOM]);
            rand::fill(&mut *bytes).map_err(|_| NoRandomness)?;
            let missing = PREFIX.len() + RANDOM - text.len();
            text.extend(bytes.iter().filter_map(|byte| digit(*byte)).take(missing));
        }
        let checksum = checksum(text.as_bytes());
        text.extend(checksum);
        Ok(Self(text))
    }

    /// Takes one that somebody has. Keys of another make are as good, and have no checksum that we know.
    ///
    /// # Errors
    /// It is no key.
    pub(super) fn read(text: &str) -> Result<Self, NoKey> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_visible || !(SHORTEST..=LONGEST).contains(&text.len()) {
            return Err(NoKey::Form);
        }
        if text.starts_with(PREFIX) && !has_checksum(text) {
            return Err(NoKey::Checksum);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// What the configuration knows it by.
    pub(super) fn hash(&self) -> KeyHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        KeyHash(hash)
    }

    /// The key itself, to be shown once.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ApiKey")
    }
}

/// A digit, each as likely as the others: the bytes that would favour some are not used.
fn digit(byte: u8) -> Option<char> {
    let fair = u8::MAX - u8::MAX % 62;
    (byte < fair).then(|| char::from(BASE62[usize::from(byte % 62)]))
}

fn has_checksum(text: &str) -> bool {
    let Some((before, last)) = text.split_at_checked(PREFIX.len() + RANDOM) else { return false };
    checksum(before.as_bytes()).into_iter().eq(last.chars())
}

/// The CRC-32 of what stands before, in base 62, the highest digit first.
fn checksum(before: &[u8]) -> [char; CHECKSUM] {
    let mut rest = crc32(before);
    let mut digits = ['0'; CHECKSUM];
    for place in digits.iter_mut().rev() {
        *place = char::from(BASE62[(rest % 62) as usize]);
        rest /= 62;
    }
    digits
}

/// As zip, PNG and Ethernet have it (ISO 3309), bit by bit: it is computed for one key.
fn crc32(bytes: &[u8]) -> u32 {
    let of_byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    };
    !bytes.iter().fold(u32::MAX, of_byte)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_knows() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
        let value = checksum(b"123456789").iter().fold(0_u64, |value, digit| {
            value * 62 + BASE62.iter().position(|known| char::from(*known) == *digit).unwrap() as u64
        });
        assert_eq!(value, 0xCBF4_3926);
        assert_eq!(checksum(b""), ['0'; 6]);
    }

    #[test]
    fn keys_have_the_form_that_scanners_look_for_and_no_two_are_the_same() {
        let keys: Vec<ApiKey> = (0..1000).map(|_| ApiKey::random().unwrap()).collect();
        for key in &keys {
            let text = key.reveal();
            assert_eq!(text.len(), 41);
            assert!(text.starts_with("gp_"));
            assert!(text[3..].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
            assert_eq!(ApiKey::read(text).unwrap().hash(), key.hash());
        }
        let different: HashSet<&str> = keys.iter().map(ApiKey::reveal).collect();
        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn every_digit_is_as_likely_as_the_others() {
        let mut counts = [0; 62];
        for digit in (0..=255).filter_map(digit) {
            counts[BASE62.iter().position(|known| char::from(*known) == digit).unwrap()] += 1;
        }
        assert_eq!(counts, [4; 62]);
    }

    #[test]
    fn a_mistyped_key_is_told_from_one_of_another_make() {
        let text = ApiKey::random().unwrap().reveal().to_owned();
        assert_eq!(ApiKey::read(&text[..40]).unwrap_err(), NoKey::Checksum);
        let swapped = format!("{}{}{}", &text[..10], if &text[10..11] == "a" { "b" } else { "a" }, &text[11..]);
        assert_eq!(ApiKey::read(&swapped).unwrap_err(), NoKey::Checksum);
        assert!(ApiKey::read("a-key-that-somebody-else-made").is_ok());
        for wrong in ["", "short", "has a blank in the middle of it", &"x".repeat(129), "gp_ümlaut-and-more-of-it"] {
            assert_eq!(ApiKey::read(wrong).unwrap_err(), NoKey::Form, "{wrong}");
        }
    }

    #[test]
    fn a_key_is_never_printed_by_accident() {
        assert_eq!(format!("{:?}", ApiKey::random().unwrap()), "ApiKey");
    }
}
