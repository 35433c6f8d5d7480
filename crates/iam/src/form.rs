//! The form that paths of requests have: a pattern in any other spelling matches none of them.
//!
//! Unreserved characters stand for themselves, every other escape is kept with its digits in upper case, and what a path
//! may not hold bare is escaped (RFC 3986, 2.3 and 3.3). Backslash and NUL are refused, escaped or not.

/// Whether a path may hold this piece of text, which may begin or end within an escape.
pub(crate) fn may_be_of_a_path(piece: &str) -> bool {
    let mut bytes = piece.bytes();
    while let Some(byte) = bytes.next() {
        let fits = if byte == b'%' { is_escape(bytes.next(), bytes.next()) } else { stands_bare(byte) };
        if !fits {
            return false;
        }
    }
    true
}

/// Whether an escape may have these digits; a digit that is absent is not known.
fn is_escape(high: Option<u8>, low: Option<u8>) -> bool {
    let Some(high) = high else { return true };
    let Some(high) = hex_value(high) else { return false };
    let Some(low) = low else { return true };
    let Some(low) = hex_value(low) else { return false };
    let meant = high << 4 | low;
    !is_unreserved(meant) && meant != b'\\' && meant != 0
}

/// The value of a digit in upper case.
fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn stands_bare(byte: u8) -> bool {
    is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_form_is_of_a_path() {
        for piece in ["", "caf%C3%A9", "~user/a.b-c_d", "a%20b", "%2F", "a%", "a%C", "!$&'()*+,;=:@", "//"] {
            assert!(may_be_of_a_path(piece), "{piece}");
        }
        for piece in ["caf%c3%a9", "café", "%7Euser", "%7euser", "a b", "%zz", "%c", "a%5C", "%00", "\\", "a?b", "[x]"]
        {
            assert!(!may_be_of_a_path(piece), "{piece}");
        }
    }
}
