//! What AWS calls a request.

use http::HeaderValue;

use crate::record::RequestId;

/// `x-amzn-RequestId`: what the client says if that is a UUID (API Gateway developer guide, set-up-logging), else a UUID
/// of version 4. Of one that is made here, the first twelve digits are those of the decision's id.
pub(super) fn request_id(told: Option<&HeaderValue>, id: RequestId) -> HeaderValue {
    match told.filter(|told| is_uuid(told.as_bytes())) {
        Some(told) => told.clone(),
        None => HeaderValue::from_bytes(&uuid(id)).unwrap_or(HeaderValue::from_static("-")),
    }
}

/// `x-amz-apigw-id`: fifteen characters of base64, and `=`.
pub(super) fn gateway_id(id: RequestId) -> HeaderValue {
    let [first, second] = words(id, GATEWAY_SALT);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_be_bytes());
    bytes[8..].copy_from_slice(&second.to_be_bytes());
    let number = u128::from_be_bytes(bytes);
    let mut text = [b'='; 16];
    for (place, digit) in text.iter_mut().take(15).enumerate() {
        // Eleven bytes are 88 bits: fourteen digits of six, and four bits in the last.
        let six_bits = (number >> (122 - 6 * place)) as usize & 63;
        *digit = BASE64[if place == 14 { six_bits & 0b11_1100 } else { six_bits }];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Keeps the bits of one name from those of another.
const GATEWAY_SALT: u64 = 0x6170_6967_775f_6964;

const UUID_SALT: u64 = 0x7265_7175_6573_7469;

/// RFC 9562, 5.4.
fn uuid(id: RequestId) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = id.digits();
    let [more, _] = words(id, UUID_SALT);
    let more = |place: usize| (more >> (60 - 4 * place)) as usize & 15;
    let mut digit = 0;
    std::array::from_fn(|at| match at {
        8 | 13 | 18 | 23 => b'-',
        14 => b'4',
        19 => HEX[8 | more(15) & 3],
        _ => {
            digit += 1;
            // Twelve digits of the id's, three that stand between the version and the variant, fifteen more.
            match digit {
                1..=12 => digits[digit - 1],
                _ => HEX[more((digit - 13) % 15)],
            }
        }
    })
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// More bits than the id has, that look like chance and are the same each time.
fn words(id: RequestId, salt: u64) -> [u64; 2] {
    let first = RequestId::of(id.number() ^ salt).number();
    [first, RequestId::of(first ^ salt).number()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_request_has_a_uuid_of_version_4_that_begins_like_its_decision() {
        let id = RequestId::of(7);
        let name = request_id(None, id);
        let text = name.to_str().unwrap();
        assert!(is_uuid(text.as_bytes()) && text == text.to_lowercase(), "{text}");
        assert_eq!(&text[14..15], "4", "{text}");
        assert!("89ab".contains(&text[19..20]), "{text}");
        assert_eq!(text[..13].replace('-', ""), id.to_string()[..12]);
        assert_eq!(request_id(None, id), name);
    }

    #[test]
    fn no_two_requests_have_one_name() {
        let ids = || (0..10_000).map(RequestId::of);
        assert_eq!(ids().map(|id| request_id(None, id)).collect::<HashSet<_>>().len(), 10_000);
        assert_eq!(ids().map(gateway_id).collect::<HashSet<_>>().len(), 10_000);
    }

    #[test]
    fn a_client_may_bring_a_uuid_and_nothing_else() {
        let id = RequestId::of(7);
        for told in ["C6AF9AC6-7B61-11E6-9A41-93E8DEADBEEF", "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"] {
            assert_eq!(request_id(Some(&HeaderValue::from_static(told)), id), told);
        }
        for told in ["", "x", "c6af9ac67b6111e69a4193e8deadbeef", "c6af9ac6-7b61-11e6-9a41-93e8deadbee", "{c6af9ac6}"] {
            assert_eq!(request_id(Some(&HeaderValue::from_static(told)), id), request_id(None, id), "{told}");
        }
    }

    #[test]
    fn the_gateways_own_name_is_base64_of_eleven_bytes() {
        for number in 0..1000 {
            let name = gateway_id(RequestId::of(number));
            let text = name.to_str().unwrap();
            let (digits, end) = text.split_at(15);
            assert!(digits.bytes().all(|byte| BASE64.contains(&byte)), "{text}");
            // Sixteen bits are left for the last three characters.
            assert!("AEIMQUYcgkosw048".contains(&digits[14..]), "{text}");
            assert_eq!(end, "=");
        }
    }
}
