//! What a configuration was read from, and whether that still holds the same.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

/// Every file that a configuration was read from, or that it was tried to read: configuration, address lists and
/// secrets; also the directories that the globs of `include` were matched in. Each with a hash of what it held when it
/// was read, so that no change since then is missed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    held: BTreeMap<PathBuf, Held>,
}

/// A hash of what a file held; nothing where it could not be read.
type Held = Option<u64>;

impl Files {
    /// The files and directories, as they were opened.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.held.keys().map(PathBuf::as_path)
    }

    /// The same files as they are now.
    #[must_use]
    pub fn read_again(&self) -> Self {
        Self { held: self.held.keys().map(|path| (path.clone(), held_now(path))).collect() }
    }

    /// Takes in `other`, whose word counts where both know a file.
    pub fn extend(&mut self, other: &Self) {
        self.held.extend(other.held.iter().map(|(path, held)| (path.clone(), *held)));
    }

    /// Notes that a file was read, with these contents.
    pub(crate) fn read(&mut self, path: &Path, contents: Option<&[u8]>) {
        // What cannot be read may be a directory in a file's place.
        let held = contents.map_or_else(|| held_now(path), |contents| Some(hash_of(&(Kind::File, contents))));
        self.held.insert(path.to_owned(), held);
    }

    /// Notes that a directory was looked through, or a file was looked for.
    pub(crate) fn looked_at(&mut self, path: &Path) {
        self.held.insert(path.to_owned(), held_now(path));
    }
}

/// Keeps an empty file and an empty directory apart.
#[derive(Hash)]
enum Kind {
    File,
    Directory,
}

/// What a file holds now; of a directory, the names in it.
fn held_now(path: &Path) -> Held {
    if !path.is_dir() {
        return fs::read(path).ok().map(|contents| hash_of(&(Kind::File, &contents[..])));
    }
    let mut names: Vec<_> = fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    Some(hash_of(&(Kind::Directory, &names[..])))
}

fn hash_of<T: Hash + ?Sized>(contents: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}
