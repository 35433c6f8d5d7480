//! Cleans up after a harness that could not do so itself: Ctrl-C, a panic, `kill -9`.
//!
//! The minder is a second process of this program, in a process group of its own so that Ctrl-C
//! does not reach it. It is told over a pipe which process groups run and which directories exist.
//! The pipe closes when the harness is gone, however it went; whatever is left then is removed.

use std::collections::BTreeSet;
use std::io::{BufRead, Write, stdin};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::{Outcome, process};

/// The one argument that makes this program a minder.
pub(crate) const ARGUMENT: &str = "--minder";

static PIPE: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();

/// The minder's process, as the harness sees it.
pub(crate) struct Minder(Child);

/// Starts the minder. Once, before anything that needs minding.
pub(crate) fn start() -> Outcome<Minder> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ARGUMENT)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let pipe = child.stdin.take();
    PIPE.set(Mutex::new(pipe)).map_err(|_| "the minder was started twice")?;
    Ok(Minder(child))
}

impl Minder {
    /// Lets the minder remove what is left, if anything, and waits until it has.
    pub(crate) fn dismiss(mut self) {
        if let Some(mut pipe) = PIPE.get().and_then(|pipe| pipe.lock().ok()) {
            pipe.take();
        }
        // Nothing depends on how the minder ended.
        let _ = self.0.wait();
    }
}

pub(crate) fn group_started(leader: u32) {
    tell(&format!("+group {leader}"));
}

pub(crate) fn group_ended(leader: u32) {
    tell(&format!("-group {leader}"));
}

pub(crate) fn directory_made(path: &Path) {
    tell(&format!("+directory {}", path.display()));
}

pub(crate) fn directory_removed(path: &Path) {
    tell(&format!("-directory {}", path.display()));
}

fn tell(line: &str) {
    if let Some(mut pipe) = PIPE.get().and_then(|pipe| pipe.lock().ok())
        && let Some(pipe) = pipe.as_mut()
    {
        // Without a minder the harness still cleans up what it can.
        let _ = writeln!(pipe, "{line}");
    }
}

/// What the second process does.
pub(crate) fn mind() {
    let mut groups = BTreeSet::new();
    let mut directories = BTreeSet::new();
    for line in stdin().lock().lines().map_while(Result::ok) {
        match line.split_once(' ') {
            Some(("+group", leader)) => drop(groups.insert(leader.to_owned())),
            Some(("-group", leader)) => drop(groups.remove(leader)),
            Some(("+directory", path)) => drop(directories.insert(PathBuf::from(path))),
            Some(("-directory", path)) => drop(directories.remove(Path::new(path))),
            _ => {}
        }
    }
    for leader in groups {
        process::kill_group(&leader);
    }
    for directory in directories {
        // It may be gone already, which is what is wanted.
        let _ = std::fs::remove_dir_all(directory);
    }
}
