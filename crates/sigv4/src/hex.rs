//! Lower-case hexadecimal, as signatures and hashes are written.

use data_encoding::HEXLOWER;

/// Two digits a byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// 32 bytes from 64 lower-case digits, and from nothing else: two texts never mean the same bytes.
pub(crate) fn decode_32(text: &[u8]) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.try_into().ok()?;
    let mut bytes = [0; 32];
    HEXLOWER.decode_mut(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_lower_case_digits_are_32_bytes() {
        let text = "00ff".repeat(16);
        assert_eq!(encode(&decode_32(text.as_bytes()).unwrap()), text);
        for other in [text.to_uppercase(), text[1..].to_owned(), text.clone() + "0", text.replace('f', "g")] {
            assert_eq!(decode_32(other.as_bytes()), None, "{other}");
        }
    }
}
