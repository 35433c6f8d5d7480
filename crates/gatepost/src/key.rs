//! `gatepost key`: makes API keys, lists them and revokes them.
//!
//! A key is shown once and stored nowhere: the configuration has its hash.

mod api_key;
mod change;
mod file;
mod list;
mod written;

use std::io::{self, Read};
use std::path::Path;

use gatepost_config::model::KeyHash;
use zeroize::Zeroizing;

use crate::ask::{Asking, Reloaded};
use crate::exit::Failure;
use crate::key::api_key::{ApiKey, LONGEST};
use crate::key::change::{Change, Changed, Sought, change};
use crate::{note, print};

/// What is done with keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key, and print it once, with the line for `keys` of its caller
    New(NewKey),
    /// List the keys of callers: the beginning of the hash, when it was last used, and the comment behind it
    List(list::Listing),
    /// Take a key from its caller. A running gateway refuses it once it has reloaded the file
    Revoke(RevokedKey),
}

/// A key to be made.
#[derive(Debug, clap::Args)]
pub(crate) struct NewKey {
    /// Whose: the NAME of a [caller.NAME]
    #[arg(value_parser = caller_name)]
    caller: String,
    /// Add the line to the file that has the caller
    #[arg(long)]
    write: bool,
    /// Something to know the key by, as a comment behind it: who has it
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    comment: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// A key to be taken away.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokedKey {
    /// Whose
    caller: String,
    /// Which: 8 or more hex digits that its hash begins with, as `key list` prints them; or `-`, and the key on standard
    /// input
    key: String,
    /// Even if the caller needs a key, for itself or for a route, and has no other: one that nobody has takes its place, and
    /// locks it out
    #[arg(long)]
    last: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Whether the running gateway is waited for.
#[derive(Debug, clap::Args)]
struct Waiting {
    /// Fail unless a running gateway has taken the change [default: wait where one answers]
    #[arg(long)]
    wait: bool,
    /// Do not look for a running gateway
    #[arg(long, conflicts_with_all = ["wait", "admin"])]
    no_wait: bool,
    #[command(flatten)]
    asking: Asking,
}

/// How many digits of a hash stand for a key where people read.
const SHORT: usize = 12;

/// The longest comment, in characters.
const LONGEST_COMMENT: usize = 200;

/// Does it, with the configuration in `file`.
pub(crate) fn key(file: &Path, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::New(new) => make(file, new),
        KeyCommand::List(listing) => list::list(file, listing),
        KeyCommand::Revoke(revoked) => revoke(file, revoked),
    }
}

fn make(file: &Path, new: NewKey) -> Result<(), Failure> {
    let NewKey { caller, write, comment, waiting } = new;
    let key = ApiKey::random().map_err(|error| Failure::CannotRun(error.to_string()))?;
    let hash = key.hash();
    let behind = comment.as_deref().map(|comment| format!(", # {comment}")).unwrap_or_default();
    let shown = Zeroizing::new(format!("{}\n\"{hash}\"{behind}\n", key.reveal()));
    if !write {
        if waiting.wait || waiting.asking.names_one() {
            return Err(Failure::Usage(
                "a gateway is waited for where something is written: with `--write`".to_owned(),
            ));
        }
        print(&shown)?;
        note(&format!("put the second line into `keys` of [caller.{caller}]; `--write` does that"));
        return Ok(());
    }
    let Changed { file: changed, .. } = change(file, &caller, &Change::Add { hash, comment: comment.as_deref() })?;
    // Shown when it is good, and whatever becomes of the waiting.
    print(&shown).map_err(|failure| {
        let lost = "so nobody has the key; revoke it";
        Failure::CannotRun(format!("{}, {lost}: gatepost key revoke {caller} {}", failure.render(false), short(hash)))
    })?;
    note(&format!("added to `{caller}` in {}", changed.display()));
    waiting.settle(file, &caller, hash, true)
}

fn revoke(file: &Path, revoked: RevokedKey) -> Result<(), Failure> {
    let RevokedKey { caller, key, last, waiting } = revoked;
    let sought = if key == "-" { Sought::Hash(read_key()?.hash()) } else { Sought::digits(&key)? };
    let nobodys = ApiKey::random().map_err(|error| Failure::CannotRun(error.to_string()))?;
    let instead = last.then(|| nobodys.hash());
    let Changed { hash, file: changed } = change(file, &caller, &Change::Remove { sought: &sought, instead })?;
    note(&format!("{} is no longer a key of `{caller}` in {}", short(hash), changed.display()));
    waiting.settle(file, &caller, hash, false)
}

impl Waiting {
    /// Has a running gateway reload, and says whether the key is good there now.
    fn settle(self, file: &Path, caller: &str, hash: KeyHash, wanted: bool) -> Result<(), Failure> {
        let Self { wait, no_wait, asking } = self;
        if no_wait {
            return Ok(());
        }
        let must = wait || asking.names_one();
        let later = "a gateway that runs reloads the file by itself";
        let running = match asking.running(file) {
            Ok(running) => running,
            Err(failure) if must => return Err(failure),
            Err(_) => {
                note(later);
                return Ok(());
            }
        };
        match running.reload()? {
            Reloaded::NobodyThere(why) if must => return Err(Failure::CannotRun(why)),
            Reloaded::NobodyThere(_) => {
                note(&format!("no gateway answers at {}; {later}", running.place()));
                return Ok(());
            }
            Reloaded::Refused(why) => {
                let still =
                    if wanted { "the running gateway does not take it" } else { "the running gateway still takes it" };
                return Err(Failure::CannotRun(format!("{still}: {why}")));
            }
            Reloaded::Applied => {}
        }
        let place = running.place();
        let keys = running.keys(Some(caller))?.unwrap_or_default();
        if keys.iter().any(|entry| entry.key == hash.to_string()) != wanted {
            let problem = format!("the gateway at {place} was reloaded, but from another configuration than this");
            return Err(Failure::CannotRun(problem));
        }
        note(&match wanted {
            true => format!("the gateway at {place} lets it in from now on"),
            false => format!("the gateway at {place} refuses it from now on"),
        });
        Ok(())
    }
}

/// The key on standard input, with or without a line break.
fn read_key() -> Result<ApiKey, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(LONGEST + 3));
    let read = io::stdin().lock().take(LONGEST as u64 + 3).read_to_string(&mut text);
    read.map_err(|error| Failure::Input(format!("cannot read the key from standard input: {error}")))?;
    ApiKey::read(text.trim_end_matches(['\r', '\n'])).map_err(|error| Failure::Input(error.to_string()))
}

/// The beginning of its hash.
fn short(hash: KeyHash) -> String {
    hash.to_string().trim_start_matches("sha256:").chars().take(SHORT).collect()
}

fn caller_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    let is_name =
        text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(plain) && text != "any";
    let form = "a name is a lower-case letter, then lower-case letters, digits, `_` and `-`, and not `any`";
    if is_name { Ok(text.to_owned()) } else { Err(form.to_owned()) }
}

/// What TOML takes for a comment, on one line.
fn comment(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_COMMENT || text.chars().any(char::is_control) {
        return Err(format!("a comment is one line of at most {LONGEST_COMMENT} characters"));
    }
    Ok(text.to_owned())
}
