use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, Tag, sign, verify};
use zeroize::Zeroizing;

use crate::{Scope, TERMINATOR, hex};

/// A secret access key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<String>);

impl SecretKey {
    /// Takes the text over, so that no other copy of it is made here.
    #[must_use]
    pub fn new(secret: impl Into<Zeroizing<String>>) -> Self {
        Self(secret.into())
    }

    /// The key that signs within `scope`: four HMACs, worth keeping for the day.
    #[must_use]
    pub fn signing_key(&self, scope: Scope) -> SigningKey {
        // As long as it becomes from the beginning: a vector that grows leaves copies behind.
        let mut root = Zeroizing::new(Vec::with_capacity("AWS4".len() + self.0.len()));
        root.extend_from_slice(b"AWS4");
        root.extend_from_slice(self.0.as_bytes());
        let day = sign(&Key::new(HMAC_SHA256, &root), scope.day().as_bytes());
        let region = sign(&key(&day), scope.region().as_bytes());
        let service = sign(&key(&region), scope.service().as_bytes());
        let terminator = sign(&key(&service), TERMINATOR.as_bytes());
        SigningKey { key: Arc::new(key(&terminator)), scope }
    }
}

fn key(tag: &Tag) -> Key {
    Key::new(HMAC_SHA256, tag.as_ref())
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretKey")
    }
}

/// A session token, which belongs to temporary credentials. Wiped when dropped, never printed, compared in constant time.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    /// Takes the text over, so that no other copy of it is made here.
    #[must_use]
    pub fn new(token: impl Into<Zeroizing<String>>) -> Self {
        Self(token.into())
    }

    /// The token in clear, for whoever sends it or asks for whom it was issued.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for SessionToken {}

impl fmt::Debug for SessionToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SessionToken")
    }
}

/// A key that signs within one [`Scope`], derived from a [`SecretKey`]. Who has it can sign there, and learns no secret.
/// A clone is the same key, which is wiped with the last of them.
#[derive(Clone)]
pub struct SigningKey {
    /// Shared, for it is more than a kilobyte.
    key: Arc<Key>,
    scope: Scope,
}

impl SigningKey {
    /// Where it signs. For any other scope its signatures are wrong.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The signature in lower-case hexadecimal digits.
    pub(crate) fn sign(&self, string_to_sign: &str) -> String {
        hex::encode(sign(&self.key, string_to_sign.as_bytes()).as_ref())
    }

    /// Whether `signature` is that of `string_to_sign`, in a time that tells nothing of how much of it is right.
    pub(crate) fn is_signature(&self, string_to_sign: &str, signature: &[u8; 32]) -> bool {
        verify(&self.key, string_to_sign.as_bytes(), signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AmzDate;

    #[test]
    fn secrets_are_not_printed() {
        let secret = SecretKey::new("hush".to_owned());
        let scope = Scope::new(AmzDate::parse("20260115T120000Z").unwrap(), "us-east-1", "execute-api");
        let printed = format!("{secret:?} {:?} {:?}", secret.signing_key(scope), SessionToken::new("hush".to_owned()));
        assert_eq!(printed, "SecretKey SigningKey(20260115/us-east-1/execute-api/aws4_request) SessionToken");
    }

    #[test]
    fn tokens_are_equal_if_all_of_them_is() {
        let token = |text: &str| SessionToken::new(text.to_owned());
        assert_eq!(token("abc"), token("abc"));
        assert_ne!(token("abc"), token("abd"));
        assert_ne!(token("abc"), token("ab"));
    }

    /// The derived key of a published vector, in one HMAC of which it is the key.
    #[test]
    fn the_signing_key_is_derived_by_four_hmacs() {
        let derived = "ba432e0cd17308b9ed80d360f2b26c631a85b70468a44dd00f6003bf359444e5";
        let expected = Key::new(HMAC_SHA256, &hex::decode_32(derived.as_bytes()).unwrap());
        let scope = Scope::new(AmzDate::parse("20260115T120000Z").unwrap(), "us-east-1", "execute-api");
        let key = SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()).signing_key(scope);
        assert_eq!(key.sign("anything"), hex::encode(sign(&expected, b"anything").as_ref()));
    }
}
