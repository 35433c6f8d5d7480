//! `gatepost check`: is this file one that would run?

use std::path::Path;

use gatepost_config::{Loaded, Report, load};
use gatepost_gateway::{doubtful_domains, doubtful_secrets, failed_examples, unusable_certificates};

use crate::exit::Failure;
use crate::print;

/// Reports every mistake, or says that there is none.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let Loaded { model, .. } = load_and_judge(file)?;
    let routes: usize = model.apis.iter().map(|api| api.routes.len()).sum();
    let examples: usize = model.apis.iter().flat_map(|api| &api.routes).map(|route| route.examples.len()).sum();
    print(&format!(
        "{} is fine: {}, {} passed\n",
        file.display(),
        counted(routes, "route"),
        counted(examples, "example"),
    ))
}

/// Loads the file and judges its examples by the gateway's own admission: what `run` and a reload accept, and `check`
/// calls fine.
pub(crate) fn load_and_judge(file: &Path) -> Result<Loaded, Report> {
    judge(load(file)?)
}

/// Judges certificates and examples. Certificates and secrets that can be used but should not be are told in the log, and
/// so are policies that say something else than they seem to.
pub(crate) fn judge(loaded: Loaded) -> Result<Loaded, Report> {
    let Loaded { model, .. } = &loaded;
    let mut failures = unusable_certificates(model);
    failures.extend(failed_examples(model));
    let doubts = doubtful_domains(model).into_iter().chain(doubtful_secrets(model)).chain(model.doubtful_policies());
    for doubt in doubts {
        tracing::warn!("{doubt}");
    }
    if failures.is_empty() { Ok(loaded) } else { Err(Report::new(loaded, failures)) }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
