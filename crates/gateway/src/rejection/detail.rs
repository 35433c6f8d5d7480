//! What is known of some rejections beside their reason.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use gatepost_config::model::{PolicyDocument, ProofKind};
use gatepost_config::path::PathError;
use thiserror::Error;

use crate::caller::{Caller, CredentialFlaw};

/// What is wrong with what somebody presents of itself.
#[derive(Debug)]
pub(crate) struct BadCredentials {
    pub(crate) kind: ProofKind,
    pub(crate) flaw: CredentialFlaw,
    /// The name of the caller that it claims to be from.
    pub(crate) claimed: Option<Arc<str>>,
}

/// Which policy a request was denied by.
#[derive(Debug)]
pub(crate) enum Denial {
    /// This one.
    By {
        document: Arc<PolicyDocument>,
        /// The statement that denies it, counted from zero; absent: none allows it.
        statement: Option<usize>,
        /// Who was denied it, if that is known.
        user: Option<Arc<Caller>>,
    },
    /// None: a caller of another account needs the API's, and there is none.
    Lacking {
        /// Who was denied it.
        user: Arc<Caller>,
    },
    /// One that is only told of: whoever keeps this does not keep the document.
    Told {
        /// Which, and what it says.
        text: Box<str>,
        /// Whether a statement denies it.
        is_explicit: bool,
    },
}

impl Denial {
    /// Whether a statement denies it; else none allows it.
    pub(crate) fn is_explicit(&self) -> bool {
        match self {
            Self::By { statement, .. } => statement.is_some(),
            Self::Lacking { .. } => false,
            Self::Told { is_explicit, .. } => *is_explicit,
        }
    }

    /// Who was denied it, if that is known.
    pub(crate) fn user(&self) -> Option<&Caller> {
        match self {
            Self::By { user, .. } => user.as_deref(),
            Self::Lacking { user } => Some(user),
            Self::Told { .. } => None,
        }
    }

    /// The same without the document.
    pub(crate) fn told(&self) -> Self {
        Self::Told { text: self.to_string().into(), is_explicit: self.is_explicit() }
    }
}

impl fmt::Display for BadCredentials {
    /// `sigv4 of acme: the signature is not that of the request`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, flaw, claimed } = self;
        out.write_str(kind.name())?;
        if let Some(name) = claimed {
            write!(out, " of {name}")?;
        }
        write!(out, ": {flaw}")
    }
}

impl fmt::Display for Denial {
    /// `policies/hooks.json: statement "OnlyGithub" denies it`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (document, statement) = match self {
            Self::By { document, statement, .. } => (document, statement),
            Self::Lacking { .. } => return out.write_str("the API has no policy, and only one lets in other accounts"),
            Self::Told { text, .. } => return out.write_str(text),
        };
        write!(out, "{}: ", document.file.display())?;
        match statement.map(|index| (index, document.policy.statements().get(index))) {
            Some((_, Some(statement))) => write!(out, "statement {} denies it", statement.name()),
            Some((index, None)) => write!(out, "statement {index} denies it"),
            None => out.write_str("no statement allows it"),
        }
    }
}

/// Whose budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The caller's.
    Caller,
    /// The route's.
    Route,
}

/// What makes a request malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    /// No `Host`, more than one, or one that is no host.
    #[error("no `Host`, more than one, or one that is no host")]
    Host,
    /// The request target and `Host` name different hosts.
    #[error("the request target and `Host` name different hosts")]
    Authority,
    /// `Transfer-Encoding` is anything but exactly `chunked`.
    #[error("`Transfer-Encoding` is not exactly `chunked`")]
    TransferEncoding,
    /// The path has no one form.
    #[error(transparent)]
    Path(PathError),
    /// A method that a gateway cannot serve: CONNECT.
    #[error("CONNECT is for proxies")]
    Method,
}

/// What a target did wrong.
#[derive(Debug, Error)]
pub(crate) enum BadUpstream {
    /// It hung up, or what it sent is no HTTP.
    #[error("{}", with_causes(.0))]
    Http(hyper::Error),
    /// Its body is coded, or its length told, in a way that could be read as another.
    #[error("its transfer coding or its length is not plain")]
    Framing,
    /// It changed to a protocol that nobody had asked for.
    #[error("it changed to a protocol that nobody had asked for")]
    UnaskedUpgrade,
    /// A redirect's location came out as no header value.
    #[error("the location is no header value")]
    Location,
}

/// What hyper says, which may be little more than a version of HTTP, and why it says so.
pub(crate) fn with_causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// What is said of an address set without a good copy.
pub(crate) fn never_loaded(set: &str) -> String {
    format!("the address set {set} was never loaded")
}
