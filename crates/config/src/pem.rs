//! The blocks of a PEM file (RFC 7468), as far as it takes to tell a certificate from a key.
//!
//! What a block holds is not looked at: whoever uses it does that, and says what is wrong with it.

/// A piece of a PEM file, from its `-----BEGIN …-----` to its `-----END …-----`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// What it calls itself: `CERTIFICATE`, `EC PRIVATE KEY`.
    label: &'a [u8],
    /// All of it, with both lines.
    text: &'a [u8],
}

impl Block<'_> {
    fn is_certificate(&self) -> bool {
        self.label == b"CERTIFICATE"
    }

    fn is_private_key(&self) -> bool {
        self.label.ends_with(b"PRIVATE KEY")
    }

    /// Whether it is a key that only a passphrase opens: by its name (RFC 5958), or by its header (RFC 1421).
    fn is_encrypted(&self) -> bool {
        self.label == b"ENCRYPTED PRIVATE KEY" || lines(self.text).any(|line| line == b"Proc-Type: 4,ENCRYPTED")
    }
}

/// What a file with PEM blocks holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The certificates, each with its lines, one after another, and nothing else that the file held.
    pub(crate) certificates: Vec<u8>,
    /// How many private keys there are.
    pub(crate) keys: usize,
    /// Whether one of the keys is encrypted.
    pub(crate) has_encrypted_key: bool,
    /// Whether a block begins that does not end.
    pub(crate) is_cut_off: bool,
}

impl Contents {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut contents = Self::default();
        let (blocks, is_cut_off) = blocks(bytes);
        contents.is_cut_off = is_cut_off;
        for block in blocks {
            if block.is_certificate() {
                contents.certificates.extend_from_slice(block.text);
                contents.certificates.push(b'\n');
            }
            if block.is_private_key() {
                contents.keys += 1;
                contents.has_encrypted_key |= block.is_encrypted();
            }
        }
        contents
    }
}

/// The blocks that end, and whether there is one that does not. Text around them is a comment.
fn blocks(bytes: &[u8]) -> (Vec<Block<'_>>, bool) {
    let mut blocks = Vec::new();
    let mut is_cut_off = false;
    let mut open: Option<(&[u8], usize)> = None;
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.trim_ascii_end().len();
        if let Some(label) = marker(line, b"-----BEGIN ") {
            is_cut_off |= open.is_some();
            open = Some((label, start));
        } else if let Some(ended) = marker(line, b"-----END ")
            && let Some((label, from)) = open.take()
        {
            is_cut_off |= label != ended;
            blocks.push(Block { label, text: &bytes[from..end] });
        }
        start += line.len();
    }
    (blocks, is_cut_off || open.is_some())
}

/// The label in a line that begins with `mark`.
fn marker<'a>(line: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    line.trim_ascii_end().strip_prefix(mark)?.strip_suffix(b"-----")
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";

    fn contents(text: &str) -> Contents {
        Contents::of(text.as_bytes())
    }

    #[test]
    fn certificates_are_taken_out_of_what_is_around_them() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n";
        let found = contents(&format!("Subject: a\n{CERTIFICATE}{key}\n{}", CERTIFICATE.replace('\n', "\r\n")));
        assert_eq!(String::from_utf8(found.certificates).unwrap().replace('\r', ""), CERTIFICATE.repeat(2));
        assert_eq!((found.keys, found.has_encrypted_key, found.is_cut_off), (1, false, false));
    }

    #[test]
    fn parameters_of_a_key_are_no_second_key() {
        let text = "-----BEGIN EC PARAMETERS-----\nBg==\n-----END EC PARAMETERS-----\n\
                    -----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----";
        assert_eq!(contents(text), Contents { keys: 1, ..Contents::default() });
    }

    #[test]
    fn encrypted_keys_are_known_by_name_and_by_header() {
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMA==\n-----END RSA PRIVATE KEY-----\n",
        ] {
            assert!(contents(text).has_encrypted_key, "{text}");
        }
    }

    #[test]
    fn what_does_not_end_is_cut_off() {
        for text in ["-----BEGIN CERTIFICATE-----\nMA==\n", &format!("-----BEGIN X-----\n{CERTIFICATE}")] {
            assert!(contents(text).is_cut_off, "{text}");
        }
        assert!(contents("-----BEGIN A-----\n-----END B-----\n").is_cut_off);
        assert_eq!(contents("hello\n-----END CERTIFICATE-----\n"), Contents::default());
        assert_eq!(contents(""), Contents::default());
    }
}
