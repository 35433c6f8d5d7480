//! Paths from strangers: one form, which is its own form, and which no reader takes for another place.

#![no_main]

use gatepost_config::path::one_form;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let Ok(form) = one_form(path) else { return };
    assert_eq!(one_form(&form).as_deref(), Ok(&*form), "the one form of {path:?} has another form");
    assert!(form.starts_with('/'));
    assert!(form.bytes().all(|byte| byte.is_ascii_graphic()), "{form:?} cannot stand in a request line");
    assert!(!form.contains(['\\', '?', '#']), "{form:?} means something else to another reader");
    // A reader that decodes everything, `%2F` included, never goes up.
    let decoded = decode(&form);
    assert!(decoded.split(|&byte| byte == b'/').all(|segment| segment != b".." && segment != b"."), "{form:?}");
    assert!(!decoded.contains(&0), "{form:?} holds a NUL");
});

/// Every escape decoded once.
fn decode(form: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = form.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| byte == b'%');
        let value = escaped.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        match value {
            Some(value) => {
                decoded.push(value);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}
