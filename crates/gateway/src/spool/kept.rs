//! A body that is kept, on its way out.

use std::fmt;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;

use crate::spool::{Buffer, Held, SMALLEST, Spool, SpoolError, Spooled};

/// A whole body that is kept, to be taken once, piece by piece.
pub(crate) struct Kept {
    /// Bytes that were not taken yet.
    left: u64,
    source: Source,
}

enum Source {
    /// All of it, until it is taken.
    Memory(Bytes),
    File(Box<Reading>),
}

/// Reads a file piece by piece: the next one when the last one was let go of, because there is one buffer.
struct Reading {
    spool: Arc<Spool>,
    stage: Stage,
    lent: Arc<Lent>,
}

enum Stage {
    /// The buffer is at the disk.
    UnderWay(Pin<Box<dyn Future<Output = Result<Held, SpoolError>>>>),
    /// The buffer is lent to whoever took the last piece.
    Lent(Spooled),
    /// It failed, or all was taken.
    Over,
}

/// Where a lent buffer comes back to.
#[derive(Debug, Default)]
struct Lent(Mutex<(Option<Buffer>, Option<Waker>)>);

/// What is in a buffer, lent. It comes back when the last one who has it lets go.
struct Piece {
    buffer: Option<Buffer>,
    back: Arc<Lent>,
}

impl Kept {
    pub(super) fn new(spool: Arc<Spool>, held: Held) -> Self {
        let Held { buffer, spooled } = held;
        let Some(spooled) = spooled else {
            let left = buffer.bytes.len() as u64;
            return Self { left, source: Source::Memory(Bytes::from_owner(buffer)) };
        };
        let left = spooled.length;
        let lent = Arc::<Lent>::default();
        lent.give_back(buffer);
        Self { left, source: Source::File(Box::new(Reading { spool, stage: Stage::Lent(spooled), lent })) }
    }

    /// How many bytes are left of it.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// It cannot be read again.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, SpoolError>> {
        if self.left == 0 {
            return Poll::Ready(Ok(None));
        }
        let piece = match &mut self.source {
            Source::Memory(bytes) => std::mem::take(bytes),
            Source::File(reading) => ready!(reading.poll_piece(self.left, cx))?,
        };
        self.left = self.left.saturating_sub(piece.len() as u64);
        if self.left == 0 {
            // Nothing is read any more: the file can go.
            self.source = Source::Memory(Bytes::new());
        }
        Poll::Ready(Ok(Some(piece)))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Kept").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Reading {
    fn poll_piece(&mut self, left: u64, cx: &mut Context<'_>) -> Poll<Result<Bytes, SpoolError>> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Lent(spooled) => {
                    let Some(buffer) = self.lent.take(cx) else {
                        self.stage = Stage::Lent(spooled);
                        return Poll::Pending;
                    };
                    self.stage = Stage::UnderWay(self.read(Held { buffer, spooled: Some(spooled) }, left));
                }
                Stage::UnderWay(mut reading) => match reading.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.stage = Stage::UnderWay(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready(held) => {
                        let Held { buffer, spooled } = held?;
                        self.stage = spooled.map_or(Stage::Over, Stage::Lent);
                        let piece = Piece { buffer: Some(buffer), back: Arc::clone(&self.lent) };
                        return Poll::Ready(Ok(Bytes::from_owner(piece)));
                    }
                },
                Stage::Over => return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            }
        }
    }

    fn read(&self, mut held: Held, left: u64) -> Pin<Box<dyn Future<Output = Result<Held, SpoolError>>>> {
        let spool = Arc::clone(&self.spool);
        Box::pin(async move {
            let reading = move || {
                let Held { buffer: Buffer { bytes, share }, spooled } = &mut held;
                let most = share.bytes.max(SMALLEST as u64).min(left);
                bytes.clear();
                bytes.resize(usize::try_from(most).unwrap_or(SMALLEST), 0);
                if let Some(spooled) = spooled {
                    spooled.file.read_exact_at(bytes, spooled.length - left)?;
                }
                Ok(held)
            };
            spool.at_disk(reading).await
        })
    }
}

impl Lent {
    fn give_back(&self, buffer: Buffer) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.0 = Some(buffer);
        let waker = slot.1.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The buffer, if it is here; else whoever gives it back wakes the task.
    fn take(&self, cx: &Context<'_>) -> Option<Buffer> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = slot.0.take();
        if buffer.is_none() {
            slot.1 = Some(cx.waker().clone());
        }
        buffer
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.bytes)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.back.give_back(buffer);
        }
    }
}
