//! How the command fails, and with which code.

use std::process::ExitCode;

use gatepost_config::Report;

/// Why the command did not do what it was asked to. Usage (2) is clap's.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong: exit code 1.
    Configuration(Box<Report>),
    /// It could not run: exit code 4. A port or the state directory is taken, or a permission is missing.
    CannotRun(String),
}

impl Failure {
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => ExitCode::from(1),
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
            Self::CannotRun(reason) => format!("error: {reason}"),
        }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Configuration(Box::new(report))
    }
}
