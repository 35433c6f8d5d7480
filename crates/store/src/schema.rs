use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::StoreError;

/// The name of the file in the state directory.
const FILE: &str = "gatepost.db";

/// How long another program may hold the file before we give up; what asks then is told that the store is unavailable.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Tells our files from those of others: `gate` in ASCII.
const APPLICATION_ID: i64 = 0x6761_7465;

/// What makes a file of version `n` one of version `n + 1`. Only ever added to.
const STEPS: &[&str] = &["
    -- How many units an account was granted in a window of the calendar, less what it gave back.
    CREATE TABLE grants (
        account TEXT    NOT NULL,
        label   TEXT    NOT NULL,
        granted INTEGER NOT NULL CHECK (granted >= 0),
        PRIMARY KEY (account, label)
    ) STRICT, WITHOUT ROWID;

    -- What a caller used of a route on a day in UTC.
    CREATE TABLE usage (
        day       TEXT    NOT NULL,
        caller    TEXT    NOT NULL,
        api       TEXT    NOT NULL,
        route     TEXT    NOT NULL,
        admitted  INTEGER NOT NULL CHECK (admitted >= 0),
        refused   INTEGER NOT NULL CHECK (refused >= 0),
        bytes_out INTEGER NOT NULL CHECK (bytes_out >= 0),
        PRIMARY KEY (day, caller, api, route)
    ) STRICT, WITHOUT ROWID;

    -- When a key was used last, in seconds since 1970; by the SHA-256 of the key.
    CREATE TABLE key_uses (
        key  BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
        used INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- The last transaction that must not be repeated. One row.
    CREATE TABLE last_batch (
        one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
        id  INTEGER NOT NULL
    ) STRICT;
    INSERT INTO last_batch (one, id) VALUES (1, 0);
"];

/// Tells a file from another that is put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file that is there now.
    pub(crate) fn at(path: &Path) -> Result<Self, StoreError> {
        let about = fs::metadata(path).map_err(|_| StoreError::Missing { path: path.to_owned() })?;
        Ok(Self { device: about.dev(), inode: about.ino() })
    }
}

/// Where the file is.
pub(crate) fn file_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Makes an empty file that only its owner may read, unless there is one. That one is not touched: to close it again would
/// end the locks of other connections of this process (`fcntl` on POSIX systems).
pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Create { path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all()).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Opens the file for writing, and brings it to the newest schema.
pub(crate) fn open(path: &Path) -> Result<(Connection, FileId), StoreError> {
    // Looked at before: if another comes between, it is found to be another later.
    let file = FileId::at(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |source| StoreError::from_sqlite(path, "open", source);
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCK_TIMEOUT).map_err(failed)?;
    // SQLite opens what it may not write for reading.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    migrate(path, &mut connection)?;
    Ok((connection, file))
}

/// Opens the file for reading.
pub(crate) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |source| StoreError::from_sqlite(path, "read", source);
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCK_TIMEOUT).map_err(failed)?;
    match version(path, &connection).map_err(failed)?? {
        0 => Err(StoreError::Missing { path: path.to_owned() }),
        _ => Ok(connection),
    }
}

/// The version of its schema, 0 for an empty file, if it is one of ours.
fn version(path: &Path, connection: &Connection) -> rusqlite::Result<Result<i64, StoreError>> {
    let path = path.to_owned();
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    let (id, found, known) = (number("application_id")?, number("user_version")?, newest());
    Ok(match (id, found) {
        (0, 0) if tables == 0 => Ok(0),
        (APPLICATION_ID, 1..) if found <= known => Ok(found),
        (APPLICATION_ID, 1..) => Err(StoreError::Newer { path, found, known }),
        _ => Err(StoreError::Foreign { path }),
    })
}

fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let failed = |source| StoreError::from_sqlite(path, "prepare", source);
    // Looked at before anything is changed in what may be somebody else's.
    version(path, connection).map_err(failed)??;
    // A commit is synced before it is told of. The file of the log is kept small after a flood.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 4194304;")
        .map_err(failed)?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        tracing::warn!(
            "{} cannot have a write-ahead log on this file system; reading it delays grants",
            path.display()
        );
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let version = version(path, &transaction).map_err(failed)??;
    if version < newest() {
        for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(0)) {
            transaction.execute_batch(step).map_err(failed)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", newest()).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}
