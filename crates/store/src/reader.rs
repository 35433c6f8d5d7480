use std::path::{Path, PathBuf};

use gatepost_meter::UnixSeconds;
use rusqlite::{Connection, Row, ToSql};

use crate::error::StoreError;
use crate::rows::{GrantRow, KeyUse, UsageFilter, UsagePlace, UsageRow};
use crate::schema;

/// Reads what was committed, beside whoever writes, and changes nothing.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
}

impl Reader {
    /// Reads `gatepost.db` in the state directory, whether a gateway runs on it or not.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = schema::file_in(directory);
        Ok(Self { connection: schema::open_read_only(&path)?, path })
    }

    /// What callers used, by day, caller, API and route, in this order.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn usage(&self, filter: &UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
        let UsageFilter { caller, from, to, after, limit } = filter;
        let (from, to) = (from.map(|day| day.to_string()), to.map(|day| day.to_string()));
        // Before every other place, where none is given.
        let start = UsagePlace { day: String::new(), caller: String::new(), api: String::new(), route: String::new() };
        let UsagePlace { day, caller: name, api, route } = after.as_ref().unwrap_or(&start);
        // A negative limit is none.
        let limit = limit.map_or(-1, i64::from);
        self.rows(
            "SELECT day, caller, api, route, admitted, refused, bytes_out FROM usage
             WHERE (?1 IS NULL OR caller = ?1) AND day >= coalesce(?2, '') AND (?3 IS NULL OR day <= ?3)
             AND (day, caller, api, route) > (?4, ?5, ?6, ?7)
             ORDER BY day, caller, api, route LIMIT ?8",
            &[caller, &from, &to, day, name, api, route, &limit],
            |row| {
                Ok(UsageRow {
                    day: row.get(0)?,
                    caller: row.get(1)?,
                    api: row.get(2)?,
                    route: row.get(3)?,
                    admitted: row.get(4)?,
                    refused: row.get(5)?,
                    bytes_out: row.get(6)?,
                })
            },
        )
    }

    /// What an account was granted, by window, in the order of labels.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn granted(&self, account: &str) -> Result<Vec<GrantRow>, StoreError> {
        self.rows("SELECT label, granted FROM grants WHERE account = ?1 ORDER BY label", &[&account], |row| {
            Ok(GrantRow { label: row.get(0)?, granted: row.get(1)? })
        })
    }

    /// When keys were used last, in the order of their hashes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn last_use(&self) -> Result<Vec<KeyUse>, StoreError> {
        self.rows("SELECT key, used FROM key_uses ORDER BY key", &[], |row| {
            Ok(KeyUse { key: row.get(0)?, at: UnixSeconds(row.get(1)?) })
        })
    }

    /// When one key was used last, if ever.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn last_use_of(&self, key: &[u8; 32]) -> Result<Option<UnixSeconds>, StoreError> {
        let uses = self.rows("SELECT used FROM key_uses WHERE key = ?1", &[key], |row| Ok(UnixSeconds(row.get(0)?)))?;
        Ok(uses.into_iter().next())
    }

    fn rows<T>(
        &self,
        query: &str,
        values: &[&dyn ToSql],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare(query)?;
            statement.query_map(values, |row| read(row))?.collect()
        };
        rows().map_err(|source| StoreError::from_sqlite(&self.path, "read", source))
    }
}
