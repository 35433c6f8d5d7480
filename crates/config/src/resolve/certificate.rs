//! Certificates and their keys, wherever they are.
//!
//! Here it is only told whether a file holds the one or the other. Whether they are good, and belong together, is for
//! whoever speaks TLS with them.

use std::sync::Arc;

use crate::decode::Given;
use crate::load::reason;
use crate::pem::Contents;
use crate::reading::Reading;
use crate::resolve::secret::secret;
use crate::secret::Secret;
use crate::text::{FileReference, SecretReference, quoted};

/// The certificate of a domain, then those of its issuers.
pub(super) fn chain(file: &Given<FileReference>, reading: &mut Reading) -> Option<Arc<[u8]>> {
    certificates(file, SWAPPED, reading)
}

/// The certificates of authorities.
pub(super) fn authorities(file: &Given<FileReference>, reading: &mut Reading) -> Option<Arc<[u8]>> {
    certificates(file, "name the file with the certificates of the authorities", reading)
}

/// The private key that a reference leads to.
pub(super) fn private_key(reference: &Given<SecretReference>, reading: &mut Reading) -> Option<Secret> {
    let key = secret(reference, reading)?;
    let name = quoted(key.source());
    let contents = Contents::of(key.reveal());
    let (message, help) = if contents.is_cut_off {
        (format!("{name} breaks off: a PEM block in it begins and does not end"), CUT_OFF)
    } else if contents.has_encrypted_key {
        let help = "`openssl pkey -in KEY -out PLAIN` decrypts it; let only the gateway's user read the result";
        (format!("the key in {name} is encrypted, and nobody is there to type its passphrase"), help)
    } else if contents.keys == 1 {
        return Some(key);
    } else if contents.keys > 1 {
        let help = "leave the one that belongs to the certificate";
        (format!("{name} holds {} private keys", contents.keys), help)
    } else if !contents.certificates.is_empty() {
        (format!("{name} holds a certificate, and no private key"), SWAPPED)
    } else {
        let help = "it needs a line `-----BEGIN PRIVATE KEY-----`; `openssl pkey -inform der` makes PEM of DER";
        (format!("{name} holds no private key in PEM"), help)
    };
    reading.report(reading.error(reference.span, message).with_help(help));
    None
}

/// The certificates in a file: its PEM blocks, and nothing else that it holds.
fn certificates(file: &Given<FileReference>, if_it_is_a_key: &str, reading: &mut Reading) -> Option<Arc<[u8]>> {
    let path = reading.path(&file.value.0, file.span);
    let name = quoted(&path.to_string_lossy());
    let contents = match reading.read(&path) {
        Ok(bytes) => Contents::of(&bytes),
        Err(error) => {
            let message = format!("cannot read the certificate in {name}: {}", reason(&error));
            reading.report(reading.error(file.span, message));
            return None;
        }
    };
    let (message, help) = if contents.is_cut_off {
        (format!("{name} breaks off: a PEM block in it begins and does not end"), CUT_OFF)
    } else if !contents.certificates.is_empty() {
        return Some(contents.certificates.into());
    } else if contents.keys > 0 {
        (format!("{name} holds a private key, and no certificate"), if_it_is_a_key)
    } else {
        let help = "it needs a line `-----BEGIN CERTIFICATE-----`; `openssl x509 -inform der` makes PEM of DER";
        (format!("{name} holds no certificate in PEM"), help)
    };
    reading.report(reading.error(file.span, message).with_help(help));
    None
}

const CUT_OFF: &str = "copy the file again, whole";

const SWAPPED: &str = "were `cert` and `key` swapped?";
