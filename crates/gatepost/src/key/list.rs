//! `gatepost key list`: which keys are there, and when each was last used.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use gatepost_config::model::{Caller, KeyHash};
use gatepost_config::{Files, Loaded, load};
use jiff::Timestamp;
use serde::Serialize;

use crate::ask::Asking;
use crate::exit::Failure;
use crate::key::change::unknown;
use crate::key::{short, written};
use crate::usage::LastUses;
use crate::why::report::pretty;
use crate::{note, print};

/// Whose keys.
#[derive(Debug, clap::Args)]
pub(crate) struct Listing {
    /// Whose [default: those of all callers]
    caller: Option<String>,
    /// Print JSON, the same in every version: see docs/callers.md
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asking: Asking,
}

/// A key as it is listed.
#[derive(Debug, Serialize)]
struct Line<'l> {
    caller: &'l str,
    key: String,
    comment: Option<&'l str>,
    last_used: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Lines<'l> {
    keys: Vec<Line<'l>>,
}

/// Lists them.
pub(super) fn list(file: &Path, listing: Listing) -> Result<(), Failure> {
    let Listing { caller: named, json, asking } = listing;
    let Loaded { model, files, .. } = load(file)?;
    let is_meant = |caller: &&Caller| named.as_deref().is_none_or(|named| *caller.name == *named);
    let callers: Vec<&Caller> = model.callers.iter().map(AsRef::as_ref).filter(is_meant).collect();
    if let (Some(named), true) = (&named, callers.is_empty()) {
        return Err(unknown(file, named));
    }
    let keys: Vec<KeyHash> = callers.iter().flat_map(|caller| caller.keys.iter().copied()).collect();
    let uses = LastUses::find(file, &model.server.state, asking, named.as_deref(), &keys)?;
    if let Some(lack) = uses.lack() {
        note(lack);
    }
    let comments = comments(&callers, &files);
    let lines = |caller| lines(caller, &comments, &uses);
    print(&match json {
        true => pretty(&Lines { keys: callers.into_iter().flat_map(lines).collect() }),
        false => callers.into_iter().map(|caller| text(caller, &lines(caller))).collect(),
    })
}

/// The keys of a caller, in their order.
fn lines<'l>(caller: &'l Caller, comments: &'l HashMap<KeyHash, String>, uses: &LastUses) -> Vec<Line<'l>> {
    let line = |key: &KeyHash| Line {
        caller: &caller.name,
        key: key.to_string(),
        comment: comments.get(key).map(String::as_str),
        last_used: uses.of(*key),
    };
    caller.keys.iter().map(line).collect()
}

/// What stands behind keys in the files that have these callers. A file that cannot be read any more says nothing.
fn comments(callers: &[&Caller], files: &Files) -> HashMap<KeyHash, String> {
    let names: BTreeSet<&str> = callers.iter().map(|caller| caller.place.file()).collect();
    let paths = files.paths().filter(|path| names.contains(&*path.to_string_lossy()));
    paths.filter_map(|path| fs::read_to_string(path).ok()).flat_map(|text| written::comments(&text)).collect()
}

fn text(caller: &Caller, lines: &[Line<'_>]) -> String {
    let mut out = format!("{} ({})\n", caller.name, caller.place.describe());
    if lines.is_empty() {
        out += "  no keys\n";
    }
    for (key, line) in caller.keys.iter().zip(lines) {
        let never = || "never seen".to_owned();
        let used = line.last_used.map_or_else(never, |at| format!("used {}", at.strftime("%Y-%m-%d %H:%M:%S UTC")));
        let text = format!("  {}  {used:28}  {}", short(*key), line.comment.unwrap_or_default());
        let _ = writeln!(out, "{}", text.trim_end());
    }
    out
}
