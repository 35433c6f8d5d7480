//! Asking issuers for their keys: one task an issuer, on the runtime that it is followed from.
//!
//! `{issuer}/.well-known/openid-configuration` says where the keys are (OpenID Connect Discovery 1.0, 4), and each of the
//! two documents is fetched within the limits that AWS documents. They are asked for again when their publisher says that
//! they may have changed, at most every five minutes and at least every two hours, and when a token names another key. As
//! long as that fails the last ones stay in use, for a day at most.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gatepost_config::model::{FeedUrl, NotAFeedUrl, TargetHost};
use gatepost_net::tls::ClientTls;
use gatepost_net::{AddressClass, Resolver};
use gatepost_ranges::{Answer, Document, FetchError, FetchLimits, Fetcher, Source, next_fetch};
use serde::Deserialize;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Keyring;
use super::jwks::{KeySet, KeySetError};
use super::keyring::KEEP;

/// What each document may take (AWS, "Control access to HTTP APIs with JWT authorizers").
const LIMITS: FetchLimits = FetchLimits { time: Duration::from_millis(1_500), bytes: 150_000 };

/// How long keys are used before they are asked for again: as long as their publisher says, within these bounds.
const LEAST: Duration = Duration::from_secs(5 * 60);
const USUAL: Duration = Duration::from_secs(60 * 60);
const MOST: Duration = Duration::from_secs(2 * 60 * 60);

/// The issuers that are asked for their keys. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Issuers {
    fetcher: Fetcher,
    asked: HashMap<Arc<str>, Asked>,
}

#[derive(Debug)]
struct Asked {
    keyring: Arc<Keyring>,
    task: JoinHandle<()>,
}

/// Why an issuer's keys did not come.
#[derive(Debug, Error)]
enum KeysError {
    #[error("the issuer is no URL that can be asked: {0}")]
    Issuer(#[from] NotAFeedUrl),
    #[error("the issuer is asked over `https` only, or over `http` at an address of this machine")]
    Plain,
    #[error("{url}: {source}")]
    Fetch { url: Box<FeedUrl>, source: FetchError },
    #[error("{0}: it broke off")]
    Broken(Box<FeedUrl>),
    #[error("{0}: it is no OpenID configuration: it has no `issuer` or no `jwks_uri`")]
    NotAConfiguration(Box<FeedUrl>),
    #[error("{url}: it is of another issuer, {issuer:?}")]
    OtherIssuer { url: Box<FeedUrl>, issuer: Box<str> },
    #[error("{url}: its `jwks_uri` cannot be asked: {source}")]
    JwksUri { url: Box<FeedUrl>, source: NotAFeedUrl },
    #[error("{0}: its `jwks_uri` is neither `https` nor on this machine, as its issuer is, or a private address")]
    JwksPlace(Box<FeedUrl>),
    #[error("{url}: {source}")]
    Keys { url: Box<FeedUrl>, source: KeySetError },
}

/// What counts of an OpenID configuration.
#[derive(Deserialize)]
struct Configuration {
    issuer: Box<str>,
    jwks_uri: Box<str>,
}

impl Issuers {
    /// None yet. Names are looked up by `resolver`, and issuers proven by `tls`, which speaks HTTP/1.1.
    pub(crate) fn new(resolver: Resolver, tls: ClientTls) -> Self {
        Self { fetcher: Fetcher::new(resolver, tls), asked: HashMap::new() }
    }

    /// Asks for the keys of these from now on, and of no others, on the runtime that this is called on. Those that were
    /// asked before with the same keyring are not disturbed.
    pub(crate) fn follow<'k>(&mut self, keyrings: impl IntoIterator<Item = &'k Arc<Keyring>>) {
        let mut before = std::mem::take(&mut self.asked);
        for keyring in keyrings {
            let issuer = Arc::clone(keyring.issuer());
            let same = before.remove(&issuer).filter(|asked| Arc::ptr_eq(&asked.keyring, keyring));
            let asked = same.unwrap_or_else(|| Asked {
                keyring: Arc::clone(keyring),
                task: tokio::spawn(keep(self.fetcher.clone(), Arc::clone(keyring))),
            });
            self.asked.insert(issuer, asked);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps the keys of one issuer.
async fn keep(fetcher: Fetcher, keyring: Arc<Keyring>) {
    let mut due = Instant::now();
    let mut alarm = Alarm::default();
    loop {
        tokio::select! {
            () = sleep_until(due) => {}
            () = keyring.wanted.notified() => if !keyring.is_due() { continue },
        }
        keyring.begin();
        let wait = match fetch(&fetcher, keyring.issuer()).await {
            Ok((set, every)) => {
                let (keys, unused) = (set.len(), set.unused);
                let is_new = keyring.end(Some(set));
                alarm.loaded(&keyring, is_new, keys, unused);
                next_fetch(every, 0)
            }
            Err(error) => {
                keyring.end(None);
                alarm.failed(&keyring, &error);
                next_fetch(USUAL, alarm.failures)
            }
        };
        due = Instant::now() + wait;
    }
}

/// What the log is told, once each.
#[derive(Debug, Default)]
struct Alarm {
    /// How often in a row it failed.
    failures: u32,
    /// Whether it was told that keys are old.
    told_of_age: bool,
    /// Whether it was told that they are not used any more.
    told_of_end: bool,
}

impl Alarm {
    fn loaded(&mut self, keyring: &Keyring, is_new: bool, keys: usize, unused: usize) {
        let issuer = &**keyring.issuer();
        if is_new {
            tracing::info!(issuer, keys, unused, "the keys of an issuer have come");
        } else if self.failures > 0 {
            tracing::info!(issuer, keys, "the keys of an issuer come again");
        }
        *self = Self::default();
    }

    fn failed(&mut self, keyring: &Keyring, error: &KeysError) {
        let issuer = &**keyring.issuer();
        self.failures = self.failures.saturating_add(1);
        match keyring.age() {
            None if self.failures == 1 => {
                tracing::error!(
                    issuer,
                    "the keys of an issuer cannot be had, and its tokens are answered 503: {error}"
                );
            }
            Some(age) if age >= KEEP && !self.told_of_end => {
                self.told_of_end = true;
                tracing::error!(issuer, "the keys of an issuer are a day old and no longer used: {error}");
            }
            Some(age) if age >= MOST && !self.told_of_age => {
                self.told_of_age = true;
                tracing::error!(issuer, "the keys of an issuer are more than two hours old, and stay in use: {error}");
            }
            Some(_) if self.failures == 1 => {
                tracing::warn!(issuer, "the keys of an issuer cannot be had again, the last ones stay in use: {error}");
            }
            None | Some(_) => {}
        }
    }
}

/// The keys of an issuer, and how long they may be used unasked.
async fn fetch(fetcher: &Fetcher, issuer: &str) -> Result<(KeySet, Duration), KeysError> {
    let url = configuration_of(issuer)?;
    let Document { bytes, .. } = document(fetcher, &url).await?;
    let place = jwks_uri(issuer, &url, &bytes)?;
    let Document { bytes, max_age, .. } = document(fetcher, &place).await?;
    let set = KeySet::read(&bytes).map_err(|source| KeysError::Keys { url: Box::new(place), source })?;
    Ok((set, max_age.unwrap_or(USUAL).clamp(LEAST, MOST)))
}

async fn document(fetcher: &Fetcher, url: &FeedUrl) -> Result<Document, KeysError> {
    let failed = |source| KeysError::Fetch { url: Box::new(url.clone()), source };
    match fetcher.fetch(&Source::new(url, LIMITS), None).await.map_err(failed)? {
        Answer::Document(document) if document.is_whole => Ok(document),
        Answer::Document(_) | Answer::NotModified => Err(KeysError::Broken(Box::new(url.clone()))),
    }
}

/// Where the configuration of an issuer is (OpenID Connect Discovery 1.0, 4.1: without a slash at the issuer's end).
fn configuration_of(issuer: &str) -> Result<FeedUrl, KeysError> {
    let url: FeedUrl = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')).parse()?;
    if url.target.tls || is_here(&url) { Ok(url) } else { Err(KeysError::Plain) }
}

/// Where a configuration says that the keys are. It is not the owner who wrote that, so it may not lead anywhere: over
/// `https` to names, which must stand for public addresses, and to public addresses; of an issuer on this machine, to
/// this machine; and to the issuer's own host.
fn jwks_uri(issuer: &str, url: &FeedUrl, configuration: &[u8]) -> Result<FeedUrl, KeysError> {
    let at = || Box::new(url.clone());
    let read = serde_json::from_slice::<serde_json::Value>(configuration).ok().filter(serde_json::Value::is_object);
    let read = read.and_then(|value| Configuration::deserialize(value).ok());
    let Configuration { issuer: named, jwks_uri } = read.ok_or_else(|| KeysError::NotAConfiguration(at()))?;
    if &*named != issuer {
        let named = named.chars().take(256).collect::<String>().into();
        return Err(KeysError::OtherIssuer { url: at(), issuer: named });
    }
    let place: FeedUrl = jwks_uri.parse().map_err(|source| KeysError::JwksUri { url: at(), source })?;
    let is_permitted = match &place.target.host {
        _ if !place.target.tls && url.target.tls => false,
        TargetHost::Name(_) => place.target.tls,
        TargetHost::Address(_) if is_here(&place) => is_here(url),
        TargetHost::Address(address) => {
            let is_public = AddressClass::of(*address) == AddressClass::Global;
            place.target.tls && (is_public || place.target.host == url.target.host)
        }
    };
    if is_permitted { Ok(place) } else { Err(KeysError::JwksPlace(at())) }
}

/// Whether it is an address of this machine.
fn is_here(url: &FeedUrl) -> bool {
    matches!(url.target.host, TargetHost::Address(address) if AddressClass::of(address) == AddressClass::Loopback)
}

#[cfg(test)]
mod tests;
