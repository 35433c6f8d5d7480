//! When API keys were last used: the running gateway knows, else its store.

use std::collections::HashMap;
use std::path::Path;

use form_urlencoded::Serializer;
use gatepost_config::model::KeyHash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ask::{Asking, Running};
use crate::exit::Failure;
use crate::usage::source::UsageSource;
use crate::usage::stored::Stored;

/// A key of a caller, as the admin API lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyEntry {
    pub(crate) caller: String,
    /// `sha256:…`.
    pub(crate) key: String,
    /// To the second; absent: never, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_used: Option<Timestamp>,
}

/// A part of the list of all keys.
#[derive(Debug, Deserialize)]
struct Keys {
    items: Vec<KeyEntry>,
    total: usize,
}

/// When keys were last used.
#[derive(Debug)]
pub(crate) struct LastUses {
    at: HashMap<String, Timestamp>,
    lack: Option<String>,
}

/// Keys that are asked for at once.
const PART: usize = 1000;

impl LastUses {
    /// Asks the running gateway about these keys, of one caller or of all; if none answers, reads the store in `state`.
    pub(crate) fn find(
        file: &Path,
        state: &Path,
        asking: Asking,
        caller: Option<&str>,
        keys: &[KeyHash],
    ) -> Result<Self, Failure> {
        let must = asking.names_one();
        match asking.running(file) {
            Ok(running) => match running.keys(caller)? {
                Some(entries) => {
                    let used = entries.into_iter().filter_map(|entry| Some((entry.key, entry.last_used?)));
                    return Ok(Self { at: used.collect(), lack: None });
                }
                None if must => return Err(Failure::CannotRun(format!("no gateway answers at {}", running.place()))),
                None => {}
            },
            Err(failure) if must => return Err(failure),
            Err(_) => {}
        }
        let source = Stored::at(state);
        let unknown = |lack: String| Self { at: HashMap::new(), lack: Some(lack) };
        Ok(match (source.is_there(), source.last_uses(keys)) {
            (Ok(true), Ok(uses)) => {
                Self { at: uses.into_iter().map(|(key, at)| (key.to_string(), at)).collect(), lack: None }
            }
            (Ok(false), _) => unknown(format!("no gateway has counted anything in {}", state.display())),
            (Err(error), _) | (_, Err(error)) => unknown(error.to_string()),
        })
    }

    /// When a key was last used, if ever.
    pub(crate) fn of(&self, key: KeyHash) -> Option<Timestamp> {
        self.at.get(&key.to_string()).copied()
    }

    /// Why it is not known.
    pub(crate) fn lack(&self) -> Option<&str> {
        self.lack.as_deref()
    }
}

impl Running {
    /// The keys of a caller, or of all, that it takes; nothing if nobody answers.
    pub(crate) fn keys(&self, caller: Option<&str>) -> Result<Option<Vec<KeyEntry>>, Failure> {
        let mut entries = Vec::new();
        loop {
            let mut query = Serializer::new(String::new());
            query.append_pair("limit", &PART.to_string()).append_pair("offset", &entries.len().to_string());
            if let Some(caller) = caller {
                query.append_pair("caller", caller);
            }
            let Some(told) = self.look(&format!("/v1/keys?{}", query.finish()))? else { return Ok(None) };
            let Keys { items, total } = told.read()?;
            let is_all = items.is_empty();
            entries.extend(items);
            if is_all || entries.len() >= total {
                return Ok(Some(entries));
            }
        }
    }
}
