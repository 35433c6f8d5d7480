//! Changes the keys of a caller in the file that has it.

use std::path::{Path, PathBuf};

use gatepost_config::model::{Caller, KeyHash, Model, ProofKind};
use gatepost_config::{Files, Loaded, load, load_as_if};

use crate::check::judge;
use crate::exit::Failure;
use crate::key::file::Held;
use crate::key::short;
use crate::key::written::{CannotChange, Written};

/// What is to become of the keys of a caller.
#[derive(Debug)]
pub(super) enum Change<'c> {
    /// One more, and what stands behind it.
    Add { hash: KeyHash, comment: Option<&'c str> },
    /// One less. Where it is the last one, and nothing would load without it, `instead` takes its place: a key that nobody
    /// has, since a configuration has no callers that can prove nothing, or not what a route asks them for.
    Remove { sought: &'c Sought, instead: Option<KeyHash> },
}

/// Which key is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sought {
    /// The one with this hash.
    Hash(KeyHash),
    /// The one whose hash begins with these digits, in lower case.
    Digits(String),
}

/// What stands behind a key that locks a caller out.
const NOBODY: &str = "nobody has this key";

/// A change that was made.
#[derive(Debug)]
pub(super) struct Changed {
    /// The key that was added or removed.
    pub(super) hash: KeyHash,
    /// The file that has the caller.
    pub(super) file: PathBuf,
}

/// Makes the change in the file that has the caller, which may be one that `file` includes. Nothing is written unless
/// what would be there is the same configuration but for the key, and one that a gateway would take.
pub(super) fn change(file: &Path, caller: &str, change: &Change<'_>) -> Result<Changed, Failure> {
    let defined_in = Defined::find(file, caller)?.file;
    let held = Held::open(&defined_in)?;
    // Others have changed it while it was waited for; what counts is what is there now.
    let Defined { caller, file: now } = Defined::find(file, caller)?;
    if now != defined_in {
        let problem = format!("`{}` was moved to another file meanwhile; nothing was written", caller.name);
        return Err(Failure::CannotRun(problem));
    }
    let written = Written::find(held.text(), &caller.name).map_err(|error| cannot(&defined_in, change, error))?;
    let edit = Edit { file, defined_in: &defined_in, caller: &caller, change, written };
    let (hash, text) = match change {
        Change::Add { hash, comment } => (*hash, edit.added(*hash, *comment)?),
        Change::Remove { sought, instead } => {
            let hash = sought.among(&caller.keys, &caller.name)?;
            (hash, edit.removed(hash, *instead)?)
        }
    };
    held.replace(&text)?;
    Ok(Changed { hash, file: defined_in })
}

/// A change to the text of a file.
struct Edit<'e> {
    file: &'e Path,
    defined_in: &'e Path,
    caller: &'e Caller,
    change: &'e Change<'e>,
    written: Written<'e>,
}

impl Edit<'_> {
    fn added(&self, hash: KeyHash, comment: Option<&str>) -> Result<String, Failure> {
        let mut keys = self.caller.keys.to_vec();
        keys.push(hash);
        self.checked(self.written.with(hash, comment), keys)
    }

    fn removed(&self, hash: KeyHash, instead: Option<KeyHash>) -> Result<String, Failure> {
        let mut keys = self.caller.keys.to_vec();
        keys.retain(|key| *key != hash);
        let is_last = keys.is_empty();
        let without = if is_last && !proves_otherwise(self.caller) {
            Err(only_proof(&self.caller.name))
        } else {
            self.checked(self.written.without(hash), keys)
        };
        match (without, instead) {
            (Err(_), Some(instead)) if is_last => {
                self.checked(self.written.replaced(hash, instead, NOBODY), vec![instead])
            }
            // It may be what a route asks for.
            (Err(Failure::Input(problem)), None) if is_last => {
                let name = &self.caller.name;
                Err(Failure::Input(format!("{problem}\n\nit is the last key of `{name}`: {}", ways_out(name))))
            }
            (without, _) => without,
        }
    }

    /// The text, if what would be there is the same configuration but for the keys, and one that a gateway would take.
    fn checked(&self, text: Result<String, CannotChange>, keys: Vec<KeyHash>) -> Result<String, Failure> {
        let text = text.map_err(|error| cannot(self.defined_in, self.change, error))?;
        let would_be = load_as_if(self.file, self.defined_in, &text).and_then(judge).map_err(|report| {
            let problem = "with that change the configuration would be wrong; nothing was written";
            Failure::Input(format!("{problem}\n\n{}", report.render(false).trim_end()))
        })?;
        if has_keys(&would_be.model, &self.caller.name, keys) {
            Ok(text)
        } else {
            Err(cannot(self.defined_in, self.change, CannotChange::Unsafe))
        }
    }
}

/// A caller, and the file that it stands in, as that was opened.
#[derive(Debug)]
struct Defined {
    caller: std::sync::Arc<Caller>,
    file: PathBuf,
}

impl Defined {
    fn find(file: &Path, name: &str) -> Result<Self, Failure> {
        let Loaded { model, files, .. } = load(file)?;
        let caller = model.callers.iter().find(|caller| *caller.name == *name).ok_or_else(|| unknown(file, name))?;
        Ok(Self { caller: caller.clone(), file: path_of(caller, &files)? })
    }
}

/// The file that has a caller, by the name that errors show.
fn path_of(caller: &Caller, files: &Files) -> Result<PathBuf, Failure> {
    let shown = caller.place.file();
    let path = files.paths().find(|path| path.to_string_lossy() == shown);
    path.map(Path::to_owned).ok_or_else(|| Failure::CannotRun(format!("cannot find {shown} again")))
}

/// There is no such caller.
pub(super) fn unknown(file: &Path, name: &str) -> Failure {
    let hint = format!("write `[caller.{name}]` into it, with a key of `gatepost key new {name}`");
    Failure::Usage(format!("there is no caller `{name}` in {}; {hint}", file.display()))
}

fn has_keys(model: &Model, caller: &str, mut wanted: Vec<KeyHash>) -> bool {
    let Some(caller) = model.callers.iter().find(|known| *known.name == *caller) else { return false };
    let mut keys = caller.keys.to_vec();
    keys.sort_unstable();
    wanted.sort_unstable();
    keys == wanted
}

fn proves_otherwise(caller: &Caller) -> bool {
    ProofKind::ALL.into_iter().any(|kind| kind != ProofKind::Key && caller.has(kind))
}

fn only_proof(caller: &str) -> Failure {
    let way = ways_out(caller);
    Failure::Usage(format!("it is the only way for `{caller}` to prove who it is: {way}"))
}

fn ways_out(caller: &str) -> String {
    format!("give it another key first, with `gatepost key new {caller} --write`, or lock it out with `--last`")
}

fn cannot(file: &Path, change: &Change<'_>, error: CannotChange) -> Failure {
    let by_hand = match change {
        Change::Add { hash, .. } => format!("add \"{hash}\" to its `keys`"),
        Change::Remove { .. } => "take the line out of its `keys`".to_owned(),
    };
    Failure::Input(format!("cannot change {}: {error}; nothing was written: {by_hand} by hand", file.display()))
}

/// How many digits of a hash name a key, at least.
const FEWEST_DIGITS: usize = 8;

impl Sought {
    /// Reads digits that a hash begins with.
    ///
    /// # Errors
    /// They are none, or too few.
    pub(super) fn digits(text: &str) -> Result<Self, Failure> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        let is_hash =
            (FEWEST_DIGITS..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hash {
            return Ok(Self::Digits(digits));
        }
        // It may be a key, so it is not repeated.
        Err(Failure::Usage(format!(
            "a key is named by {FEWEST_DIGITS} or more hex digits of its hash, as `gatepost key list` prints them; the key \
             itself is read from standard input, with `-`, where no list of processes shows it"
        )))
    }

    /// The one of these keys that is meant.
    fn among(&self, keys: &[KeyHash], caller: &str) -> Result<KeyHash, Failure> {
        let is_meant = |key: &&KeyHash| match self {
            Self::Hash(hash) => *key == hash,
            Self::Digits(digits) => key.to_string()["sha256:".len()..].starts_with(&**digits),
        };
        let meant: Vec<&KeyHash> = keys.iter().filter(is_meant).collect();
        match meant[..] {
            [only] => Ok(*only),
            [] => Err(Failure::Usage(format!(
                "`{caller}` has no such key; `gatepost key list {caller}` shows those it has"
            ))),
            [..] => {
                let all: Vec<String> = meant.into_iter().map(|key| short(*key)).collect();
                Err(Failure::Usage(format!("more than one key of `{caller}` begins so: {}", all.join(", "))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_digits_that_no_other_begins_with() {
        let keys = [
            [0xab; 32],
            [0xab, 0xab, 0xab, 0xab, 0xcd].into_iter().chain([0; 27]).collect::<Vec<_>>().try_into().unwrap(),
            [0; 32],
        ]
        .map(KeyHash);
        let among = |digits: &str| Sought::digits(digits).and_then(|sought| sought.among(&keys, "acme"));
        assert_eq!(among("00000000").unwrap(), keys[2]);
        assert_eq!(among("sha256:ABABABABCD").unwrap(), keys[1]);
        assert_eq!(among(&keys[0].to_string()).unwrap(), keys[0]);
        assert!(among("abababab").unwrap_err().render(false).contains("more than one"));
        assert!(among("11111111").unwrap_err().render(false).contains("no such key"));
        for wrong in ["", "0000000", "gp_abcdefgh", &"0".repeat(65)] {
            let said = among(wrong).unwrap_err().render(false);
            assert!(said.contains("8 or more hex digits") && (wrong.is_empty() || !said.contains(wrong)), "{said}");
        }
    }
}
