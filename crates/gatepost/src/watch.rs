//! Notices that a file of the configuration has changed.
//!
//! Directories are watched, not files: editors and Kubernetes replace a file instead of writing it. What counts as a
//! change is the content, compared with what was read, so a touch reloads nothing and no change is ever missed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use gatepost_config::Files;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Watches the files of a configuration.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    /// The directories watched, each as the device and inode that it was.
    watched: HashMap<PathBuf, (u64, u64)>,
    /// Read by the watcher's thread, to tell our files from their neighbours.
    interest: Arc<RwLock<Interest>>,
    files: Files,
    suspicion: Suspicion,
}

/// Whether files may hold something else than when they were last compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    /// Nothing has happened to them.
    None,
    /// Nobody watched them for a while.
    Unwatched,
    /// Something has happened to them, and more may.
    Touched,
}

/// Which paths events are of interest for.
#[derive(Debug, Default)]
struct Interest {
    /// Files, and the links on the way to them.
    files: HashSet<PathBuf>,
    /// Directories in which names come and go.
    directories: HashSet<PathBuf>,
}

/// A file that is being written is left alone until nothing has happened to it for this long …
const SETTLE: Duration = Duration::from_millis(50);

/// … but no longer than this.
const SETTLE_AT_MOST: Duration = Duration::from_millis(500);

/// Links on the way to one file; more are a circle.
const MOST_LINKS: usize = 40;

impl Watch {
    /// Watches nothing yet. Where the kernel has no watches left, only signals reload; that is said.
    pub(crate) fn new() -> Self {
        let (told, events) = mpsc::channel(1);
        let interest = Arc::new(RwLock::new(Interest::default()));
        let watcher = {
            let interest = Arc::clone(&interest);
            notify::recommended_watcher(move |event: notify::Result<Event>| {
                let interest = interest.read().unwrap_or_else(PoisonError::into_inner);
                // An error may stand for events that were lost.
                if event.map_or(true, |event| interest.covers(&event)) {
                    // Full is fine: somebody is to look already.
                    let _ = told.try_send(());
                }
            })
        };
        let watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "files cannot be watched: reload with SIGHUP")).ok();
        Self { watcher, events, watched: HashMap::new(), interest, files: Files::default(), suspicion: Suspicion::None }
    }

    /// From now on a change of one of these files counts, compared with what was read.
    pub(crate) fn set(&mut self, files: Files) {
        let interest = Interest::of(&files);
        let wanted = interest.to_watch();
        *self.interest.write().unwrap_or_else(PoisonError::into_inner) = interest;
        self.files = files;
        self.suspicion = Suspicion::Unwatched;
        let Some(watcher) = &mut self.watcher else { return };
        // A directory that was replaced is another one under the same name.
        for (gone, _) in self.watched.iter().filter(|(path, inode)| wanted.get(*path) != Some(*inode)) {
            // It may not exist any more.
            let _ = watcher.unwatch(gone);
        }
        for (new, _) in wanted.iter().filter(|(path, inode)| self.watched.get(*path) != Some(*inode)) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, directory = %new.display(), "a directory cannot be watched");
            }
        }
        self.watched = wanted;
    }

    /// Watches these as well.
    pub(crate) fn add(&mut self, files: &Files) {
        let mut all = self.files.clone();
        all.extend(files);
        self.set(all);
    }

    /// Waits until a file holds something else than was read. Whoever stops waiting misses nothing: the next one who waits
    /// is told.
    pub(crate) async fn changed(&mut self) {
        loop {
            if self.suspicion == Suspicion::None {
                if self.events.recv().await.is_none() {
                    // Without a watcher nothing ever changes.
                    std::future::pending::<()>().await;
                }
                self.suspicion = Suspicion::Touched;
            }
            if self.suspicion == Suspicion::Touched {
                self.settle().await;
            }
            self.suspicion = Suspicion::None;
            let now = self.files.read_again();
            if now != self.files {
                self.files = now;
                return;
            }
        }
    }

    async fn settle(&mut self) {
        let at_most = Instant::now() + SETTLE_AT_MOST;
        while Instant::now() < at_most {
            match timeout_at(at_most.min(Instant::now() + SETTLE), self.events.recv()).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

impl Interest {
    fn of(files: &Files) -> Self {
        let mut interest = Self::default();
        for path in files.paths() {
            let steps = steps(path);
            if path.is_dir() {
                interest.directories.extend(steps.last().cloned());
            }
            interest.files.extend(steps);
        }
        interest
    }

    fn to_watch(&self) -> HashMap<PathBuf, (u64, u64)> {
        let parents = self.files.iter().filter_map(|file| file.parent());
        let directories = parents.chain(self.directories.iter().map(PathBuf::as_path));
        directories
            .filter_map(|directory| {
                let metadata = directory.metadata().ok().filter(Metadata::is_dir)?;
                Some((directory.to_owned(), (metadata.dev(), metadata.ino())))
            })
            .collect()
    }

    fn covers(&self, event: &Event) -> bool {
        if event.need_rescan() {
            return true;
        }
        let comes_or_goes = match event.kind {
            // Reading a file tells of it too; our own comparing must not wake us again.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => true,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => false,
        };
        event.paths.iter().any(|path| {
            let within = || path.parent().is_some_and(|parent| self.directories.contains(parent));
            self.files.contains(path) || (comes_or_goes && within())
        })
    }
}

/// Every link on the way to a file, and the file: whatever is replaced to change what the path leads to.
fn steps(path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut ahead: VecDeque<OsString> = absolute.components().map(|part| part.as_os_str().to_owned()).collect();
    let mut here = PathBuf::new();
    let mut steps = Vec::new();
    while let Some(part) = ahead.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                here.pop();
                continue;
            }
            Some(Component::CurDir) | None => continue,
            Some(Component::RootDir | Component::Prefix(_) | Component::Normal(_)) => here.push(&part),
        }
        if steps.len() < MOST_LINKS
            && let Ok(target) = here.read_link()
        {
            steps.push(here.clone());
            here.pop();
            for part in target.components().rev() {
                ahead.push_front(part.as_os_str().to_owned());
            }
        }
    }
    steps.push(here);
    steps
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn a_change_is_told_even_if_nobody_waited_until_it_had_settled() {
        const CONFIGURATION: &str = "listen = \"127.0.0.1:0\"\n[route.\"GET /\"]\nopen = true\nrespond = {}\n";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gatepost.toml");
        std::fs::write(&file, CONFIGURATION).unwrap();
        let mut watch = Watch::new();
        watch.set(gatepost_config::load(&file).unwrap().files);
        assert!(timeout_at(Instant::now() + SETTLE, watch.changed()).await.is_err(), "nothing has changed yet");
        std::fs::write(&file, format!("{CONFIGURATION}# Changed.\n")).unwrap();
        // It notices that something has happened, and is never let wait for the end of that.
        let end = Instant::now() + Duration::from_secs(15);
        while watch.suspicion != Suspicion::Touched {
            assert!(Instant::now() < end, "nothing was noticed");
            if timeout_at(Instant::now() + SETTLE / 10, watch.changed()).await.is_ok() {
                return;
            }
        }
        timeout_at(end, watch.changed()).await.expect("the change is told");
    }

    #[test]
    fn every_link_on_the_way_to_a_file_is_a_step() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("v1")).unwrap();
        std::fs::write(root.join("v1/file"), "").unwrap();
        symlink("v1", root.join("data")).unwrap();
        symlink("data/file", root.join("file")).unwrap();
        symlink(root.join("file"), root.join("outer")).unwrap();
        let names = ["outer", "file", "data", "v1/file"];
        assert_eq!(steps(&root.join("outer")), names.map(|name| root.join(name)));
        symlink("circle", root.join("circle")).unwrap();
        assert!(steps(&root.join("circle")).len() <= MOST_LINKS + 1);
    }
}
