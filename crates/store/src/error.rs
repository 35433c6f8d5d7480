use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// The store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none yet.
    #[error("there is no {} yet; a gateway with callers makes it when it starts", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// Another file is in its place.
    #[error("{} was replaced; what the new file says counts from now on", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// Another program writes to it.
    #[error("{} is locked by another program; end what that does with the file", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// No space is left.
    #[error("no space is left for {}; make room on its disk", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It may not be written.
    #[error("{} is read-only; make its disk, its directory and the file writable", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// What it says cannot be relied on.
    #[error(
        "{} is damaged ({source}); put a copy in its place that is not older than the last grant, or move it away: then \
         quotas and budgets start anew",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// It is a database, but not of this program.
    #[error(
        "{} is not a store of gatepost; put the right one back, or choose another `state`; without one, quotas and budgets \
         start anew",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer program made it.
    #[error("{} has schema {found}, and this gatepost knows up to {known}; run the newer one again", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// The thread that writes cannot be started.
    #[error("cannot start the thread that writes {}: {source}", path.display())]
    Thread {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was closed.
    #[error("{} is closed", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot {doing} {}: {source}", path.display())]
    Failed {
        /// What was being done to it.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// What SQLite says of the file, in our terms.
    pub(crate) fn from_sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        // There are many more codes, and none that more could be said of.
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, source },
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            _ => Self::Failed { doing, path, source },
        }
    }
}
