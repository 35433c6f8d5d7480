//! Requests as the access log has them.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use gatepost_gateway::{Asked, Judge, Judged};
use http::Method;
use serde::Deserialize;

use crate::exit::Failure;
use crate::lines::{Line, Lines, cannot_read, open};

/// What is read of a line.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded<'l> {
    #[serde(borrow, default)]
    pub(crate) time: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(crate) id: Cow<'l, str>,
    #[serde(borrow)]
    pub(crate) listener: Cow<'l, str>,
    pub(crate) client: IpAddr,
    /// Absent: nothing was understood.
    #[serde(borrow, default)]
    pub(crate) method: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    pub(crate) host: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(crate) path: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(crate) api: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    pub(crate) route: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    pub(crate) caller: Option<Cow<'l, str>>,
    pub(crate) verdict: LoggedVerdict,
    #[serde(borrow, default)]
    pub(crate) reason: Option<Cow<'l, str>>,
    #[serde(default)]
    pub(crate) status: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoggedVerdict {
    Admitted,
    Refused,
}

/// What a log was made of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    /// Lines with a request, or with what was none.
    pub(crate) records: u64,
    /// Lines that are not of an access log.
    pub(crate) unknown: u64,
    /// Whether the last line is one that was still being written.
    pub(crate) ends_early: bool,
}

/// Reads an access log, `-` being standard input, and hands every record on.
///
/// # Errors
///
/// It cannot be read, or there is no record in it.
pub(crate) fn read(path: &Path, mut each: impl FnMut(&Recorded<'_>)) -> Result<Read, Failure> {
    let mut lines = Lines::new(open(path)?, LONGEST);
    let mut found = Read::default();
    while let Some(line) = lines.next().map_err(|error| cannot_read(path, &error))? {
        match line {
            Line::Whole(line) | Line::Unended(line) if line.trim_ascii().is_empty() => {}
            Line::Whole(text) => match serde_json::from_slice(text) {
                Ok(record) => {
                    found.records += 1;
                    each(&record);
                }
                Err(_) => found.unknown += 1,
            },
            Line::Unended(text) => match serde_json::from_slice(text) {
                Ok(record) => {
                    found.records += 1;
                    each(&record);
                }
                Err(_) => found.ends_early = true,
            },
            Line::TooLong => found.unknown += 1,
        }
    }
    if found.records == 0 {
        let what = "no line of it is one of gatepost's access log";
        return Err(Failure::Input(format!("{} is something else: {what}", path.display())));
    }
    Ok(found)
}

/// Hosts and paths are cut at 2 KiB in the log, so its lines are shorter, in bytes.
const LONGEST: u64 = 256 * 1024;

/// Whoever is longer may have been cut.
const UNCUT: usize = 2040;

impl Recorded<'_> {
    /// What becomes of the request; none if the log does not have what it was.
    pub(crate) fn judge<'j>(&self, judge: &'j Judge<'_>) -> Option<Judged<'j>> {
        let method = Method::from_bytes(self.method.as_deref()?.as_bytes()).ok()?;
        let Self { listener, client, host, path, .. } = self;
        if host.len() > UNCUT || path.len() > UNCUT {
            return None;
        }
        let caller = self.caller.as_deref();
        Some(judge.judge(&Asked { listener, client: *client, method: &method, host, path, caller }))
    }

    /// What was asked for, to be shown to people: `192.0.2.7 GET example.com/path`.
    pub(crate) fn shown(&self) -> String {
        let method = self.method.as_deref().unwrap_or_default();
        format!("{} {} {}{}", self.client, printable(method), printable(&self.host), printable(&self.path))
    }
}

/// Without what a terminal acts on, and not too long.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown = String::new();
    for character in text.chars().take(LONGEST) {
        if character.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
