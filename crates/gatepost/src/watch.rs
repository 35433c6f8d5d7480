//! Notices that a file of the configuration has changed.
//!
//! Directories are watched, not files: editors and Kubernetes replace a file instead of writing it. What counts as a
//! change is the content, so a touch or a neighbour's file reloads nothing.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Watches the files of a configuration.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    directories: HashSet<PathBuf>,
    contents: BTreeMap<PathBuf, Option<u64>>,
}

/// A file that is being written is left alone until nothing has happened for this long.
const SETTLE: Duration = Duration::from_millis(50);

impl Watch {
    /// Watches nothing yet. Where the kernel has no watches left, only signals reload; that is said.
    pub(crate) fn new() -> Self {
        let (told, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_event| {
            // Full is fine: somebody is to look already.
            let _ = told.try_send(());
        });
        let watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "files cannot be watched: reload with SIGHUP")).ok();
        Self { watcher, events, directories: HashSet::new(), contents: BTreeMap::new() }
    }

    /// From now on a change of one of these files counts, compared with what it holds now.
    pub(crate) fn set(&mut self, files: &[PathBuf]) {
        self.contents = contents(files);
        let wanted: HashSet<PathBuf> = files.iter().flat_map(|file| directories_of(file)).collect();
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.directories.difference(&wanted) {
            // It may not exist any more.
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.directories) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, directory = %new.display(), "a directory cannot be watched");
            }
        }
        self.directories = wanted;
    }

    /// Watches these as well, and compares all from now on.
    pub(crate) fn add(&mut self, files: &[PathBuf]) {
        let all: Vec<PathBuf> = self.contents.keys().cloned().chain(files.iter().cloned()).collect();
        self.set(&all);
    }

    /// Waits until a watched file holds something else.
    pub(crate) async fn changed(&mut self) {
        loop {
            if self.events.recv().await.is_none() {
                // Without a watcher nothing ever changes.
                std::future::pending::<()>().await;
            }
            while let Ok(Some(())) = timeout(SETTLE, self.events.recv()).await {}
            let files: Vec<PathBuf> = self.contents.keys().cloned().collect();
            let now = contents(&files);
            if now != self.contents {
                self.contents = now;
                return;
            }
        }
    }
}

/// The directory of a file, and of what it is a link to. A directory (of an `include`) counts as itself.
fn directories_of(file: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    if file.is_dir() {
        return vec![file.to_owned()];
    }
    let mut directories = vec![parent(file)];
    directories.extend(file.canonicalize().ok().map(|target| parent(&target)));
    directories
}

/// A hash of what each file holds; of a directory, of the names in it. Absent where it cannot be read.
fn contents(files: &[PathBuf]) -> BTreeMap<PathBuf, Option<u64>> {
    files.iter().map(|file| (file.clone(), content(file))).collect()
}

fn content(file: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    if file.is_dir() {
        let mut names: Vec<_> = file.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        names.hash(&mut hasher);
    } else {
        std::fs::read(file).ok()?.hash(&mut hasher);
    }
    Some(hasher.finish())
}
