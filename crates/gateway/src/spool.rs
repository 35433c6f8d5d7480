//! Bodies that are kept until it is known whether they may go on: in memory while they are short, in a file without a
//! name when they are longer.
//!
//! This is the data plane's only file I/O. It happens on threads of its own, a few at once, in pieces, and no worker ever
//! waits for a disk. What all bodies together may take of memory and of the disk is bounded ([`Budgets`]); beyond that,
//! and when the disk fails, requests are refused: a body that cannot be kept is not let through unseen.
//!
//! A body has one buffer, while it comes and while it goes, and its bytes are counted from the first to the last: they
//! are taken from the budget before there is memory for them, and given back when it is freed.

mod kept;

pub(crate) use kept::Kept;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// What bodies that wait for their verdict may take together, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// Of memory, besides what connections have to read into. Default 64 MiB.
    pub memory: u64,
    /// Of the disk. Default 8 GiB.
    pub disk: u64,
}

/// Where bodies are kept.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    pub(crate) memory: Arc<Budget>,
    pub(crate) disk: Arc<Budget>,
    /// How many may be at the disk at once.
    turns: Arc<Semaphore>,
}

/// So much, and how much of it is taken.
#[derive(Debug)]
pub(crate) struct Budget {
    most: u64,
    taken: AtomicU64,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

/// How much of a budget may be taken for something: what only makes it faster leaves the rest to newcomers.
#[derive(Debug, Clone, Copy)]
enum Part {
    Half,
    ThreeQuarters,
    All,
}

/// Why a body cannot be kept.
#[derive(Debug, Error)]
pub(crate) enum SpoolError {
    /// The budget of memory is used up.
    #[error("bodies that wait for their verdict take all the memory that they may")]
    Memory,
    /// The budget of the disk is used up.
    #[error("bodies that wait for their verdict take all of the disk that they may")]
    Disk,
    /// The disk failed after the body had been kept.
    #[error("a body that was kept on disk could not be read again")]
    Lost,
    /// The disk failed.
    #[error("a body could not be kept on disk: {0}")]
    Io(#[from] io::Error),
}

/// A body that is coming.
#[derive(Debug)]
pub(crate) struct Keeper {
    spool: Arc<Spool>,
    /// Absent only after a failure.
    held: Option<Held>,
}

/// What there is of a body. It moves to the disk's threads and back.
#[derive(Debug)]
struct Held {
    buffer: Buffer,
    spooled: Option<Spooled>,
}

/// Memory that is counted.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    /// As much as the capacity.
    share: Share,
}

/// What of a body is on disk.
#[derive(Debug)]
struct Spooled {
    file: File,
    length: u64,
    share: Share,
}

/// The first memory that a body gets, in bytes.
const SMALLEST: usize = 4 * 1024;

/// Up to here a body stays in memory.
const IN_MEMORY: usize = 64 * 1024;

/// What is written and read at once, if there is memory for it.
const PIECE: usize = 256 * 1024;

/// Threads at the disk, at most.
const TURNS: usize = 4;

impl Default for Budgets {
    fn default() -> Self {
        Self { memory: 64 << 20, disk: 8 << 30 }
    }
}

impl Spool {
    /// Keeps bodies in files in `directory`, which is made when it is needed.
    pub(crate) fn new(directory: PathBuf, budgets: Budgets) -> Arc<Self> {
        let budget = |most| Arc::new(Budget { most, taken: AtomicU64::new(0) });
        Arc::new(Self {
            directory,
            memory: budget(budgets.memory),
            disk: budget(budgets.disk),
            turns: Arc::new(Semaphore::new(TURNS)),
        })
    }

    /// Makes sure that files can be made. Waits for the disk.
    ///
    /// # Errors
    /// They cannot.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        new_file(&self.directory).map(drop)
    }

    /// Where its files are, though nobody sees them there.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Does something that waits for the disk, when it is its turn.
    async fn at_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(io::Error::other)?;
        let working = spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        working.await.map_err(io::Error::other)?
    }
}

impl Budget {
    /// How many bytes are taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes `bytes`, if not more than `ceiling` of it are taken then.
    fn take(&self, bytes: u64, ceiling: u64) -> bool {
        let taken = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= ceiling);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    fn none(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Share {
    /// Takes so many more, if not more than a part of the budget is taken then.
    fn grow(&mut self, bytes: usize, part: Part) -> bool {
        let bytes = bytes as u64;
        let most = self.budget.most;
        let ceiling = match part {
            Part::Half => most / 2,
            Part::ThreeQuarters => most / 4 * 3,
            Part::All => most,
        };
        let taken = self.budget.take(bytes, ceiling);
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Keeper {
    pub(crate) fn new(spool: Arc<Spool>) -> Self {
        let buffer = Buffer { bytes: Vec::new(), share: spool.memory.none() };
        Self { spool, held: Some(Held { buffer, spooled: None }) }
    }

    /// Keeps the next piece.
    ///
    /// # Errors
    /// It cannot be kept; nothing is then.
    pub(crate) async fn keep(&mut self, mut piece: &[u8]) -> Result<(), SpoolError> {
        while !piece.is_empty() {
            let held = self.held.as_mut().ok_or(SpoolError::Memory)?;
            let room = held.room();
            if room == 0 {
                self.write().await?;
                continue;
            }
            let (now, later) = piece.split_at(room.min(piece.len()));
            held.buffer.bytes.extend_from_slice(now);
            piece = later;
        }
        Ok(())
    }

    /// All of it has come.
    ///
    /// # Errors
    /// Its end cannot be kept.
    pub(crate) async fn finish(mut self) -> Result<Kept, SpoolError> {
        if self.held.as_ref().is_some_and(Held::must_be_written) {
            self.write().await?;
        }
        let held = self.held.ok_or(SpoolError::Memory)?;
        Ok(Kept::new(self.spool, held))
    }

    /// Writes what is in memory to the file, and makes the file if there is none.
    async fn write(&mut self) -> Result<(), SpoolError> {
        let held = self.held.take().ok_or(SpoolError::Memory)?;
        if held.buffer.bytes.is_empty() {
            // There was no memory for a single byte.
            return Err(SpoolError::Memory);
        }
        let spool = Arc::clone(&self.spool);
        self.held = Some(self.spool.at_disk(move || held.written(&spool)).await?);
        Ok(())
    }
}

impl Held {
    /// How many bytes the buffer has room for, made larger if it is worth it and there is memory.
    fn room(&mut self) -> usize {
        let limit = if self.spooled.is_some() { PIECE } else { IN_MEMORY };
        let Buffer { bytes, share } = &mut self.buffer;
        let (length, counted) = (bytes.len(), usize::try_from(share.bytes).unwrap_or(usize::MAX));
        if length < counted {
            return counted - length;
        }
        let larger = (2 * counted).clamp(SMALLEST, limit);
        let part = match larger {
            SMALLEST => Part::All,
            _ if larger <= IN_MEMORY => Part::ThreeQuarters,
            _ => Part::Half,
        };
        if larger <= counted || !share.grow(larger - counted, part) {
            return 0;
        }
        bytes.reserve_exact(larger - length);
        larger - length
    }

    fn must_be_written(&self) -> bool {
        self.spooled.is_some() && !self.buffer.bytes.is_empty()
    }

    fn written(mut self, spool: &Spool) -> Result<Self, SpoolError> {
        let Self { buffer, spooled } = &mut self;
        let spooled = match spooled {
            Some(spooled) => spooled,
            None => {
                let file = new_file(&spool.directory)?;
                spooled.insert(Spooled { file, length: 0, share: spool.disk.none() })
            }
        };
        if !spooled.share.grow(buffer.bytes.len(), Part::All) {
            return Err(SpoolError::Disk);
        }
        spooled.file.write_all_at(&buffer.bytes, spooled.length)?;
        spooled.length += buffer.bytes.len() as u64;
        buffer.bytes.clear();
        Ok(self)
    }
}

/// A file that nobody else can open, and that is gone when it is closed, however that comes about.
fn new_file(directory: &Path) -> io::Result<File> {
    match tempfile::tempfile_in(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            tempfile::tempfile_in(directory)
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests;
