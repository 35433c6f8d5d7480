//! Certificates for the gateways, made for each run and signed by themselves.

use std::fmt;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};

use crate::Outcome;
use crate::scratch::Scratch;

/// The host that every certificate is for.
pub(crate) const HOST: &str = "bench.test";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA of 2,048 bits.
    Rsa,
}

/// A certificate and its private key, in PEM.
pub(crate) struct Certificate {
    certificate: String,
    key: String,
}

/// Where a gateway finds its certificate.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one.
    pub(crate) both: PathBuf,
}

impl Certificate {
    /// Makes a new one.
    pub(crate) fn new(key: Key) -> Outcome<Self> {
        let key = KeyPair::generate_for(match key {
            Key::Ecdsa => &PKCS_ECDSA_P256_SHA256,
            Key::Rsa => &PKCS_RSA_SHA256,
        })?;
        let certificate = CertificateParams::new([HOST.to_owned()])?.self_signed(&key)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Writes it into a gateway's directory.
    pub(crate) fn write(&self, directory: &Scratch) -> Outcome<Files> {
        Ok(Files {
            certificate: directory.write("bench.crt", &self.certificate)?,
            key: directory.write("bench.key", &self.key)?,
            both: directory.write("bench.pem", &format!("{}{}", self.certificate, self.key))?,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa => "ECDSA P-256",
            Self::Rsa => "RSA 2048",
        })
    }
}
