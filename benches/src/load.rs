//! Load: as many requests as the gateway will take, from one thread. HTTP/1.1 is spoken by wrk, HTTP/2 by h2load.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::Outcome;
use crate::front::Http;
use crate::peers::Gateway;
use crate::process::Launch;
use crate::scratch::Scratch;

/// Requests on their way at any time. In HTTP/1.1 each has a connection of its own.
pub(crate) const CONNECTIONS: usize = 64;
/// How many of them share a connection of HTTP/2.
const STREAMS: usize = 8;

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

/// A body that is sent with every request, and a header that goes with it. Neither has a quote or a backslash in it.
pub(crate) struct Post {
    pub(crate) header: (String, String),
    pub(crate) body: String,
}

/// What is asked for: one path, or several in turn.
pub(crate) struct Load {
    paths: Vec<String>,
    directory: Scratch,
}

/// What was counted.
#[derive(Debug, PartialEq)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) time: Duration,
    /// Answers that were neither 2xx nor 3xx.
    pub(crate) refused: u64,
    /// Connections and streams that failed, broke or ran out of time.
    pub(crate) broken: u64,
    /// h2load does not say.
    pub(crate) p99: Option<Duration>,
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

    /// A load of HTTP/1.1 that asks for one path again and again, with a header.
    pub(crate) fn with_header(path: &str, (name, value): (&str, &str)) -> Outcome<Self> {
        let directory = Scratch::new()?;
        directory.write("load.lua", &format!("{TOTALS}\nwrk.headers[\"{name}\"] = \"{value}\"\n"))?;
        Ok(Self { paths: vec![path.to_owned()], directory })
    }

    /// A load of HTTP/1.1 that sends the same body to one path again and again.
    pub(crate) fn posting(path: &str, post: &Post) -> Outcome<Self> {
        let directory = Scratch::new()?;
        let Post { header: (name, value), body } = post;
        let post = format!("wrk.method = \"POST\"\nwrk.headers[\"{name}\"] = \"{value}\"\nwrk.body = \"{body}\"\n");
        directory.write("load.lua", &format!("{TOTALS}\n{post}"))?;
        Ok(Self { paths: vec![path.to_owned()], directory })
    }

    /// One of the paths, to try before a run.
    pub(crate) fn a_path(&self) -> &str {
        self.paths.first().map_or("/", String::as_str)
    }

    /// Loads a gateway for some seconds, from one CPU.
    pub(crate) fn run(&self, gateway: &Gateway, seconds: u64, cpu: usize) -> Outcome<Totals> {
        let base = format!("{}://127.0.0.1:{}", gateway.front.scheme(), gateway.port);
        let (launch, read): (_, fn(&str) -> Option<Totals>) = match gateway.front.http {
            Http::One => (self.wrk(&base, seconds), Totals::of_wrk),
            Http::Two => (self.h2load(&base, seconds), Totals::of_h2load),
        };
        let run = Scratch::new()?;
        let mut load = launch.start(cpu, run.path())?;
        let status = load.wait(Duration::from_secs(seconds + 15))?;
        if !status.success() {
            return Err(load.complaint(&status.to_string()).into());
        }
        let said = load.stdout();
        Ok(read(&said).ok_or_else(|| format!("the load's totals are not understood:\n{said}"))?)
    }

    fn wrk(&self, base: &str, seconds: u64) -> Launch {
        Launch::new("wrk")
            .arg("--threads=1")
            .arg(format!("--connections={CONNECTIONS}"))
            .arg(format!("--duration={seconds}s"))
            .arg("--latency")
            .arg("--timeout=5s")
            .arg("--script")
            .arg(Path::join(self.directory.path(), "load.lua"))
            .arg(format!("{base}{}", self.a_path()))
    }

    fn h2load(&self, base: &str, seconds: u64) -> Launch {
        let launch = Launch::new("h2load")
            .arg("--threads=1")
            .arg(format!("--clients={}", CONNECTIONS / STREAMS))
            .arg(format!("--max-concurrent-streams={STREAMS}"))
            .arg(format!("--duration={seconds}s"))
            .arg("--connection-inactivity-timeout=5s");
        self.paths.iter().fold(launch, |launch, path| launch.arg(format!("{base}{path}")))
    }
}

impl Totals {
    /// Reads the line that `wrk/totals.lua` writes.
    fn of_wrk(said: &str) -> Option<Self> {
        let fields = said.lines().find_map(|line| line.strip_prefix("totals "))?;
        let field = |name: &str| -> Option<u64> {
            let named = |field: &str| Some(field.strip_prefix(name)?.strip_prefix('=')?.parse());
            fields.split(' ').find_map(named)?.ok()
        };
        Some(Self {
            requests: field("requests")?,
            time: Duration::from_micros(field("microseconds")?),
            refused: field("refused")?,
            broken: field("broken")?,
            p99: Some(Duration::from_micros(field("p99")?)),
        })
    }

    /// Reads h2load's summary. Broken is every stream without an answer, but for those that were on their way when the
    /// time was over, and every answer of 5xx.
    fn of_h2load(said: &str) -> Option<Self> {
        let line = |start: &str| said.lines().find_map(|line| line.strip_prefix(start));
        let number = |line: &str, name: &str| -> Option<u64> {
            let named = |part: &str| part.trim().strip_suffix(name)?.trim().parse().ok();
            line.split(',').find_map(named)
        };
        // The time itself is written in several units.
        let rate: f64 = line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()?;
        let requests = line("requests: ")?;
        let done = number(requests, "done")?;
        let lost = number(requests, "errored")? + number(requests, "timeout")?;
        let on_their_way = number(requests, "started")?.checked_sub(done)?;
        let vanished = on_their_way.saturating_sub(CONNECTIONS as u64);
        Some(Self {
            requests: done,
            time: Duration::try_from_secs_f64(done as f64 / rate).unwrap_or_default(),
            refused: number(requests, "failed")?.checked_sub(lost)?,
            broken: lost + vanished + number(line("status codes: ")?, "5xx")?,
            p99: None,
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
                 nor 3xx, {} broken connections or streams",
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
    fn totals_of_wrk_are_read_and_checked() {
        let line = "totals requests=10 microseconds=2000 refused=10 broken=0 p99=30";
        let totals = Totals::of_wrk(line).unwrap();
        assert_eq!((totals.requests, totals.p99), (10, Some(Duration::from_micros(30))));
        assert!(totals.check(Verdict::Refused).is_ok());
        assert!(totals.check(Verdict::Admitted).is_err());
        let broken = Totals { refused: 0, broken: 1, ..totals };
        assert!(broken.check(Verdict::Admitted).is_err());
    }

    #[test]
    fn totals_of_h2load_are_read_and_checked() {
        let said = |started: u32, failed: u32, errored: u32| {
            format!(
                "finished in 1.50s, 50.00 req/s, 2.30MB/s\nrequests: 100 total, {started} started, 100 done, \
                 {} succeeded, {failed} failed, {errored} errored, 0 timeout\n\
                 status codes: 0 2xx, 0 3xx, 100 4xx, 0 5xx\n",
                100 - failed
            )
        };
        let refused = Totals::of_h2load(&said(164, 100, 0)).unwrap();
        assert_eq!((refused.requests, refused.time, refused.p99), (100, Duration::from_secs(2), None));
        assert!(refused.check(Verdict::Refused).is_ok());
        assert!(refused.check(Verdict::Admitted).is_err());
        assert!(Totals::of_h2load(&said(164, 0, 0)).unwrap().check(Verdict::Admitted).is_ok());
        for lost in [said(164, 1, 1), said(165, 0, 0)] {
            assert!(Totals::of_h2load(&lost).unwrap().check(Verdict::Admitted).is_err(), "{lost}");
        }
    }
}
