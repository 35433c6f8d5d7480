//! How clients come to a gateway: the version of HTTP, and whether through TLS.

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use crate::certificate::Certificate;

/// The combinations that are measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Http1,
    Http1Tls,
    /// With prior knowledge (RFC 9113, 3.3).
    Http2,
    /// Agreed upon by ALPN.
    Http2Tls,
}

/// A version of HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Http {
    One,
    Two,
}

/// What a gateway listens for, and its clients speak.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) http: Http,
    /// What a gateway shows that speaks TLS.
    pub(crate) tls: Option<Rc<Certificate>>,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] = [Self::Http1, Self::Http1Tls, Self::Http2, Self::Http2Tls];

    /// The front for this protocol; the certificate is used if it needs one.
    pub(crate) fn front(self, certificate: &Rc<Certificate>) -> Front {
        let (http, is_secure) = match self {
            Self::Http1 => (Http::One, false),
            Self::Http1Tls => (Http::One, true),
            Self::Http2 => (Http::Two, false),
            Self::Http2Tls => (Http::Two, true),
        };
        Front { http, tls: is_secure.then(|| Rc::clone(certificate)) }
    }

    /// What it is called on the command line.
    fn option(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http1Tls => "http1-tls",
            Self::Http2 => "http2",
            Self::Http2Tls => "http2-tls",
        }
    }
}

impl Front {
    /// HTTP/1.1 in the clear.
    pub(crate) const PLAIN: Self = Self { http: Http::One, tls: None };

    /// The scheme of its URLs.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http1Tls => "HTTP/1.1 over TLS",
            Self::Http2 => "HTTP/2",
            Self::Http2Tls => "HTTP/2 over TLS",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = |protocol: &Self| protocol.option() == name;
        Self::ALL.into_iter().find(named).ok_or_else(|| format!("no such protocol: {name}"))
    }
}
