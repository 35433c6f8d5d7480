//! What a request says, once: its host, its path in the one form, its length. What two readers could take for two
//! different requests ends here.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use gatepost_config::model::Private;
use gatepost_config::path::one_form;
use gatepost_meter::ClientTable;
use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Uri};

use crate::host::agrees;
use crate::rejection::Malformed;
use crate::trace::{Note, Trace};

/// Where a request comes in, and from whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrance<'r> {
    /// The client's address, IPv4-mapped IPv6 folded.
    pub(crate) client: IpAddr,
    /// Whether the client speaks TLS.
    pub(crate) is_secure: bool,
    /// What policies are told that it comes through; absent: from the internet.
    pub(crate) private: Option<&'r Private>,
}

/// The facts of a request that routing and admission judge by.
#[derive(Debug)]
pub(crate) struct Facts<'r> {
    /// The client's address, IPv4-mapped IPv6 folded.
    pub(crate) client: IpAddr,
    /// Whether the client speaks TLS.
    pub(crate) is_secure: bool,
    /// What policies are told that it comes through; absent: from the internet.
    pub(crate) private: Option<&'r Private>,
    /// The method.
    pub(crate) method: &'r Method,
    /// The host without its port, in lower case.
    pub(crate) host: Arc<str>,
    /// The path in the one form, with the base path.
    pub(crate) path: Cow<'r, str>,
    /// The headers as they came.
    pub(crate) headers: &'r HeaderMap,
    /// The length of the body in bytes, if it is told in advance.
    pub(crate) length: Option<u64>,
    /// What it asks for, as it came on the wire: that is what is signed.
    pub(crate) received: Received<'r>,
    /// Who is taken to have sent it, where somebody only asks what would become of it.
    pub(crate) assumed: Assumed<'r>,
    /// What its client has paid already: it was judged before, and has waited for what was not known then.
    pub(crate) paid: &'r [Arc<ClientTable>],
}

/// The target of a request as it was received.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Received<'r> {
    pub(crate) path: &'r str,
    /// Empty if there is none.
    pub(crate) query: &'r str,
    pub(crate) authority: Option<&'r str>,
}

/// Who is taken to call, without having proven it. Nobody, wherever requests are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Assumed<'r> {
    /// Whoever its credentials prove.
    #[default]
    Nobody,
    /// The caller of this name, with every proof that is asked for.
    Caller(&'r str),
    /// Anybody whom a route lets in: callers are not asked for.
    Somebody,
}

impl<'r> Received<'r> {
    fn of(uri: &'r Uri) -> Self {
        let authority = uri.authority().map(|authority| authority.as_str());
        Self { path: uri.path(), query: uri.query().unwrap_or_default(), authority }
    }
}

impl<'r> Facts<'r> {
    /// The same, of a client that has paid to these already.
    pub(crate) fn having_paid(self, paid: &'r [Arc<ClientTable>]) -> Self {
        Self { paid, ..self }
    }

    /// Whether its client has yet to pay to this one.
    pub(crate) fn owes(&self, table: &Arc<ClientTable>) -> bool {
        !self.paid.iter().any(|paid| Arc::ptr_eq(paid, table))
    }

    /// The same, sent by whoever is assumed.
    pub(crate) fn assuming(self, assumed: Assumed<'r>) -> Self {
        Self { assumed, ..self }
    }

    /// Reads the facts off a request's head. `name` is [`host_name`], or remembers what that said of the same host.
    ///
    /// [`host_name`]: crate::host::host_name
    ///
    /// # Errors
    /// The head is ambiguous, see [`Malformed`].
    pub(crate) fn read(
        entrance: Entrance<'r>,
        method: &'r Method,
        uri: &'r Uri,
        headers: &'r HeaderMap,
        length: Option<u64>,
        name: impl FnOnce(&[u8]) -> Result<Arc<str>, Malformed>,
        trace: &mut impl Trace,
    ) -> Result<Self, Malformed> {
        let facts = Self::of(entrance, method, uri, headers, length, name);
        trace.note(|| match &facts {
            Ok(_) => Note::Read,
            Err(malformed) => Note::Malformed(*malformed),
        });
        facts
    }

    fn of(
        entrance: Entrance<'r>,
        method: &'r Method,
        uri: &'r Uri,
        headers: &'r HeaderMap,
        length: Option<u64>,
        name: impl FnOnce(&[u8]) -> Result<Arc<str>, Malformed>,
    ) -> Result<Self, Malformed> {
        // A tunnel is not a request to an API, and its target has no path.
        if *method == Method::CONNECT {
            return Err(Malformed::Method);
        }
        // Whatever its coding, a body that is coded has no length.
        if length.is_none() {
            require_plain_framing(headers)?;
        }
        let host = only_host(headers)?;
        if uri.authority().is_some_and(|authority| !agrees(authority, uri.scheme(), host)) {
            return Err(Malformed::Authority);
        }
        let Entrance { client, is_secure, private } = entrance;
        let (host, path) = (name(host)?, one_form(uri.path()).map_err(Malformed::Path)?);
        let (received, assumed) = (Received::of(uri), Assumed::Nobody);
        Ok(Self { client, is_secure, private, method, host, path, headers, length, received, assumed, paid: &[] })
    }
}

/// hyper takes any list that ends in `chunked`; whoever stands behind us might not.
fn require_plain_framing(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes() == b"chunked" => Ok(()),
        (Some(_), _) => Err(Malformed::TransferEncoding),
    }
}

/// Exactly one, in HTTP/1.0 too.
fn only_host(headers: &HeaderMap) -> Result<&[u8], Malformed> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host.as_bytes()),
        (Some(_), Some(_)) | (None, _) => Err(Malformed::Host),
    }
}
