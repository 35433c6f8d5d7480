//! How long a large configuration takes to be served, first and when it is changed, and what those
//! notice who are being served meanwhile.

use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::addresses;
use crate::backend::Backend;
use crate::client::Connection;
use crate::front::Front;
use crate::load::Verdict;
use crate::measures::{micros, routes};
use crate::options::Options;
use crate::peers::{Configured, Gateway, Job, gatepost};
use crate::process::Launch;
use crate::report::{Samples, progress, table};
use crate::scratch::Scratch;

const ROUTES: usize = 10_000;
const NETWORKS: usize = 1_000;
/// The route that tells which configuration answers.
const PATH: &str = "/generation";
/// Reloads of each kind a round.
const REPEATS: usize = 3;
/// How long a reload may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long is watched before the first and after each reload, so that they do not overlap.
const SETTLE: Duration = Duration::from_secs(2);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let backend = Backend::start(options.cpus.load)?;
    let networks = addresses::with_client(NETWORKS)?;
    let job = Job { networks, backend: backend.port, clients: 1, front: Front::PLAIN };
    let mut times = Times::default();
    for round in 1..=options.rounds {
        progress(&format!("reload, round {round}"));
        times.round(options, &job)?;
    }
    Ok(times.report())
}

/// All in milliseconds.
#[derive(Default)]
struct Times {
    start: Samples,
    from_write: Samples,
    from_signal: Samples,
    slowest_quiet: Samples,
    slowest_reloading: Samples,
}

impl Times {
    fn round(&mut self, options: &Options, job: &Job) -> Outcome<()> {
        let mut file = File { job, port: 0, generation: 0 };
        let gateway = Gateway::start(options, &job.front, PATH, Verdict::Admitted, &file.body(), |directory, port| {
            file.port = port;
            directory.write("allowed.txt", &job.networks.join("\n"))?;
            let path = directory.write(gatepost::FILE, &file.text())?;
            Ok(Configured {
                launch: Launch::new(&options.gatepost).arg("run").arg(path),
                access_log: directory.path().join("access.log"),
            })
        })?;
        self.start.0.push(millis(gateway.ready_after));

        let mut watch = Watch { connection: Connection::open(gateway.port, &job.front)?, slowest: 0.0 };
        watch.settle(&file.body())?;
        self.slowest_quiet.0.push(watch.slowest);
        watch.slowest = 0.0;
        for _ in 0..REPEATS {
            for (signal, times) in [(false, &mut self.from_write), (true, &mut self.from_signal)] {
                let old = file.body();
                file.generation += 1;
                let replace = file.staged(gateway.directory())?;
                let began = Instant::now();
                replace()?;
                if signal {
                    gateway.group().signal("HUP")?;
                }
                let complaint = |error: Box<dyn std::error::Error>| gateway.group().complaint(&error.to_string());
                watch.until(&old, &file.body()).map_err(complaint)?;
                times.0.push(millis(began.elapsed()));
                watch.settle(&file.body()).map_err(complaint)?;
            }
        }
        self.slowest_reloading.0.push(watch.slowest);
        drop(watch);
        gateway.stop()?;
        Ok(())
    }

    fn report(&self) -> String {
        let row = |name: &str, samples: &Samples| vec![name.to_owned(), samples.spread(1)];
        table(
            "A configuration of 10,000 routes",
            &["", "milliseconds"],
            &[
                row("start: from exec to the first answer", &self.start),
                row("reload: from the changed file to the first new answer", &self.from_write),
                row("reload: the same, with SIGHUP right after the change", &self.from_signal),
                row("slowest answer while nothing changes", &self.slowest_quiet),
                row("slowest answer during and after reloads", &self.slowest_reloading),
            ],
        )
    }
}

/// The configuration file and which version of it is current.
struct File<'a> {
    job: &'a Job,
    port: u16,
    generation: usize,
}

impl File<'_> {
    fn body(&self) -> String {
        format!("generation {}", self.generation)
    }

    fn text(&self) -> String {
        let mut text = gatepost::preamble(self.port, None);
        for key in routes::keys(ROUTES) {
            gatepost::forwarding(&mut text, &key, self.job.backend);
        }
        let body = self.body();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"
[route."GET {PATH}"]
open    = true
respond = {{ status = 200, body = "{body}" }}
"#
        );
        text
    }

    /// Writes the file beside the current one; what is returned puts it in place at once, as those
    /// who deploy configuration do.
    fn staged(&self, directory: &Scratch) -> Outcome<impl FnOnce() -> Outcome<()>> {
        let apart = directory.path().join("staged");
        std::fs::create_dir_all(&apart)?;
        let from = apart.join(gatepost::FILE);
        let to = directory.path().join(gatepost::FILE);
        std::fs::write(&from, self.text())?;
        Ok(move || Ok(std::fs::rename(from, to)?))
    }
}

/// One connection, asked again and again. That it stays open is part of what is tested.
struct Watch {
    connection: Connection,
    /// In milliseconds.
    slowest: f64,
}

impl Watch {
    /// Looks until the new body comes instead of the old one.
    fn until(&mut self, old: &str, new: &str) -> Outcome<()> {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let body = self.look()?;
            if body == new {
                return Ok(());
            }
            if body != old {
                return Err(format!("neither {old:?} nor {new:?} but {body:?}").into());
            }
            sleep(PAUSE);
        }
        Err(format!("still {old:?} after {LIMIT:?}").into())
    }

    /// Looks for a while; nothing may change.
    fn settle(&mut self, body: &str) -> Outcome<()> {
        let deadline = Instant::now() + SETTLE;
        while Instant::now() < deadline {
            let seen = self.look()?;
            if seen != body {
                return Err(format!("{seen:?} although {body:?} was there already").into());
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    fn look(&mut self) -> Outcome<String> {
        let began = Instant::now();
        let reply = self.connection.get(PATH)?;
        self.slowest = self.slowest.max(millis(began.elapsed()));
        if reply.status != Verdict::Admitted.status() {
            return Err(format!("an answer went wrong: {reply:?}").into());
        }
        Ok(reply.body)
    }
}

fn millis(time: Duration) -> f64 {
    micros(time) / 1e3
}
