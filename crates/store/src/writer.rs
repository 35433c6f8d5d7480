use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gatepost_meter::{Ask, Granted};
use rusqlite::Connection;

use crate::batch::{self, Batch, Counts};
use crate::error::StoreError;
use crate::queue::{Flush, Queue, Work};
use crate::schema::{self, FileId};

/// The one who writes, again and again: what is asked, in one transaction, and then some of the counts in another.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    queue: Arc<Queue>,
    /// None after a failure: then the file is opened anew.
    connection: Option<(Connection, FileId)>,
    /// The id of the last batch.
    id: i64,
    /// What is being written; it stays here after a failure.
    batch: Option<Batch>,
    /// What is written after it.
    waiting: Counts,
    /// Who waits until nothing is left of these two.
    flushes: Vec<Flush>,
}

/// How many rows are written in one transaction while somebody may ask, and would wait for it.
const ROWS_AT_A_TIME: usize = 1_000;

/// How long a failure keeps us from trying again.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is tried to write what is left when the store is closed.
const TRIES_AT_THE_END: u32 = 2;

impl Writer {
    pub(crate) fn new(path: PathBuf, queue: Arc<Queue>) -> Result<Self, StoreError> {
        schema::create(&path)?;
        let (waiting, flushes) = (Counts::default(), Vec::new());
        let mut writer = Self { path, queue, connection: None, id: 0, batch: None, waiting, flushes };
        writer.connection = Some(writer.connect()?);
        Ok(writer)
    }

    /// Writes until the queue is closed and empty, or cannot be emptied.
    pub(crate) fn run(mut self) {
        // Also if this thread should panic: nobody is left without an answer.
        let _end = End(Arc::clone(&self.queue));
        let mut tries_at_the_end = 0;
        while let Some(work) = self.queue.next(self.has_left()) {
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

    /// Writes, and tells what came of it; false if that failed.
    fn work(&mut self, Work { asks, counts, flushes, closing }: Work) -> bool {
        self.waiting.merge(counts);
        self.flushes.extend(flushes);
        let rows = if closing { usize::MAX } else { ROWS_AT_A_TIME };
        // What failed before comes first: nothing else is written until it is known what became of it.
        let recovered = self.batch.is_none() || self.write(&[]).is_some();
        recovered && self.grant(asks) && self.count(rows)
    }

    /// Dropped without an answer, those who ask hear that the ledger is unavailable.
    fn grant(&mut self, asks: Vec<Ask>) -> bool {
        if asks.is_empty() {
            return true;
        }
        let returned = self.waiting.take_returned(&asks);
        self.begin(returned);
        let Some(granted) = self.write(&asks) else { return false };
        asks.into_iter().zip(granted).for_each(|(ask, granted)| ask.answer(Ok(granted)));
        true
    }

    fn count(&mut self, rows: usize) -> bool {
        let counts = self.waiting.take(rows);
        self.begin(counts);
        // Those who flush want to know whether the file can be written, if there is nothing to write.
        if (self.batch.is_some() || !self.flushes.is_empty()) && self.write(&[]).is_none() {
            return false;
        }
        if !self.has_left() {
            self.flushes.drain(..).for_each(|flush| drop(flush.send(Ok(()))));
        }
        true
    }

    fn has_left(&self) -> bool {
        self.batch.is_some() || !self.waiting.is_empty()
    }

    fn begin(&mut self, counts: Counts) {
        if !counts.is_empty() {
            self.id += 1;
            self.batch = Some(Batch { id: self.id, counts });
        }
    }

    /// Writes the batch and grants, or remembers why that failed and tells those who flush.
    fn write(&mut self, asks: &[Ask]) -> Option<Vec<Granted>> {
        match self.try_to_write(asks) {
            Ok(granted) => {
                if self.queue.set_trouble(None).is_some() {
                    tracing::info!("{} is written again", self.path.display());
                }
                Some(granted)
            }
            Err(error) => {
                let error = Arc::new(error);
                if self.queue.set_trouble(Some(Arc::clone(&error))).is_none() {
                    tracing::error!("{error}; until then quotas grant nothing, and usage is counted in memory");
                }
                self.flushes.drain(..).for_each(|flush| drop(flush.send(Err(Arc::clone(&error)))));
                None
            }
        }
    }

    fn try_to_write(&mut self, asks: &[Ask]) -> Result<Vec<Granted>, StoreError> {
        let (mut connection, file) = self.connect()?;
        let granted = batch::commit(&mut connection, self.batch.as_ref(), asks)
            .map_err(|source| StoreError::from_sqlite(&self.path, "write", source))?;
        self.connection = Some((connection, file));
        self.batch = None;
        Ok(granted)
    }

    /// The connection, opened anew after a failure. A file that was taken away meanwhile is not made anew: it would know of
    /// no grants. Nor is it written any more, though that would go well: the next start would not find what was granted.
    fn connect(&mut self) -> Result<(Connection, FileId), StoreError> {
        if let Some((connection, file)) = self.connection.take() {
            return match FileId::at(&self.path)? == file {
                true => Ok((connection, file)),
                false => Err(StoreError::Replaced { path: self.path.clone() }),
            };
        }
        let (connection, file) = schema::open(&self.path)?;
        let last = batch::last_id(&connection).map_err(|source| StoreError::from_sqlite(&self.path, "read", source))?;
        self.id = self.id.max(last);
        Ok((connection, file))
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
