use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gatepost_meter::{Ask, Granted};
use rusqlite::Connection;

use crate::batch::{self, Counts};
use crate::error::StoreError;
use crate::queue::{Queue, Work};
use crate::schema::{self, FileId};

/// The one who writes: everything that waits, in one transaction, again and again.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    queue: Arc<Queue>,
    /// None after a failure: then the file is opened anew.
    connection: Option<(Connection, FileId)>,
    /// The id of the last try.
    id: i64,
    /// Counts of tries that failed, by the ids of these; oldest first. A commit that failed to be synced may still turn out
    /// to be in the file: its id tells.
    unwritten: Vec<(i64, Counts)>,
}

/// How long a failure keeps us from trying again.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is tried to write what is left when the store is closed.
const TRIES_AT_THE_END: u32 = 2;

/// How many failed tries are told apart.
const MOST_TRIES: usize = 16;

impl Writer {
    pub(crate) fn new(path: PathBuf, queue: Arc<Queue>) -> Result<Self, StoreError> {
        schema::create(&path)?;
        let mut writer = Self { path, queue, connection: None, id: 0, unwritten: Vec::new() };
        writer.connection = Some(writer.connect()?);
        Ok(writer)
    }

    /// Writes until the queue is closed and empty, or cannot be emptied.
    pub(crate) fn run(mut self) {
        // Also if this thread should panic: nobody is left without an answer.
        let _end = End(Arc::clone(&self.queue));
        let mut tries_at_the_end = 0;
        while let Some(work) = self.queue.next(!self.unwritten.is_empty()) {
            if self.work(work) || self.queue.pause(PAUSE) {
                continue;
            }
            tries_at_the_end += 1;
            if tries_at_the_end == TRIES_AT_THE_END {
                tracing::error!("{} was closed before all was written: some usage is not counted", self.path.display());
                return;
            }
        }
    }

    /// Writes, and tells what came of it; false if nothing did.
    fn work(&mut self, Work { asks, counts, flushes }: Work) -> bool {
        match self.write(counts, &asks) {
            Ok(granted) => {
                if self.queue.set_trouble(None).is_some() {
                    tracing::info!("{} is written again", self.path.display());
                }
                asks.into_iter().zip(granted).for_each(|(ask, granted)| ask.answer(Ok(granted)));
                flushes.iter().for_each(|flush| drop(flush.send(Ok(()))));
                true
            }
            Err(error) => {
                let error = Arc::new(error);
                if self.queue.set_trouble(Some(Arc::clone(&error))).is_none() {
                    tracing::error!("{error}; until then quotas grant nothing, and usage is counted in memory");
                }
                // Dropped without an answer, they hear that the ledger is unavailable.
                drop(asks);
                flushes.iter().for_each(|flush| drop(flush.send(Err(Arc::clone(&error)))));
                false
            }
        }
    }

    fn write(&mut self, counts: Counts, asks: &[Ask]) -> Result<Vec<Granted>, StoreError> {
        let connected = self.connect();
        self.id += 1;
        if !counts.is_empty() {
            self.unwritten.push((self.id, counts));
        }
        let counts = self.unwritten.iter().map(|(_, counts)| counts);
        let written = connected.and_then(|(mut connection, file)| {
            let granted = batch::commit(&mut connection, counts, self.id, asks)
                .map_err(|source| StoreError::from_sqlite(&self.path, "write", source))?;
            Ok(((connection, file), granted))
        });
        match written {
            Ok((connection, granted)) => {
                self.connection = Some(connection);
                self.unwritten.clear();
                Ok(granted)
            }
            Err(error) => {
                self.join_old_tries();
                Err(error)
            }
        }
    }

    /// The connection, opened anew after a failure; then it is known which of the failed tries were written after all. A
    /// file that was taken away meanwhile is not made anew: it would know of no grants. Nor is it written any more, though
    /// that would go well: the next start would not find what was granted.
    fn connect(&mut self) -> Result<(Connection, FileId), StoreError> {
        if let Some((connection, file)) = self.connection.take() {
            return match FileId::at(&self.path)? == file {
                true => Ok((connection, file)),
                false => Err(StoreError::Replaced { path: self.path.clone() }),
            };
        }
        let (connection, file) = schema::open(&self.path)?;
        let last = batch::last_id(&connection).map_err(|source| StoreError::from_sqlite(&self.path, "read", source))?;
        self.unwritten.retain(|(id, _)| *id > last);
        self.id = self.id.max(last);
        Ok((connection, file))
    }

    /// Keeps few tries apart. Joined they have the older id: if that one was written after all, the newer counts are lost
    /// with it, and nothing is counted twice.
    fn join_old_tries(&mut self) {
        while self.unwritten.len() > MOST_TRIES {
            let (_, newer) = self.unwritten.remove(1);
            if let Some((_, oldest)) = self.unwritten.first_mut() {
                oldest.merge(newer);
            }
        }
    }
}

/// Ends the queue when it is dropped.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests;
