//! A body that was kept, where both reach it: whoever sends it on, and the exchange that it belongs to.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::spool::Kept;

/// A kept body on its way to a backend. A backend that takes nothing keeps hyper from asking for more, and from letting go;
/// so when its exchange is over, that takes the body away.
#[derive(Debug)]
pub(crate) struct KeptBody {
    /// Absent: the exchange is over.
    kept: RefCell<Option<Kept>>,
    /// Whoever waits for the next piece.
    reader: RefCell<Option<Waker>>,
}

impl KeptBody {
    pub(super) fn new(kept: Kept) -> Rc<Self> {
        Rc::new(Self { kept: RefCell::new(Some(kept)), reader: RefCell::default() })
    }

    /// The next piece; none at the end.
    pub(super) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut slot = self.kept.borrow_mut();
        // Half a body must not look like a whole one.
        let Some(kept) = slot.as_mut() else { return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())) };
        let polled = kept.poll_piece(cx).map_err(io::Error::other);
        if polled.is_pending() {
            self.reader.replace(Some(cx.waker().clone()));
        }
        polled
    }

    /// Bytes that were not taken yet; absent: they never will be.
    pub(super) fn left(&self) -> Option<u64> {
        self.kept.borrow().as_ref().map(Kept::left)
    }

    /// Lets go of memory and file.
    pub(crate) fn release(&self) {
        drop(self.kept.take());
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
