//! Load: wrk, one thread, as many requests as the gateway will take.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::Outcome;
use crate::process::Launch;
use crate::scratch::Scratch;

/// Connections that wrk keeps open; each has one request on its way at any time.
pub(crate) const CONNECTIONS: usize = 64;

const TOTALS: &str = include_str!("../wrk/totals.lua");
const ROTATE: &str = include_str!("../wrk/rotate.lua");

/// What the gateway is expected to do with every single request of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Admitted,
    Refused,
}

impl Verdict {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Admitted => 200,
            Self::Refused => 403,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admitted => "admitted",
            Self::Refused => "refused",
        })
    }
}

/// What is asked for: one path, or several in turn.
pub(crate) struct Load {
    paths: Vec<String>,
    directory: Scratch,
}

/// What wrk counted.
#[derive(Debug, PartialEq)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) time: Duration,
    /// Answers that were neither 2xx nor 3xx.
    pub(crate) refused: u64,
    /// Connections that failed, broke or ran out of time.
    pub(crate) broken: u64,
    pub(crate) p99: Duration,
}

impl Load {
    pub(crate) fn new(paths: Vec<String>) -> Outcome<Self> {
        let directory = Scratch::new()?;
        let mut script = TOTALS.to_owned();
        if paths.len() > 1 {
            script += "\npaths = {\n";
            for path in &paths {
                script += &format!("  \"{path}\",\n");
            }
            script += "}\n\n";
            script += ROTATE;
        }
        directory.write("load.lua", &script)?;
        Ok(Self { paths, directory })
    }

    /// One of the paths, to try before a run.
    pub(crate) fn a_path(&self) -> &str {
        self.paths.first().map_or("/", String::as_str)
    }

    /// Loads the gateway on `port` for some seconds, from one CPU.
    pub(crate) fn run(&self, port: u16, seconds: u64, cpu: usize) -> Outcome<Totals> {
        let run = Scratch::new()?;
        let mut wrk = Launch::new("wrk")
            .arg("--threads=1")
            .arg(format!("--connections={CONNECTIONS}"))
            .arg(format!("--duration={seconds}s"))
            .arg("--latency")
            .arg("--timeout=5s")
            .arg("--script")
            .arg(self.script())
            .arg(format!("http://127.0.0.1:{port}{}", self.a_path()))
            .start(cpu, run.path())?;
        let status = wrk.wait(Duration::from_secs(seconds + 15))?;
        if !status.success() {
            return Err(wrk.complaint(&status.to_string()).into());
        }
        let said = wrk.stdout();
        let totals = said.lines().find_map(Totals::read);
        Ok(totals.ok_or_else(|| format!("wrk printed no totals:\n{said}"))?)
    }

    fn script(&self) -> std::path::PathBuf {
        Path::join(self.directory.path(), "load.lua")
    }
}

impl Totals {
    /// Reads the line that `wrk/totals.lua` writes.
    fn read(line: &str) -> Option<Self> {
        let fields = line.strip_prefix("totals ")?;
        let field = |name: &str| -> Option<u64> {
            let named = |field: &str| Some(field.strip_prefix(name)?.strip_prefix('=')?.parse());
            fields.split(' ').find_map(named)?.ok()
        };
        Some(Self {
            requests: field("requests")?,
            time: Duration::from_micros(field("microseconds")?),
            refused: field("refused")?,
            broken: field("broken")?,
            p99: Duration::from_micros(field("p99")?),
        })
    }

    /// Fails unless every request met the same, expected end.
    pub(crate) fn check(&self, verdict: Verdict) -> Outcome<()> {
        let expected = match verdict {
            Verdict::Admitted => 0,
            Verdict::Refused => self.requests,
        };
        if self.requests == 0 || self.broken > 0 || self.refused != expected {
            return Err(format!(
                "all requests should have been {verdict}: {} answers, {} of them neither 2xx \
                 nor 3xx, {} broken connections",
                self.requests, self.refused, self.broken
            )
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_and_checked() {
        let line = "totals requests=10 microseconds=2000 refused=10 broken=0 p99=30";
        let totals = Totals::read(line).unwrap();
        assert_eq!((totals.requests, totals.p99), (10, Duration::from_micros(30)));
        assert!(totals.check(Verdict::Refused).is_ok());
        assert!(totals.check(Verdict::Admitted).is_err());
        let broken = Totals { refused: 0, broken: 1, ..totals };
        assert!(broken.check(Verdict::Admitted).is_err());
    }
}
