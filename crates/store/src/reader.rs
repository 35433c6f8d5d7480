use std::path::{Path, PathBuf};

use gatepost_meter::UnixSeconds;
use rusqlite::{Connection, Row, ToSql};

use crate::error::StoreError;
use crate::rows::{GrantRow, KeyUse, UsageFilter, UsageRow};
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
        let (from, to) = (filter.from.map(|day| day.to_string()), filter.to.map(|day| day.to_string()));
        self.rows(
            "SELECT day, caller, api, route, admitted, refused, bytes_out FROM usage
             WHERE (?1 IS NULL OR caller = ?1) AND day >= coalesce(?2, '') AND (?3 IS NULL OR day <= ?3)
             ORDER BY day, caller, api, route",
            &[&filter.caller, &from, &to],
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
