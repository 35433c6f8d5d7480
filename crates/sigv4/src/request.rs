use std::borrow::Cow;
use std::fmt;

use crate::Form;

/// How many header fields a request may have.
pub const MOST_HEADERS: usize = 256;
/// How many parameters a query may have.
pub const MOST_PARAMETERS: usize = 1024;
/// How many names `SignedHeaders` may list.
pub const MOST_SIGNED_HEADERS: usize = 128;
/// How many bytes path, query, names and values of the header may have together.
pub const MOST_BYTES: usize = 64 * 1024;

/// One of the bounds on what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// [`MOST_BYTES`].
    Bytes,
    /// [`MOST_HEADERS`].
    Headers,
    /// [`MOST_PARAMETERS`].
    Parameters,
    /// [`MOST_SIGNED_HEADERS`].
    SignedHeaders,
}

impl fmt::Display for Bound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => write!(out, "{MOST_BYTES} bytes in its head"),
            Self::Headers => write!(out, "{MOST_HEADERS} header fields"),
            Self::Parameters => write!(out, "{MOST_PARAMETERS} parameters in its query"),
            Self::SignedHeaders => write!(out, "{MOST_SIGNED_HEADERS} signed headers"),
        }
    }
}

/// The head of a request, as far as a signature covers it, exactly as it came on the wire or will go there.
#[derive(Clone)]
pub struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    authority: Option<&'a str>,
    headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Request<'a> {
    /// `path` is the whole path as the client sent it, still escaped; empty stands for `/`. `query` has no `?` and is
    /// empty if there is none. Header names are in any case, and a name may come more than once. All of it is as HTTP
    /// lets it through: no line ends in a method or a name.
    #[must_use]
    pub fn new(
        method: &'a str,
        path: &'a str,
        query: &'a str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        // One more than is allowed, so that it shows.
        let headers = headers.into_iter().take(MOST_HEADERS + 1).collect();
        Self { method, path, query, authority: None, headers }
    }

    /// With the `:authority` of HTTP/2, which stands for the header `Host` where there is none.
    #[must_use]
    pub fn with_authority(self, authority: &'a str) -> Self {
        Self { authority: Some(authority), ..self }
    }

    /// With more headers behind those that it has.
    pub(crate) fn with_headers(&self, more: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut request = self.clone();
        request.headers.extend(more);
        request
    }

    /// In which form it presents a signature, if in any: the header's if both. Whether it is a good one, or one of a
    /// version that is understood, is another matter.
    #[must_use]
    pub fn form(&self) -> Option<Form> {
        let aws4 = |value: &[u8]| value.trim_ascii_start().starts_with(b"AWS4-");
        if self.values("authorization").any(aws4) {
            return Some(Form::Header);
        }
        let named = |pair: &str| pair == "X-Amz-Algorithm" || pair.starts_with("X-Amz-Algorithm=");
        self.query.split('&').any(named).then_some(Form::Query)
    }

    /// The first bound that it exceeds by its sizes.
    pub(crate) fn exceeds(&self) -> Option<Bound> {
        let fields = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let authority = self.authority.map_or(0, str::len);
        let bytes = self.method.len() + self.path.len() + self.query.len() + authority + fields.sum::<usize>();
        if self.headers.len() > MOST_HEADERS {
            Some(Bound::Headers)
        } else if bytes > MOST_BYTES {
            Some(Bound::Bytes)
        } else if self.query.split('&').count() > MOST_PARAMETERS {
            Some(Bound::Parameters)
        } else {
            None
        }
    }

    /// The names of all fields, as they came.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.headers.iter().map(|(name, _)| *name)
    }

    /// The values of all fields of that name, in order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The value of a header for whoever reads it: trimmed, and what came more than once joined by commas. So a repeated
    /// header is no value that means anything where one is expected.
    pub(crate) fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let mut values = self.values(name).map(<[u8]>::trim_ascii);
        let first = values.next()?;
        let mut joined = Cow::Borrowed(first);
        for value in values {
            let joined = joined.to_mut();
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(joined)
    }

    /// What stands for `host` or `:authority`: each for the other where that one is absent.
    pub(crate) fn authority(&self) -> Option<&'a [u8]> {
        self.authority.map(str::as_bytes)
    }
}

impl fmt::Debug for Request<'_> {
    /// Without values, which hold tokens.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        out.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &names)
            .finish()
    }
}
