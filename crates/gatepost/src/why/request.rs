//! The parts of a request as they are written on a command line.

use std::net::IpAddr;
use std::str::FromStr;

use gatepost_config::model::Listener;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// `NAME: VALUE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
}

/// What a client was told to ask for: a URL, or a path alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Url {
    written: String,
    /// Absent: a path alone.
    site: Option<Site>,
    target: String,
}

/// The part of a URL before its path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Site {
    tls: bool,
    /// As it was written, with its port if it has one.
    host: HeaderValue,
    /// Of a host that is an address, that.
    address: Option<IpAddr>,
    port: u16,
}

impl Url {
    /// The path with its query, as the request line has it: a fragment stays with the client.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The `Host` that a client sends.
    pub(crate) fn host(&self) -> Option<HeaderValue> {
        self.site.as_ref().map(|site| site.host.clone())
    }

    /// Whether a connection to the URL may come in on this listener.
    pub(crate) fn reaches(&self, listener: &Listener) -> bool {
        let Some(site) = &self.site else { return false };
        let is_there = |ip: IpAddr| site.address.is_none_or(|address| ip.is_unspecified() || ip == address);
        let mut addresses = listener.addresses.iter();
        site.tls == listener.tls && addresses.any(|address| address.port() == site.port && is_there(address.ip()))
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once(':').ok_or("a header is written 'NAME: VALUE'")?;
        let name = name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| "a header's value has no control characters")?;
        Ok(Self { name, value })
    }
}

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Header> for String {
    fn from(Header { name, value }: Header) -> Self {
        // What comes from a command line is text.
        format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    }
}

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.written
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        let text = written.split('#').next().unwrap_or_default();
        let written = written.to_owned();
        if text.starts_with('/') || text == "*" {
            return Ok(Self { written, site: None, target: text.to_owned() });
        }
        let (scheme, rest) = text.split_once("://").ok_or("neither a URL with `http://` or `https://`, nor a path")?;
        let tls = match &*scheme.to_ascii_lowercase() {
            "http" => false,
            "https" => true,
            _ => return Err("only `http://` and `https://` come in here".to_owned()),
        };
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { written, site: Some(Site::read(tls, host)?), target: format!("{slash}{target}") })
    }
}

impl Site {
    fn read(tls: bool, written: &str) -> Result<Self, String> {
        let not_a_host = || format!("{written:?} is not a host");
        if written.contains('@') {
            return Err("credentials in a URL are none of the gateway's".to_owned());
        }
        let (host, port) = match written.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} is not a port"))?)
            }
            Some(_) | None => (written, if tls { 443 } else { 80 }),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err(not_a_host());
        }
        let value = HeaderValue::from_str(written).map_err(|_| not_a_host())?;
        Ok(Self { tls, host: value, address: bare.parse().ok(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Option<(bool, String, u16)>) {
        let url: Url = text.parse().unwrap();
        let site = url.site.map(|site| (site.tls, site.host.to_str().unwrap().to_owned(), site.port));
        (url.target, site)
    }

    #[test]
    fn a_url_is_a_site_and_what_the_request_line_has() {
        let site = |tls, host: &str, port| Some((tls, host.to_owned(), port));
        for (text, target, from) in [
            ("/a?b#c", "/a?b", None),
            ("*", "*", None),
            ("http://a", "/", site(false, "a", 80)),
            ("https://a?b", "/?b", site(true, "a", 443)),
            ("HTTPS://a:8443/b/../c", "/b/../c", site(true, "a:8443", 8443)),
            ("http://[::1]/x", "/x", site(false, "[::1]", 80)),
            ("http://[::1]:81/x", "/x", site(false, "[::1]:81", 81)),
        ] {
            assert_eq!(read(text), (target.to_owned(), from), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in
            ["", "a", "a/b", "ftp://a/", "http://", "http:///x", "http://a:b/", "http://u:p@a/", "http://a:99999/"]
        {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let header: Header = "Content-Length:  5 ".parse().unwrap();
        assert_eq!((header.name.as_str(), header.value.as_bytes()), ("content-length", &b"5"[..]));
        for text in ["", "a", ": a", "a b: c", "a: b\nc"] {
            assert!(text.parse::<Header>().is_err(), "{text:?}");
        }
    }
}
