//! Lists that somebody publishes: where they are, and what of them counts.

use http::uri::PathAndQuery;

use crate::model;
use crate::text::{Target, Text, TextError, quoted};

/// The URL of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedUrl(pub(crate) model::FeedUrl);

impl Text for FeedUrl {
    const WHAT: &'static str = "the URL of a list such as \"https://api.github.com/meta\"";
    const PATTERN: &'static str = "^https?://[^/?#@\\s]+([/?][!-\"$-~]*)?$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme));
        let Some(scheme) = scheme else {
            let error = TextError::new(format!("{} is not the URL of a list", quoted(text)));
            return Err(error.with_help("lists are fetched by `https://` or `http://`"));
        };
        let end = text[scheme.len()..].find(['/', '?', '#']).map_or(text.len(), |at| scheme.len() + at);
        let (server, path) = text.split_at(end);
        if let Some(at) = server.find('@') {
            let error = TextError::new("a list is fetched without credentials").at(scheme.len()..at + 1);
            return Err(error.with_help("leave out what stands before the host, up to the `@`"));
        }
        if let Some(at) = path.find('#') {
            let error = TextError::new("a server never sees what follows a `#`").at(end + at..text.len());
            return Err(error.with_help("leave it out; `pick` says what of a JSON document counts"));
        }
        let Target(target) = Target::parse(server).map_err(|error| {
            let message = format!("there is no server at {}", quoted(server));
            TextError { message, help: error.help, part: Some(0..end) }
        })?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        // Also what `PathAndQuery` would let through, but no request line carries unharmed.
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || PathAndQuery::try_from(&*path).is_err() {
            let error = TextError::new("this is no path that HTTP can carry").at(end..text.len());
            return Err(error.with_help("write other characters as `%` and two hexadecimal digits"));
        }
        Ok(Self(model::FeedUrl { target, path: path.into() }))
    }
}

/// A JSON pointer (RFC 6901) to an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(pub(crate) Box<str>);

impl Text for Pointer {
    const WHAT: &'static str = "a JSON pointer such as \"/hooks\"";
    const PATTERN: &'static str = "^(/([^~/]|~[01])*)*$";

    fn parse(text: &str) -> Result<Self, TextError> {
        if !text.is_empty() && !text.starts_with('/') {
            let error = TextError::new(format!("{} is not a JSON pointer", quoted(text)));
            return Err(error.with_help(format!("it begins with a slash: `/{}`", text.trim_start_matches(['$', '.']))));
        }
        if let Some(at) = stray_tilde(text) {
            let error = TextError::new("a `~` is followed by `0` or `1` here").at(at..at + 1);
            return Err(error.with_help("`~0` stands for `~`, and `~1` for `/`"));
        }
        Ok(Self(text.into()))
    }
}

fn stray_tilde(text: &str) -> Option<usize> {
    let followed = |at: usize| text[at + 1..].starts_with(['0', '1']);
    text.match_indices('~').map(|(at, _)| at).find(|at| !followed(*at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn urls_of_lists() {
        let urls = parse_all::<FeedUrl>(&[
            "https://api.github.com/meta",
            "http://127.0.0.1:8080",
            "https://[2001:db8::1]:8443/a/b?c=d&e",
            "https://Lists.example?all",
        ]);
        let shown: Vec<_> = urls.iter().map(|FeedUrl(url)| url.to_string()).collect();
        assert_eq!(
            shown,
            [
                "https://api.github.com/meta",
                "http://127.0.0.1:8080/",
                "https://[2001:db8::1]:8443/a/b?c=d&e",
                "https://lists.example/?all",
            ]
        );
    }

    #[test]
    fn what_is_no_url_of_a_list() {
        insta::assert_snapshot!(complaints::<FeedUrl>(&[
            "",
            "api.github.com/meta",
            "ftp://a/list",
            "https://user:pass@a/list",
            "https://a/list#hooks",
            "https://",
            "https:///list",
            "http://127.1/list",
            "http://a:0/list",
            "https://0.0.0.0/list",
            "https://a/a list",
            "https://a/líst",
        ]));
    }

    #[test]
    fn pointers() {
        parse_all::<Pointer>(&["", "/", "/hooks", "/a~1b/0/~0c", "/result/ipv4_cidrs"]);
        insta::assert_snapshot!(complaints::<Pointer>(&["hooks", "$.hooks", "/a~b", "/a~"]));
    }
}
