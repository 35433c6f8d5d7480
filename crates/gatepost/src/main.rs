//! The `gatepost` command.

mod admin;
mod ask;
mod books;
mod check;
mod cli;
mod demo;
mod diff;
mod exit;
mod key;
mod lines;
mod lock;
mod recorded;
mod replay;
mod run;
mod simulate;
mod top;
mod usage;
mod watch;
mod why;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, Command, PolicyCommand};
use crate::exit::Failure;

/// Requests make and drop many small things; this costs less of each than the C library's allocator.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::read();
    start_logging();
    match obey(cli) {
        Ok(code) => code,
        Err(failure) => {
            let color = io::stderr().is_terminal();
            // Nobody is left to tell that standard error cannot be written.
            let _ = writeln!(io::stderr(), "{}", failure.render(color));
            failure.code()
        }
    }
}

fn obey(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { config, command } = cli;
    match command {
        Command::Run { file } => run::run(&cli::file(config, file)),
        Command::Check { file } => check::check(&cli::file(config, file)),
        Command::Why(question) => return why::why(&cli::file(config, None), *question),
        Command::Diff(comparison) => return diff::diff(&comparison),
        Command::Replay(again) => return replay::replay(config, again),
        Command::Key { command } => key::key(&cli::file(config, None), command),
        Command::Usage(question) => usage::usage(&cli::file(config, None), question),
        Command::Policy { command: PolicyCommand::Simulate { file } } => return simulate::simulate(file.as_deref()),
        Command::Schema => print(&format!("{:#}\n", gatepost_config::schema())),
        Command::Completions { shell } => print(&cli::completions(shell)),
        Command::Demo => demo::demo(),
        Command::DemoBackend { listen } => demo::backend(listen),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// A reader that has closed its end has read what it wanted.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::CannotRun(format!("cannot write to standard output: {error}"))),
    }
}

/// Says something besides what was asked for.
fn note(text: &str) {
    // Nobody is left to tell that standard error cannot be written.
    let _ = writeln!(io::stderr(), "{text}");
}

/// What happens goes to standard error; standard output belongs to the access log.
fn start_logging() {
    let wanted = std::env::var("GATEPOST_LOG").ok();
    let level = wanted.as_deref().map_or(Ok(tracing::Level::INFO), str::parse);
    let ours = *level.as_ref().unwrap_or(&tracing::Level::INFO);
    // What strangers do wrong in HTTP/2 stands in the access log; `h2` would fill this one with it.
    let h2 = if ours > tracing::Level::INFO { ours } else { tracing::Level::ERROR };
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_filter(Targets::new().with_default(ours).with_target("h2", h2));
    tracing_subscriber::registry().with(lines).init();
    if level.is_err() {
        tracing::warn!("GATEPOST_LOG is one of error, warn, info, debug and trace; it counts as info");
    }
}
