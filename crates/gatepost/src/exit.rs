//! How the command fails, and with which code.

use std::process::ExitCode;

use gatepost_config::Report;

/// What ends with it has done what it was asked to, and found something wrong with what it was given.
pub(crate) const WRONG: u8 = 1;

/// What `why` ends with when a request would be refused, and `diff` and `replay` with `--exit-code` when a verdict changes.
pub(crate) const REFUSED: u8 = 3;

/// Why the command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong: exit code 1.
    Configuration(Box<Report>),
    /// What is to be read cannot be, or is something else: exit code 1.
    Input(String),
    /// What was asked makes no sense with this configuration: exit code 2. What makes none with any is clap's to say.
    Usage(String),
    /// It could not run: exit code 4. A port or the state directory is taken, or a permission is missing.
    CannotRun(String),
}

impl Failure {
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) | Self::Input(_) => ExitCode::from(WRONG),
            Self::Usage(_) => ExitCode::from(2),
            Self::CannotRun(_) => ExitCode::from(4),
        }
    }

    pub(crate) fn render(&self, color: bool) -> String {
        match self {
            Self::Configuration(report) => {
                let count = report.diagnostics().len();
                let mistakes = if count == 1 { "mistake" } else { "mistakes" };
                format!("{}\n\n{count} {mistakes} in the configuration", report.render(color))
            }
            Self::Input(reason) | Self::Usage(reason) | Self::CannotRun(reason) => format!("error: {reason}"),
        }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Configuration(Box::new(report))
    }
}
