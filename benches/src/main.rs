//! Measures Gatepost: side by side with nginx and HAProxy, and against the size of its own
//! configuration. `README.md` beside this package says what the numbers mean.

mod accounting;
mod addresses;
mod backend;
mod certificate;
mod client;
mod front;
mod load;
mod measures;
mod minder;
mod options;
mod peers;
mod process;
mod report;
mod scratch;
mod surroundings;

use std::process::ExitCode;

use measures::Measure;
use options::Options;
use peers::Peer;

/// What every fallible step of the harness returns: a failure is text for the person who ran it.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == [minder::ARGUMENT] {
        minder::mind();
        return ExitCode::SUCCESS;
    }
    let mut options = match Options::parse(&arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&mut options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("failed: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &mut Options) -> Outcome<()> {
    let minder = minder::start()?;
    let outcome = surroundings::prepare(options).and_then(|()| {
        println!("{}\n", surroundings::description(options));
        for measure in &options.measures {
            if measure.needs_gatepost() && !options.peers.contains(&Peer::Gatepost) {
                report::progress(&format!("{measure}: skipped, gatepost is not among the peers"));
                continue;
            }
            println!("{}\n", measure.run(options)?);
        }
        Ok(())
    });
    minder.dismiss();
    outcome
}

impl Measure {
    fn run(self, options: &Options) -> Outcome<String> {
        match self {
            Self::SideBySide => measures::side_by_side::run(options),
            Self::Handshakes => measures::handshakes::run(options),
            Self::Routes => measures::routes::run(options),
            Self::Networks => measures::networks::run(options),
            Self::Entry => measures::entry::run(options),
            Self::Callers => measures::callers::run(options),
            Self::Idle => measures::idle::run(options),
            Self::Reload => measures::reload::run(options),
        }
    }
}
