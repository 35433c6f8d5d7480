//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::diff::Comparison;
use crate::key::KeyCommand;
use crate::replay::Again;
use crate::usage::UsageQuestion;
use crate::why::Question;

/// An API gateway with known addresses at both ends.
///
/// Exit codes: 0 done, 1 the configuration or input is wrong, 2 usage, 3 refused (`why`), 4 could not run (a port or the state directory is
/// taken, a permission is missing).
#[derive(Debug, Parser)]
#[command(name = "gatepost", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The configuration file [default: gatepost.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve. A changed file or SIGHUP reloads; SIGTERM finishes what is under way and stops
    Run {
        /// The configuration file [default: gatepost.toml]
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
    },
    /// Report every mistake in the configuration, and judge its examples
    Check {
        /// The configuration file [default: gatepost.toml]
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
    },
    /// Say what would become of a request, or what became of one, and by which rules
    ///
    /// Every meter counts as full; with `--live` the running gateway is asked, and those that it has count as they are. Exit code 0: it would be admitted; 3: refused.
    Why(Box<Question>),
    /// Say what a change of the configuration changes: who may newly enter, who no longer, and what routes do otherwise
    ///
    /// Exit code 0, whether anything differs or not; with `--exit-code` 3 if somebody may newly enter or no longer.
    Diff(Comparison),
    /// Judge the requests of an access log again, by a configuration
    ///
    /// Every meter counts as full. Exit code 0; with `--exit-code` 3 if a request would newly be admitted or refused.
    Replay(Again),
    /// Make, list and revoke the API keys of callers
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Say what callers used, by route and day, and what is left of their quotas and budgets
    ///
    /// The running gateway is asked; if none answers, its store is read.
    Usage(UsageQuestion),
    /// Try IAM policies
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Serve a small example with a backend of its own, to try things on
    Demo,
    /// Only the demo's backend: it answers with what it received
    DemoBackend {
        /// Where
        #[arg(long, default_value = "127.0.0.1:9000")]
        listen: SocketAddr,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Decide requests by policies: JSON lines in, JSON lines out
    ///
    /// A line is {"policy": …, "id", "action", "resource", "ctx": {"aws:SourceIp": …}, "principal", "identity"}, all but `policy` optional;
    /// its answer is {"id", "decision", "statement"}, or {"id", "error"} if the line is wrong. Exit code 1: a line was wrong.
    Simulate {
        /// Where the lines are [default: standard input]
        file: Option<PathBuf>,
    },
}

impl Cli {
    /// Reads the command line; exits with 2 where it makes no sense.
    pub(crate) fn read() -> Self {
        let cli = Self::parse();
        let takes_file = matches!(
            cli.command,
            Command::Run { .. }
                | Command::Check { .. }
                | Command::Why(_)
                | Command::Replay(_)
                | Command::Key { .. }
                | Command::Usage(_)
        );
        if cli.config.is_some() && !takes_file {
            let problem = "this command reads no configuration, so `--config` means nothing to it";
            Self::command().error(ErrorKind::ArgumentConflict, problem).exit();
        }
        cli
    }
}

/// The file that the options name.
pub(crate) fn file(config: Option<PathBuf>, positional: Option<PathBuf>) -> PathBuf {
    positional.or(config).unwrap_or_else(|| "gatepost.toml".into())
}

pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gatepost", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
