//! Programs the harness starts: pinned to a CPU, each in a process group of its own, never left
//! running.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Outcome, minder};

/// How long a program may take to end after it was asked to.
const STOP: Duration = Duration::from_secs(10);
/// The same, when a run has failed and all that matters is that nothing stays behind.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// A program and its arguments, ready to be started.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

impl Launch {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new() }
    }

    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts the program on one CPU. What it prints goes to `stdout` and `stderr` in `directory`.
    pub(crate) fn start(&self, cpu: usize, directory: &Path) -> Outcome<Group> {
        let child = Command::new("taskset")
            .arg("-c")
            .arg(cpu.to_string())
            .arg(&self.program)
            .args(&self.arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(appending(&directory.join("stdout"))?)
            .stderr(appending(&directory.join("stderr"))?)
            .spawn()
            .map_err(|error| format!("taskset (of util-linux): {error}"))?;
        minder::group_started(child.id());
        Ok(Group {
            child,
            started: Instant::now(),
            name: self.program.display().to_string(),
            directory: directory.to_owned(),
            ended: None,
        })
    }
}

fn appending(path: &Path) -> Outcome<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    Ok(file.map_err(|error| format!("{}: {error}", path.display()))?)
}

/// A running program with all processes it started itself. Killed on drop.
pub(crate) struct Group {
    child: Child,
    started: Instant,
    name: String,
    directory: PathBuf,
    ended: Option<ExitStatus>,
}

impl Group {
    /// The first process; its id is that of the group.
    pub(crate) fn leader(&self) -> u32 {
        self.child.id()
    }

    /// Time since the program was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the program has printed so far.
    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(self.directory.join("stdout")).unwrap_or_default()
    }

    /// An error that says what the program itself had to say.
    pub(crate) fn complaint(&self, problem: &str) -> String {
        let said = std::fs::read_to_string(self.directory.join("stderr")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n    ");
        format!("{}: {problem}\n    {tail}", self.name)
    }

    /// Whether the first process has ended, and how.
    pub(crate) fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Waits for the program to end by itself.
    pub(crate) fn wait(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(self.complaint(&format!("still running after {limit:?}")).into());
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Sends the first process a signal, for instance `HUP`.
    pub(crate) fn signal(&self, name: &str) -> Outcome<()> {
        send(name, &self.leader().to_string())
    }

    /// Asks the program to end, as an operator would, so that it writes its log to the end.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        if self.ended()?.is_none() {
            self.signal("TERM")?;
            self.wait(STOP)?;
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Asked first: a program that ends by itself waits for the processes it started.
        // Whatever goes wrong here, the kill that follows is what counts.
        if self.ended.is_none() && self.signal("TERM").is_ok() {
            let _ = self.wait(LAST_CHANCE);
        }
        kill_group(&self.leader().to_string());
        if self.ended.is_none() {
            let _ = self.child.wait();
        }
        minder::group_ended(self.leader());
    }
}

/// Kills a process group; that it has ended already is no error.
pub(crate) fn kill_group(leader: &str) {
    let _ = send("KILL", &format!("-{leader}"));
}

/// Signals through the `kill` program: the standard library has no call for it.
fn send(signal: &str, target: &str) -> Outcome<()> {
    let status = Command::new("kill")
        .args(["-s", signal, "--", target])
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("kill: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("kill -s {signal} {target} failed").into()) }
}
