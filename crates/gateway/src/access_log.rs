//! The access log: a bounded queue from the data plane to one thread that serialises and writes; and puts on record what
//! was refused.
//!
//! A worker never waits for the log: a record that finds the queue full is dropped and counted. The writer is woken
//! once, not per record, and takes all that came since.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
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

/// Bytes written at once, at most.
const BATCH: usize = 256 * 1024;

/// The data plane's end of the log.
#[derive(Debug, Clone)]
pub(crate) struct LogSender(Arc<Shared>);

/// The writer's thread. Dropping it writes what is queued and ends it.
#[derive(Debug)]
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<Box<Record>>,
    stats: Arc<Stats>,
    decisions: Arc<Decisions>,
    writer: std::sync::OnceLock<Thread>,
    asleep: AtomicBool,
    closing: AtomicBool,
    /// Whether lines go nowhere, so that records need not be queued.
    off: AtomicBool,
    /// What to write to from now on; taken by the writer.
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
            writer: std::sync::OnceLock::new(),
            asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            off: AtomicBool::new(matches!(sink, Sink::Off)),
            sink: std::sync::Mutex::new(Some(sink)),
        });
        let (running, ended) = sync_channel::<()>(0);
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("access-log".to_owned()).spawn(move || {
                shared.run();
                drop(running);
            })?
        };
        let _ = shared.writer.set(thread.thread().clone());
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
        *self.shared.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(sink);
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
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn run(&self) {
        let mut sink = Sink::Off;
        let mut writer = LineWriter::default();
        let mut lines = Vec::with_capacity(BATCH);
        let mut failing = false;
        loop {
            // Read before the queue: what was queued before the end was asked for is written.
            let closing = self.closing.load(Ordering::Acquire);
            if let Some(next) = self.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
                sink = next;
            }
            let gathered = self.gather(!matches!(sink, Sink::Off), &mut writer, &mut lines);
            if gathered == 0 {
                if closing {
                    return;
                }
                self.sleep();
                continue;
            }
            let written = sink.write(&lines);
            if written.is_err() {
                self.stats.log_dropped.fetch_add(gathered, Ordering::Relaxed);
            }
            failing = report(written, failing);
            lines.clear();
            if !closing && self.queue.len() < QUEUE / 4 {
                thread::park_timeout(GATHER);
            }
        }
    }

    /// Serialises what is queued, and puts refusals on record; how many records that were.
    fn gather(&self, is_written: bool, writer: &mut LineWriter, lines: &mut Vec<u8>) -> u64 {
        let mut gathered = 0;
        while lines.len() < BATCH
            && gathered < QUEUE as u64
            && let Some(record) = self.queue.pop()
        {
            if is_written {
                writer.write(&record, lines);
            }
            self.decisions.keep(record);
            gathered += 1;
        }
        gathered
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
