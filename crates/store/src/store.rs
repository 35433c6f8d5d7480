use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use gatepost_meter::{Ask, Ledger, Window};

use crate::error::StoreError;
use crate::queue::Queue;
use crate::reader::Reader;
use crate::rows::{GrantRow, KeyUse, UsageDelta, UsageFilter, UsageRow};
use crate::schema;
use crate::writer::Writer;

/// Writes to `gatepost.db`, on a thread of its own; no other call than [`Store::flush`] and [`Store::close`] waits for it.
///
/// There must be no other store on the file at a time; that is for whoever locks the state directory. Dropped, it is
/// closed.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    reader: Mutex<Option<Reader>>,
}

/// There was no room for usage, or the store is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store has no room for the usage of {} more routes and callers now; try again later", .0.len())]
pub struct NotRecorded(
    /// What was not recorded.
    pub Vec<UsageDelta>,
);

impl Store {
    /// Opens the store of a state directory that exists; makes the file, readable for its owner only, if there is none.
    ///
    /// # Errors
    /// The file cannot be made, read or written, or is not ours.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = schema::file_in(directory);
        let queue = Arc::<Queue>::default();
        let writer = Writer::new(path.clone(), Arc::clone(&queue))?;
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(|| writer.run())
            .map_err(|source| StoreError::Thread { path, source })?;
        let directory = directory.to_owned();
        Ok(Self { directory, queue, thread: Mutex::new(Some(thread)), reader: Mutex::new(None) })
    }

    /// The store of a state directory for reading only, whether a gateway runs on it or not.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open_read_only(directory: &Path) -> Result<Reader, StoreError> {
        Reader::open(directory)
    }

    /// Adds to the usage. It is counted in memory until it is written, also while the disk is full.
    ///
    /// # Errors
    /// What could not be taken: tell of it again later.
    pub fn record(&self, deltas: Vec<UsageDelta>) -> Result<(), NotRecorded> {
        let mut deltas = deltas.into_iter();
        let refused = self.queue.count(|counts| {
            let taken = |delta| counts.add_usage(delta).err();
            deltas.by_ref().filter_map(taken).collect::<Vec<_>>()
        });
        match refused.unwrap_or_else(|| deltas.collect()) {
            refused if refused.is_empty() => Ok(()),
            refused => Err(NotRecorded(refused)),
        }
    }

    /// Remembers when keys were used; of each the latest counts. Lost, if too many wait.
    pub fn keys_used(&self, uses: Vec<KeyUse>) {
        // Once closed, nobody reads it.
        let _ = self.queue.count(|counts| uses.into_iter().for_each(|key| counts.add_key(key)));
    }

    /// What callers used, as far as it is written; see [`Reader::usage`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn usage(&self, filter: &UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
        self.read(|reader| reader.usage(filter))
    }

    /// What an account was granted, by window; see [`Reader::granted`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn granted(&self, account: &str) -> Result<Vec<GrantRow>, StoreError> {
        self.read(|reader| reader.granted(account))
    }

    /// When keys were used last, as far as it is written; see [`Reader::last_use`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn last_use(&self) -> Result<Vec<KeyUse>, StoreError> {
        self.read(Reader::last_use)
    }

    /// Waits until everything that it was told before is durable, or until a try to make it so has failed. Then it is
    /// kept, and tried again.
    ///
    /// # Errors
    /// That try failed, or the store is closed.
    pub fn flush(&self) -> Result<(), Arc<StoreError>> {
        let (flush, outcome) = sync_channel(1);
        let closed = || Arc::new(StoreError::Closed { path: schema::file_in(&self.directory) });
        if !self.queue.flush(flush) {
            return Err(closed());
        }
        outcome.recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Why nothing can be written at present; none if the last try went well.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<StoreError>> {
        self.queue.trouble()
    }

    /// Writes what waits, and ends the thread. From now on asks are told that the ledger is unavailable, and nothing is
    /// recorded. Close quotas first: what they give back later is lost to their accounts.
    pub fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last one to hold the store may be an ask, which the thread itself drops.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // It ends without a panic, or has told of it.
            let _ = thread.join();
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut slot = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match slot.take() {
            Some(reader) => reader,
            None => Reader::open(&self.directory)?,
        };
        let rows = read(&reader)?;
        // After a failure it is opened anew.
        *slot = Some(reader);
        Ok(rows)
    }
}

impl Ledger for Store {
    fn ask(&self, ask: Ask) {
        // Dropped, it is answered that the ledger is unavailable: with no lock held.
        drop(self.queue.ask(ask));
    }

    fn give_back(&self, account: &Arc<str>, window: Window, units: u64) {
        let taken = self.queue.count(|counts| counts.add_returned(Arc::clone(account), window, units));
        if taken != Some(true) {
            tracing::warn!(
                "{units} units of {account} that were not used in {window} are lost: the store is closed or full"
            );
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
