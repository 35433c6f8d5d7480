//! What callers used, as the store in a state directory has it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gatepost_config::model::KeyHash;
use gatepost_store::{Reader, Store, StoreError, UsageFilter, UsagePlace};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::usage::source::{Cursor, NotRead, UsageQuery, UsageRow, UsageSource, day};

/// The store of a state directory, read beside whoever writes. Where there is none, nothing was used.
#[derive(Debug)]
pub(crate) struct Stored {
    state: PathBuf,
    /// Open since somebody asked.
    reader: Mutex<Option<Reader>>,
}

impl Stored {
    /// The one in this state directory, if there is one by the time that it is asked.
    pub(crate) fn at(state: &Path) -> Self {
        Self { state: state.to_owned(), reader: Mutex::new(None) }
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> Result<bool, NotRead> {
        self.read(|_| Ok(())).map(|found| found.is_some())
    }

    fn read<T>(&self, read: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<Option<T>, NotRead> {
        let mut slot = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match slot.take().map_or_else(|| Store::open_read_only(&self.state), Ok) {
            Ok(reader) => reader,
            Err(StoreError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(NotRead(error.to_string())),
        };
        // After a failure it is opened anew.
        let found = read(&reader).map_err(|error| NotRead(error.to_string()))?;
        *slot = Some(reader);
        Ok(Some(found))
    }
}

impl UsageSource for Stored {
    fn rows(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, NotRead> {
        let filter = filter(query)?;
        let rows = self.read(|reader| reader.usage(&filter))?.unwrap_or_default();
        rows.into_iter().map(row).collect()
    }

    fn last_uses(&self, keys: &[KeyHash]) -> Result<HashMap<KeyHash, Timestamp>, NotRead> {
        let uses = self.read(|reader| {
            let use_of = |key: &KeyHash| match reader.last_use_of(&key.0) {
                Ok(used) => used.map(|at| Ok((*key, Timestamp::from_second(at.0).unwrap_or_default()))),
                Err(error) => Some(Err(error)),
            };
            keys.iter().filter_map(use_of).collect::<Result<_, StoreError>>()
        })?;
        Ok(uses.unwrap_or_default())
    }

    fn granted(&self, account: &str, window: &str) -> Result<u64, NotRead> {
        let grants = self.read(|reader| reader.granted(account))?.unwrap_or_default();
        Ok(grants.iter().find(|grant| grant.label == window).map_or(0, |grant| grant.granted))
    }
}

fn filter(query: &UsageQuery) -> Result<UsageFilter, NotRead> {
    let UsageQuery { caller, from, to, after, limit } = query;
    let day = |date: &Date| date.to_string().parse().map_err(|error| NotRead(format!("{error}")));
    let after = after.as_ref().map(|cursor| {
        let Cursor { day, caller, api, route } = cursor.clone();
        UsagePlace { day: day.to_string(), caller, api, route }
    });
    Ok(UsageFilter {
        caller: caller.clone(),
        from: from.as_ref().map(day).transpose()?,
        to: to.as_ref().map(day).transpose()?,
        after,
        limit: Some(u32::try_from(*limit).unwrap_or(u32::MAX)),
    })
}

fn row(row: gatepost_store::UsageRow) -> Result<UsageRow, NotRead> {
    let gatepost_store::UsageRow { day: date, caller, api, route, admitted, refused, bytes_out } = row;
    Ok(UsageRow { day: day(&date).map_err(NotRead)?, caller, api, route, admitted, refused, bytes_out })
}
