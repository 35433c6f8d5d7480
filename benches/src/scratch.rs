//! A directory that lives as long as the value that stands for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Outcome, minder};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A directory of its own beneath the system's temporary one, removed on drop.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Outcome<Self> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatepost-bench-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Fails if it exists, so that nobody else's directory is ever used or removed.
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        minder::directory_made(&path);
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into the directory and returns its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> Outcome<PathBuf> {
        let path = self.0.join(name);
        std::fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::fs::remove_dir_all(&self.0).is_ok() {
            minder::directory_removed(&self.0);
        }
    }
}
