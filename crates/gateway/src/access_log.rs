//! The access log: a bounded queue from the data plane to one thread that serialises, and puts on record what was refused;
//! and another one that writes.
//!
//! A worker never waits for the log: a record that finds the queue full is dropped and counted. The thread behind the queue
//! is woken once, not per record, and takes all that came since. It never waits either: whoever reads the log may have
//! stopped reading, and what is refused goes on record all the same. Lines that find too many waiting are dropped and
//! counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use gatepost_config::model::AccessLog;

use crate::decisions::Decisions;
use crate::log_line::LineWriter;
use crate::record::Record;
use crate::stats::Stats;

/// Records that may wait for the writer: at 50,000 requests a second, more than one second's worth.
const QUEUE: usize = 65_536;

/// How long the writer lets records gather before it takes them: one wake-up serves them all.
const GATHER: Duration = Duration::from_millis(2);

/// How long the end waits for what is queued to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Records taken at once, at most.
const BATCH: usize = 1024;

/// Bytes of lines that may wait to be written.
const BACKLOG: usize = 32 * 1024 * 1024;

/// How long what could not be handed over waits for the next try.
const AGAIN: Duration = Duration::from_millis(20);

/// The data plane's end of the log.
#[derive(Debug, Clone)]
pub(crate) struct LogSender(Arc<Shared>);

/// The threads of the log. Dropping it writes what is queued and ends them.
#[derive(Debug)]
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    /// Disconnected when the last line was written.
    ended: Receiver<()>,
}

/// Lines on their way to the sink, and how many.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    count: u64,
}

#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<Box<Record>>,
    stats: Arc<Stats>,
    decisions: Arc<Decisions>,
    /// The thread behind the queue.
    gatherer: std::sync::OnceLock<Thread>,
    asleep: AtomicBool,
    closing: AtomicBool,
    /// Whether lines go nowhere, so that records need not be queued.
    off: AtomicBool,
    /// What to write to from now on; taken by whoever writes.
    sink: std::sync::Mutex<Option<Sink>>,
}

/// Where lines go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(File),
}

impl Sink {
    /// Opens what the configuration names; the file is made if it is not there.
    pub(crate) fn open(log: &AccessLog) -> io::Result<Self> {
        Ok(match log {
            AccessLog::Off => Self::Off,
            AccessLog::Stdout => Self::Stdout,
            AccessLog::File(path) => Self::File(OpenOptions::new().create(true).append(true).open(path)?),
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::Stdout => io::stdout().lock().write_all(lines),
            Self::File(file) => file.write_all(lines),
        }
    }
}

impl LogSender {
    /// Queues a record, or drops and counts it. Where lines go nowhere, only those that go on record.
    pub(crate) fn send(&self, record: Box<Record>) {
        let off = self.0.off.load(Ordering::Relaxed);
        if off && record.reason.is_none() {
            return;
        }
        if let Err(record) = self.0.queue.push(record) {
            self.0.stats.log_dropped.fetch_add(u64::from(!off), Ordering::Relaxed);
            self.0.stats.decisions_dropped.fetch_add(u64::from(record.reason.is_some()), Ordering::Relaxed);
        }
        if self.0.asleep.load(Ordering::Acquire) && self.0.asleep.swap(false, Ordering::AcqRel) {
            self.0.wake();
        }
    }
}

impl LogWriter {
    /// Starts the writer.
    pub(crate) fn start(sink: Sink, stats: Arc<Stats>, decisions: Arc<Decisions>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(QUEUE),
            stats,
            decisions,
            gatherer: std::sync::OnceLock::new(),
            asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            off: AtomicBool::new(matches!(sink, Sink::Off)),
            sink: std::sync::Mutex::new(Some(sink)),
        });
        let (running, ended) = sync_channel::<()>(0);
        let (gathered, lines) = sync_channel::<Lines>(1);
        let spawn = |name: &str, work: Box<dyn FnOnce(&Shared) + Send>| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared))
        };
        spawn(
            "access-log",
            Box::new(move |shared| {
                shared.write_all(&lines);
                drop(running);
            }),
        )?;
        let gatherer = spawn("records", Box::new(move |shared| shared.gather_all(&gathered)))?;
        let _ = shared.gatherer.set(gatherer.thread().clone());
        Ok(Self { shared, ended })
    }

    /// Has the writer look at the queue now.
    pub(crate) fn hurry(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.wake()
    }

    pub(crate) fn sender(&self) -> LogSender {
        LogSender(Arc::clone(&self.shared))
    }

    /// Writes to `sink` from the next batch on.
    pub(crate) fn switch(&self, sink: Sink) {
        self.shared.off.store(matches!(sink, Sink::Off), Ordering::Relaxed);
        *self.shared.sink.lock().unwrap_or_else(PoisonError::into_inner) = Some(sink);
        self.shared.wake();
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.wake();
        // Whoever reads standard output may have stopped reading: the process ends all the same.
        let _ = self.ended.recv_timeout(LAST_WORDS);
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(gatherer) = self.gatherer.get() {
            gatherer.unpark();
        }
    }

    /// Takes what is queued, again and again, and hands its lines over to be written.
    fn gather_all(&self, writer: &SyncSender<Lines>) {
        let mut line_writer = LineWriter::default();
        let mut lines = Lines::default();
        loop {
            // Read before the queue: what was queued before the end was asked for is written.
            let closing = self.closing.load(Ordering::Acquire);
            let gathered = self.gather(&mut line_writer, &mut lines);
            let is_new_sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            if lines.count > 0 || is_new_sink {
                lines = match writer.try_send(lines) {
                    Ok(()) => Lines::default(),
                    Err(TrySendError::Full(lines) | TrySendError::Disconnected(lines)) => lines,
                };
            }
            match (gathered, lines.count) {
                (0, 0) if closing => return,
                (0, 0) => self.sleep(),
                // The process ends all the same, see `LAST_WORDS`.
                (0, _) if closing => return drop(writer.send(lines)),
                (0, _) => thread::park_timeout(AGAIN),
                _ if !closing && self.queue.len() < QUEUE / 4 => thread::park_timeout(GATHER),
                _ => {}
            }
        }
    }

    /// Serialises some of what is queued, and puts refusals on record; how many records that were.
    fn gather(&self, writer: &mut LineWriter, lines: &mut Lines) -> usize {
        let is_written = !self.off.load(Ordering::Relaxed);
        let mut gathered = 0;
        while gathered < BATCH
            && let Some(record) = self.queue.pop()
        {
            if is_written && lines.bytes.len() < BACKLOG {
                writer.write(&record, &mut lines.bytes);
                lines.count += 1;
            } else if is_written {
                self.stats.log_dropped.fetch_add(1, Ordering::Relaxed);
            }
            self.decisions.keep(record);
            gathered += 1;
        }
        gathered
    }

    /// Writes what comes, as long as somebody gathers.
    fn write_all(&self, gathered: &Receiver<Lines>) {
        let mut sink = Sink::Off;
        let mut failing = false;
        while let Ok(Lines { bytes, count }) = gathered.recv() {
            if let Some(next) = self.sink.lock().unwrap_or_else(PoisonError::into_inner).take() {
                sink = next;
            }
            let written = sink.write(&bytes);
            if written.is_err() {
                self.stats.log_dropped.fetch_add(count, Ordering::Relaxed);
            }
            failing = report(written, failing);
        }
    }

    /// Sleeps until a record, a new sink or the end comes.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::Release);
        // A record that came before the store saw a writer awake; do not sleep on it. One that comes just now may still
        // be overlooked, and waits a second.
        if self.queue.is_empty() {
            thread::park_timeout(Duration::from_secs(1));
        }
        self.asleep.store(false, Ordering::Release);
    }
}

/// Tells of a failing log once, and once when it works again.
fn report(written: io::Result<()>, failing: bool) -> bool {
    match written {
        Err(error) if !failing => {
            tracing::error!(%error, "the access log cannot be written; its lines are lost until it can");
            true
        }
        Ok(()) if failing => {
            tracing::info!("the access log is written again");
            false
        }
        Ok(()) | Err(_) => failing,
    }
}
