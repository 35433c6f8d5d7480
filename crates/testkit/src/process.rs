use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use tokio::time::{Instant, sleep};

use crate::eventually::PATIENCE;

/// A running program, and what it has said so far. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
}

type Lines = Arc<Mutex<Vec<String>>>;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);

impl Process {
    /// Starts `program` in `directory`. Tests of a package pass its `env!("CARGO_BIN_EXE_…")`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(program: impl AsRef<Path>, directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        command.current_dir(directory).args(arguments);
        Self::spawn(command)
    }

    /// Starts what `command` says, but for its input and output.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            collect(child.stdout.take().expect("a piped output"), Arc::clone(&stdout)),
            collect(child.stderr.take().expect("a piped output"), Arc::clone(&stderr)),
        ];
        Self { child, stdout, stderr, readers }
    }

    /// Starts what `command` says with a terminal of its own for standard error. Lines from there end with `\r`.
    ///
    /// # Panics
    /// It cannot be started, or there is no terminal to be had.
    #[must_use]
    pub fn spawn_on_terminal(mut command: Command) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        unlockpt(&terminal).expect("a new terminal");
        let end = ioctl_tiocgptpeer(&terminal, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(end.expect("the other end of a terminal"));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        // Its end of the terminal is held by the child only: reading ends when the child does.
        drop(command);
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            collect(child.stdout.take().expect("a piped output"), Arc::clone(&stdout)),
            collect(File::from(terminal), Arc::clone(&stderr)),
        ];
        Self { child, stdout, stderr, readers }
    }

    /// The lines on standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        copy(&self.stdout)
    }

    /// The lines on standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        copy(&self.stderr)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of standard error or standard output with `text` in it.
    ///
    /// # Panics
    /// None comes within `deadline`, or the process ends without it.
    pub async fn wait_for_line(&mut self, text: &str, deadline: Duration) -> String {
        self.wait_for_lines(text, 1, deadline).await.remove(0)
    }

    /// Waits for `count` lines with `text` in them, counted from the start of the process.
    ///
    /// # Panics
    /// They do not come within `deadline`, or the process ends without them.
    pub async fn wait_for_lines(&mut self, text: &str, count: usize, deadline: Duration) -> Vec<String> {
        let end = Instant::now() + deadline;
        loop {
            // Asked first: what a process that has ended said is in the pipes, and read below.
            let over = self.has_ended();
            let found: Vec<String> =
                self.stderr().into_iter().chain(self.stdout()).filter(|line| line.contains(text)).collect();
            if found.len() >= count {
                return found;
            }
            assert!(!over, "ended without {count} lines with {text:?}:\n{}", self.said());
            assert!(Instant::now() < end, "no {count} lines with {text:?} within {deadline:?}:\n{}", self.said());
            sleep(LOOK).await;
        }
    }

    /// Where its first listener is, once it says so; in the clear or not.
    pub async fn address(&mut self) -> SocketAddr {
        let line = self.wait_for_line("listening on http", PATIENCE).await;
        address_in(&line)
    }

    /// Where the listener `name` is, once it says so.
    pub async fn address_of(&mut self, name: &str) -> SocketAddr {
        // The line names the listener behind the address, so both are looked for.
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self.wait_for_line("listening on http", PATIENCE).await;
            let named = format!("({name})");
            let of_it = self.stderr().into_iter().find(|line| line.contains("listening on") && line.contains(&named));
            if let Some(line) = of_it {
                return address_in(&line);
            }
            assert!(Instant::now() < end, "no listener {name} after {line:?}");
            sleep(LOOK).await;
        }
    }

    /// Where its admin listener is, once it says so.
    pub async fn admin_address(&mut self) -> SocketAddr {
        let line = self.wait_for_line("admin on http://", PATIENCE).await;
        address_in(&line)
    }

    /// Sends a signal: `"HUP"`, `"INT"`, `"TERM"`, `"KILL"`, `"STOP"` or `"CONT"`.
    ///
    /// # Panics
    /// It is none of these, or the process is gone.
    pub fn signal(&self, name: &str) {
        let signal = match name.strip_prefix("SIG").unwrap_or(name) {
            "HUP" => Signal::HUP,
            "INT" => Signal::INT,
            "TERM" => Signal::TERM,
            "KILL" => Signal::KILL,
            "STOP" => Signal::STOP,
            "CONT" => Signal::CONT,
            _ => panic!("no signal {name}"),
        };
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Signals it again and again until it ends, as somebody at a terminal would; the exit code as of
    /// [`Process::wait_exit`].
    ///
    /// # Panics
    /// It does not end within `deadline`.
    pub async fn insist(&mut self, signal: &str, deadline: Duration) -> i32 {
        let end = Instant::now() + deadline;
        while !self.has_ended() && Instant::now() < end {
            self.signal(signal);
            sleep(Duration::from_millis(150)).await;
        }
        self.wait_exit(LOOK).await
    }

    /// Waits for its end; the exit code, or 128 and the signal's number as a shell has it.
    ///
    /// # Panics
    /// It does not end within `deadline`.
    pub async fn wait_exit(&mut self, deadline: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let end = Instant::now() + deadline;
        while !self.has_ended() {
            assert!(Instant::now() < end, "still running after {deadline:?}:\n{}", self.said());
            sleep(LOOK).await;
        }
        let status = self.child.wait().expect("a child can be waited for");
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }

    /// Everything that it said, for a message.
    #[must_use]
    pub fn said(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout().join("\n"), self.stderr().join("\n"))
    }

    /// Whether it has ended and all that it said has been read.
    fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("a child can be asked").is_some();
        ended && self.readers.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(output: impl Read + Send + 'static, lines: Lines) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            line.clear();
        }
    })
}

fn copy(lines: &Lines) -> Vec<String> {
    lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("://").expect("a URL");
    let text = rest.split_whitespace().next().unwrap_or_default().trim_end_matches('/');
    text.parse().unwrap_or_else(|error| panic!("{text:?} is no address: {error}"))
}
