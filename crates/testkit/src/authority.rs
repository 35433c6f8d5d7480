use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm, date_time_ymd,
};

/// An authority that issues certificates for servers, trusted by whoever trusts [`Authority::root_pem`].
///
/// Everything it makes is new each time, and nobody outside a test trusts it.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
    /// What stands between a certificate and the root.
    intermediates_pem: String,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, then those of the authorities between it and the root: PEM.
    pub chain_pem: String,
    /// Its private key: PEM, PKCS#8.
    pub key_pem: String,
}

impl Authority {
    /// A root of its own.
    ///
    /// # Panics
    /// The system has no randomness; so for all that follows.
    #[must_use]
    pub fn new() -> Self {
        let (params, key) = (authority_params("root"), new_key(&PKCS_ECDSA_P256_SHA256));
        let root_pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), root_pem, intermediates_pem: String::new() }
    }

    /// An authority below this one: what it issues comes with its own certificate.
    #[must_use]
    pub fn intermediate(&self) -> Self {
        let (params, key) = (authority_params("intermediate"), new_key(&PKCS_ECDSA_P256_SHA256));
        let own_pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let intermediates_pem = own_pem + &self.intermediates_pem;
        Self { issuer: Issuer::new(params, key), root_pem: self.root_pem.clone(), intermediates_pem }
    }

    /// The certificate that clients have to trust: PEM.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A certificate for these names (`*.example.com` among them) and addresses, valid now, with an ECDSA P-256 key.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.sign(&server_params(names), &PKCS_ECDSA_P256_SHA256)
    }

    /// One with an RSA key of 2048 bits.
    #[must_use]
    pub fn issue_rsa(&self, names: &[&str]) -> Issued {
        self.sign(&server_params(names), &PKCS_RSA_SHA256)
    }

    /// One whose time is over.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        let mut params = server_params(names);
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        self.sign(&params, &PKCS_ECDSA_P256_SHA256)
    }

    /// One whose time has not come.
    #[must_use]
    pub fn issue_early(&self, names: &[&str]) -> Issued {
        let mut params = server_params(names);
        (params.not_before, params.not_after) = (date_time_ymd(4000, 1, 1), date_time_ymd(4001, 1, 1));
        self.sign(&params, &PKCS_ECDSA_P256_SHA256)
    }

    fn sign(&self, params: &CertificateParams, algorithm: &'static SignatureAlgorithm) -> Issued {
        let key = new_key(algorithm);
        let own_pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { chain_pem: own_pem + &self.intermediates_pem, key_pem: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Issued {
    /// One for these names that no authority has signed, but its own key.
    ///
    /// # Panics
    /// The system has no randomness.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> Self {
        let key = new_key(&PKCS_ECDSA_P256_SHA256);
        let chain_pem = server_params(names).self_signed(&key).expect("a certificate").pem();
        Self { chain_pem, key_pem: key.serialize_pem() }
    }

    /// The key in the form that was usual before PKCS#8 and that many tools still write: PKCS#1 for RSA, SEC1 for ECDSA.
    ///
    /// # Panics
    /// It is a key of another kind than [`Authority::issue`] and [`Authority::issue_rsa`] make.
    #[must_use]
    pub fn old_key_pem(&self) -> String {
        // PKCS#8 (RFC 5208) is the old form behind a header that says of which kind it is: of these lengths.
        const RSA_2048: usize = 26;
        const ECDSA_P256: usize = 29;
        let key = pem::parse(&self.key_pem).expect("PEM");
        let (header, label) = match key.contents().len() {
            1000.. => (RSA_2048, "RSA PRIVATE KEY"),
            _ => (ECDSA_P256, "EC PRIVATE KEY"),
        };
        pem::encode(&pem::Pem::new(label, &key.contents()[header..]))
    }
}

fn new_key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("randomness")
}

fn authority_params(kind: &str) -> CertificateParams {
    // No two have one name: who looks for an issuer by its name finds that one or none.
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("Gatepost test {kind} {}", MADE.fetch_add(1, Ordering::Relaxed));
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let mut params = CertificateParams::new(names).expect("names and addresses");
    params.distinguished_name.push(DnType::CommonName, "Gatepost test server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
