//! The state directory, for one process at a time.
//!
//! Two gateways could share a port unseen (`SO_REUSEPORT`); that they cannot share this directory is what stops them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use crate::exit::Failure;

/// A locked state directory. The lock ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Makes the directory if need be, and locks it.
    pub(crate) fn take(directory: &Path) -> Result<Self, Failure> {
        let shown = directory.display();
        fs::create_dir_all(directory)
            .map_err(|error| Failure::CannotRun(format!("cannot make the state directory {shown}: {error}")))?;
        let path = directory.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| Failure::CannotRun(format!("cannot open {}: {error}", path.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::CannotRun(format!(
                "another gatepost runs on the state directory {shown}; stop it, or give this one another `state` \
                 under [server]"
            ))),
            Err(TryLockError::Error(error)) => {
                Err(Failure::CannotRun(format!("cannot lock {}: {error}", path.display())))
            }
        }
    }
}
