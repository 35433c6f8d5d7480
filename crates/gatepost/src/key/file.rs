//! A file of the configuration that is changed: nobody sees half of it, and no other change is lost.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::exit::Failure;

/// A file that nobody else changes by this command meanwhile.
#[derive(Debug)]
pub(super) struct Held {
    /// What links lead to.
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    metadata: Metadata,
    text: String,
}

/// How often another change is waited for, and how long each time.
const TRIES: usize = 500;
const PAUSE: Duration = Duration::from_millis(20);

impl Held {
    /// Waits for others who change it, and reads it.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let cannot = |what: &str, error: std::io::Error| Failure::CannotRun(format!("cannot {what} {shown}: {error}"));
        for _ in 0..TRIES {
            let path = path.canonicalize().map_err(|error| cannot("find", error))?;
            let lock = File::open(&path).map_err(|error| cannot("open", error))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    sleep(PAUSE);
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(cannot("lock", error)),
            }
            let metadata = lock.metadata().map_err(|error| cannot("read", error))?;
            // Whoever held it before has put another file in its place.
            if fs::metadata(&path).is_ok_and(|now| is_same(&now, &metadata)) {
                let text = fs::read_to_string(&path).map_err(|error| cannot("read", error))?;
                return Ok(Self { path, _lock: lock, metadata, text });
            }
        }
        Err(Failure::CannotRun(format!("somebody else is changing {shown}, and does not end; nothing was written")))
    }

    /// What it held when it was opened.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Puts a file with this text in its place: with the same owner and mode, on disk before anybody sees it.
    pub(super) fn replace(self, text: &str) -> Result<(), Failure> {
        let Self { path, metadata, text: before, .. } = &self;
        let shown = path.display();
        let cannot = |error: std::io::Error| {
            Failure::CannotRun(format!("cannot write {shown}, and nothing has changed: {error}"))
        };
        let directory = path.parent().unwrap_or(Path::new("/"));
        // Hidden, so that no `include` takes it for one of its files.
        let mut beside =
            tempfile::Builder::new().prefix(".gatepost-").suffix(".new").tempfile_in(directory).map_err(cannot)?;
        beside.write_all(text.as_bytes()).map_err(cannot)?;
        let file = beside.as_file();
        let made = file.metadata().map_err(cannot)?;
        if (made.uid(), made.gid()) != (metadata.uid(), metadata.gid()) {
            fchown(file, Some(metadata.uid()), Some(metadata.gid())).map_err(cannot)?;
        }
        file.set_permissions(metadata.permissions()).map_err(cannot)?;
        file.sync_all().map_err(cannot)?;
        let is_as_it_was = fs::metadata(path).is_ok_and(|now| is_same(&now, metadata))
            && fs::read(path).is_ok_and(|now| now == before.as_bytes());
        if !is_as_it_was {
            let problem = format!("{shown} was changed by somebody else meanwhile; nothing was written: try again");
            return Err(Failure::CannotRun(problem));
        }
        beside.persist(path).map_err(|error| cannot(error.error))?;
        // The file is there; that it stays there after a power cut is all that is missing.
        let is_kept = File::open(directory).and_then(|directory| directory.sync_all());
        is_kept.map_err(|error| Failure::CannotRun(format!("{shown} is changed, but may not be on disk yet: {error}")))
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_at_once_and_keeps_its_mode_and_the_links_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "before").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        let reader = File::open(&file).unwrap();
        Held::open(&link).unwrap().replace("after").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "after");
        assert_eq!(fs::read_to_string(&link).unwrap(), "after");
        assert_eq!(std::io::read_to_string(reader).unwrap(), "before");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "before").unwrap();
        let in_place: fn(&Path) = |file| fs::write(file, "theirs").unwrap();
        let by_another = |file: &Path| {
            fs::write(file.with_extension("new"), "theirs").unwrap();
            fs::rename(file.with_extension("new"), file).unwrap();
        };
        for write in [in_place, by_another] {
            let held = Held::open(&file).unwrap();
            write(&file);
            let failure = held.replace("ours").unwrap_err();
            assert!(failure.render(false).contains("nothing was written"), "{failure:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn two_changes_at_once_both_count() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let add = || {
            for _ in 0..20 {
                let held = Held::open(&file).unwrap();
                let text = format!("{}x", held.text());
                held.replace(&text).unwrap();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(add);
            scope.spawn(add);
        });
        assert_eq!(fs::read_to_string(&file).unwrap().len(), 40);
    }
}
