//! Which certificates and keys are taken, and what is said of those that are not.

use std::time::SystemTime;

use gatepost_net::tls::{Certificate, Concern, Domain, ServerTls, Tickets, TlsError, TlsVersion};
use gatepost_testkit::{Authority, Issued};

use crate::setup::{BOTH, certificate, client, domain, domain_with, meet, named, server};

fn load(chain: &str, key: &str) -> Result<Certificate, TlsError> {
    Certificate::from_pem(chain.as_bytes(), key.as_bytes())
}

fn refused(chain: &str, key: &str) -> String {
    load(chain, key).expect_err("it is refused").to_string()
}

#[tokio::test]
async fn ecdsa_and_rsa_keys_are_served_in_every_form() {
    let authority = Authority::new();
    for issued in [authority.issue(&["a.test"]), authority.issue_rsa(&["a.test"])] {
        let with_parameters = format!(
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}",
            issued.old_key_pem()
        );
        for key_pem in [issued.key_pem.clone(), issued.old_key_pem(), with_parameters] {
            let issued = Issued { key_pem, ..issued.clone() };
            let server = server([domain_with(&issued, "a.test")]);
            meet(&server, &client(&authority, BOTH), "a.test").await.greet().await;
        }
    }
}

#[tokio::test]
async fn the_issuers_between_a_certificate_and_its_root_are_presented() {
    let root = Authority::new();
    let issued = root.intermediate().intermediate().issue(&["a.test"]);
    let server = server([domain_with(&issued, "a.test")]);
    meet(&server, &client(&root, BOTH), "a.test").await.greet().await;
}

#[test]
fn one_file_may_hold_the_certificate_and_its_key() {
    let issued = Authority::new().issue(&["a.test"]);
    let both = format!("{}{}", issued.key_pem, issued.chain_pem);
    load(&both, &both).unwrap();
}

#[test]
fn a_certificate_needs_no_authority() {
    let issued = Issued::self_signed(&["a.test", "*.b.test"]);
    let certificate = certificate(&issued);
    assert_eq!(certificate.names().collect::<Vec<_>>(), ["a.test", "*.b.test"]);
    assert_eq!(certificate.concern(SystemTime::now()), None);
}

#[test]
fn files_that_hold_the_wrong_things_are_told_apart() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (chain, key, problem) in [
        ("", &*one.key_pem, "the certificate file holds no certificate"),
        (&*one.key_pem, &one.key_pem, "the certificate file holds no certificate"),
        (&one.chain_pem, "", "the key file holds no private key"),
        (&one.chain_pem, &one.chain_pem, "the key file holds no private key"),
        (&one.chain_pem, &(one.key_pem.clone() + &other.key_pem), "the key file holds 2 private keys"),
        (&one.chain_pem, locked, "the private key is encrypted"),
        (&one.chain_pem, &other.key_pem, "the private key does not belong to the certificate"),
        (&one.chain_pem[..200], &one.key_pem, "the certificate file cannot be read as PEM: a section has no END line"),
        (&one.chain_pem, &one.key_pem[..80], "the key file cannot be read as PEM: a section has no END line"),
    ] {
        let said = refused(chain, key);
        assert!(said.starts_with(problem), "{said}");
    }
}

#[test]
fn a_section_that_is_no_certificate_or_no_key_is_named() {
    let issued = Authority::new().issue(&["a.test"]);
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let said = refused(&format!("{}{no_certificate}", issued.chain_pem), &issued.key_pem);
    assert!(said.starts_with("certificate 2 of the certificate file cannot be used: "), "{said}");

    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let said = refused(&issued.chain_pem, no_key);
    assert!(said.starts_with("the private key cannot be used"), "{said}");
}

#[test]
fn a_chain_that_begins_with_an_issuer_says_which_certificate_comes_first() {
    let issued = Authority::new().intermediate().issue(&["a.test"]);
    let end = issued.chain_pem.find("-----END").unwrap();
    let (leaf, issuer) = issued.chain_pem.split_at(end + issued.chain_pem[end..].find('\n').unwrap() + 1);
    let said = refused(&format!("{issuer}{leaf}"), &issued.key_pem);
    assert!(said.starts_with("the private key belongs to certificate 2 of the chain"), "{said}");
}

#[test]
fn no_error_and_no_debug_tells_anything_of_a_key() {
    let issued = Authority::new().issue(&["a.test"]);
    let secret = &issued.key_pem.lines().nth(1).unwrap()[..20];
    let broken = issued.key_pem.replace("-----END PRIVATE KEY-----", "").replace('=', "!");
    let mangled = issued.key_pem.replacen("KEY-----\n", "KEY-----\n!!", 1);
    for key in [&broken, &mangled] {
        let error = load(&issued.chain_pem, key).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    let certificate = certificate(&issued);
    assert_eq!(format!("{certificate:?}"), "Certificate([\"a.test\"])");
}

#[test]
fn a_certificate_out_of_its_time_is_a_concern_and_no_error() {
    let authority = Authority::new();
    let now = SystemTime::now();
    let expired = certificate(&authority.issue_expired(&["a.test"]));
    assert!(matches!(expired.concern(now), Some(Concern::Expired(_))));
    assert!(expired.concern(now).unwrap().to_string().starts_with("the certificate expired "));
    assert_eq!(expired.concern(expired.valid_until()), None);
    assert_eq!(expired.concern(expired.valid_from()), None);

    let early = certificate(&authority.issue_early(&["a.test"]));
    assert!(matches!(early.concern(now), Some(Concern::NotYetValid(_))));
    assert_eq!(certificate(&authority.issue(&["a.test"])).concern(now), None);
}

#[test]
fn a_domain_needs_a_certificate_for_its_name() {
    let authority = Authority::new();
    let wrong = |name: &str, certified: &[&str]| {
        let certificate = certificate(&authority.issue(certified));
        Domain::new(named(name), certificate, TlsVersion::Tls12).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(wrong("A.test", &["b.test", "a.TEST"]), Ok(()));
    assert_eq!(wrong("a.b.test", &["*.b.test"]), Ok(()));
    assert_eq!(wrong("*.b.test", &["*.b.test"]), Ok(()));
    assert_eq!(wrong("192.0.2.1", &["192.0.2.1"]), Ok(()));
    assert_eq!(wrong("[2001:db8::1]", &["2001:db8::1"]), Ok(()));
    for (name, certified, said) in [
        ("a.test", &["b.test", "*.a.test"][..], "it is for b.test, *.a.test"),
        ("*.b.test", &["a.b.test", "b.test"], "it is for a.b.test, b.test"),
        ("a.b.c.test", &["*.c.test"], "it is for *.c.test"),
        (
            "a.test",
            &["192.0.2.1"],
            "it has no DNS name among its subject alternative names (its common name does not count)",
        ),
        (
            "192.0.2.2",
            &["192.0.2.1"],
            "it has no DNS name among its subject alternative names (its common name does not count)",
        ),
    ] {
        let error = wrong(name, certified).unwrap_err();
        assert_eq!(error, format!("the certificate is not valid for {name}: {said}"));
    }
}

#[test]
fn two_domains_of_one_name_and_no_domain_at_all_are_refused() {
    let authority = Authority::new();
    let tickets = Tickets::new().unwrap();
    let twice = ["a.test", "A.test"].map(|name| domain(&authority, name));
    assert!(matches!(ServerTls::new(twice, &tickets), Err(TlsError::SameName(_))));
    assert!(matches!(ServerTls::new([], &tickets), Err(TlsError::NoDomain)));
}
