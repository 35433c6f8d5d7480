use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use gatepost_meter::{Ask, Granted, Window};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::rows::{Day, KeyUse, UsageDelta};

/// What adds up, and so has to be written exactly once.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    returned: HashMap<(Arc<str>, Window), u64>,
    usage: HashMap<UsageKey, Usage>,
    keys: HashMap<[u8; 32], i64>,
}

/// Counts that are written in one transaction, under an id greater than those before. Tried again, they keep it: a commit
/// that failed to be synced may still turn out to be in the file, and its id tells.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: i64,
    pub(crate) counts: Counts,
}

/// How many different things wait at most of each kind. Configurations have far fewer accounts, routes and keys.
const MOST_WAITING: usize = 65_536;

/// The same of accounts that units come back to: at a stop all that were used give back theirs at once.
const MOST_RETURNED: usize = 1 << 22;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct UsageKey {
    day: Day,
    caller: Arc<str>,
    api: Arc<str>,
    route: Arc<str>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    admitted: u64,
    refused: u64,
    bytes_out: u64,
}

impl Counts {
    pub(crate) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.usage.is_empty() && self.keys.is_empty()
    }

    /// Adds units that come back; false if there is no room.
    pub(crate) fn add_returned(&mut self, account: Arc<str>, window: Window, units: u64) -> bool {
        let key = (account, window);
        if self.returned.len() >= MOST_RETURNED && !self.returned.contains_key(&key) {
            return false;
        }
        let sum = self.returned.entry(key).or_default();
        *sum = sum.saturating_add(units);
        true
    }

    /// Adds usage, or hands it back if there is no room.
    pub(crate) fn add_usage(&mut self, delta: UsageDelta) -> Result<(), UsageDelta> {
        let UsageDelta { caller, api, route, day, admitted, refused, bytes_out } = delta;
        let key = UsageKey { day, caller, api, route };
        if self.usage.len() >= MOST_WAITING && !self.usage.contains_key(&key) {
            let UsageKey { day, caller, api, route } = key;
            return Err(UsageDelta { caller, api, route, day, admitted, refused, bytes_out });
        }
        self.usage.entry(key).or_default().add(Usage { admitted, refused, bytes_out });
        Ok(())
    }

    /// Adds the use of a key, unless there is no room.
    pub(crate) fn add_key(&mut self, KeyUse { key, at }: KeyUse) {
        if self.keys.len() < MOST_WAITING || self.keys.contains_key(&key) {
            let latest = self.keys.entry(key).or_insert(at.0);
            *latest = at.0.max(*latest);
        }
    }

    /// Adds what is newer.
    pub(crate) fn merge(&mut self, newer: Self) {
        if self.is_empty() {
            *self = newer;
            return;
        }
        for (key, units) in newer.returned {
            let sum = self.returned.entry(key).or_default();
            *sum = sum.saturating_add(units);
        }
        for (key, usage) in newer.usage {
            self.usage.entry(key).or_default().add(usage);
        }
        for (key, at) in newer.keys {
            let latest = self.keys.entry(key).or_insert(at);
            *latest = at.max(*latest);
        }
    }

    /// Takes out what comes back to the accounts of those who ask.
    pub(crate) fn take_returned(&mut self, asks: &[Ask]) -> Self {
        let key = |ask: &Ask| (ask.account().clone(), ask.window());
        let returned = asks.iter().filter_map(|ask| self.returned.remove_entry(&key(ask))).collect();
        Self { returned, ..Self::default() }
    }

    /// Takes out so many rows, or all if there are fewer.
    pub(crate) fn take(&mut self, rows: usize) -> Self {
        if self.returned.len() + self.usage.len() + self.keys.len() <= rows {
            return std::mem::take(self);
        }
        let returned = some(&mut self.returned, rows);
        let usage = some(&mut self.usage, rows - returned.len());
        let keys = some(&mut self.keys, rows - returned.len() - usage.len());
        Self { returned, usage, keys }
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut give_back =
            connection.prepare("UPDATE grants SET granted = max(0, granted - ?3) WHERE account = ?1 AND label = ?2")?;
        for ((account, window), units) in &self.returned {
            give_back.execute(params![account, window.to_string(), whole(*units)])?;
        }
        // Sums end at the largest number that SQLite knows: beyond it, it would go on with a number that is not exact.
        let mut count = connection.prepare(
            "INSERT INTO usage (day, caller, api, route, admitted, refused, bytes_out)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET
                 admitted  = min(admitted,  9223372036854775807 - excluded.admitted)  + excluded.admitted,
                 refused   = min(refused,   9223372036854775807 - excluded.refused)   + excluded.refused,
                 bytes_out = min(bytes_out, 9223372036854775807 - excluded.bytes_out) + excluded.bytes_out",
        )?;
        for (UsageKey { day, caller, api, route }, usage) in &self.usage {
            let (admitted, refused, bytes_out) = (whole(usage.admitted), whole(usage.refused), whole(usage.bytes_out));
            count.execute(params![day.to_string(), caller, api, route, admitted, refused, bytes_out])?;
        }
        let mut key_used = connection.prepare(
            "INSERT INTO key_uses (key, used) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET used = max(used, excluded.used)",
        )?;
        for (key, at) in &self.keys {
            key_used.execute(params![key, at])?;
        }
        Ok(())
    }
}

impl Usage {
    fn add(&mut self, other: Self) {
        self.admitted = self.admitted.saturating_add(other.admitted);
        self.refused = self.refused.saturating_add(other.refused);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }
}

/// Takes so many out of a map.
fn some<K: Eq + Hash, V>(map: &mut HashMap<K, V>, most: usize) -> HashMap<K, V> {
    map.extract_if(|_, _| true).take(most).collect()
}

/// Writes it all in one transaction, and returns what was granted once that is durable. What comes back is there for
/// those who ask. A batch leaves its id in the file, and is not written again if it is there already.
pub(crate) fn commit(
    connection: &mut Connection,
    batch: Option<&Batch>,
    asks: &[Ask],
) -> rusqlite::Result<Vec<Granted>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(Batch { id, counts }) = batch
        && last_id(&transaction)? < *id
    {
        counts.write(&transaction)?;
        transaction.execute("UPDATE last_batch SET id = ?1", [id])?;
    }
    let granted = grant(&transaction, asks)?;
    transaction.commit()?;
    Ok(granted)
}

/// The id of the last batch that was written.
pub(crate) fn last_id(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT id FROM last_batch", (), |row| row.get(0))
}

fn grant(connection: &Connection, asks: &[Ask]) -> rusqlite::Result<Vec<Granted>> {
    let mut before = connection.prepare("SELECT granted FROM grants WHERE account = ?1 AND label = ?2")?;
    let mut raise = connection.prepare(
        "INSERT INTO grants (account, label, granted) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET granted = excluded.granted",
    )?;
    let mut grant = |ask: &Ask| {
        let label = ask.window().to_string();
        let sum: Option<u64> = before.query_row(params![ask.account(), label], |row| row.get(0)).optional()?;
        let granted = ask.grant(sum.unwrap_or(0));
        if granted.units > 0 {
            // A sum that SQLite has no number for fails the transaction, and nothing is granted.
            raise.execute(params![ask.account(), label, granted.total])?;
        }
        Ok(granted)
    };
    asks.iter().map(&mut grant).collect()
}

/// As SQLite has it.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
