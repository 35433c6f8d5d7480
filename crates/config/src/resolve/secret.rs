//! Secrets, wherever they are.

use crate::decode::Given;
use crate::load::{into_text, reason};
use crate::reading::Reading;
use crate::secret::Secret;
use crate::text::{SecretReference, quoted};

/// Fetches a secret.
pub(super) fn secret(reference: &Given<SecretReference>, reading: &mut Reading) -> Option<Secret> {
    let (source, value) = match &reference.value {
        SecretReference::Environment(name) => (format!("env:{name}"), environment(name, reference, reading)?),
        SecretReference::File(path) => (format!("file:{path}"), secret_file(path, reference, reading)?),
    };
    if value.is_empty() {
        let message = format!("the secret in {} is empty", quoted(&source));
        reading.report(reading.error(reference.span, message));
        return None;
    }
    Some(Secret::new(&source, value.as_bytes()))
}

fn environment(name: &str, reference: &Given<SecretReference>, reading: &mut Reading) -> Option<String> {
    let message = match std::env::var(name) {
        Ok(value) => return Some(value),
        Err(std::env::VarError::NotPresent) => {
            format!("the environment variable {} is not set", quoted(name))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            format!("the environment variable {} is not text", quoted(name))
        }
    };
    reading.report(reading.error(reference.span, message));
    None
}

fn secret_file(path: &str, reference: &Given<SecretReference>, reading: &mut Reading) -> Option<String> {
    let path = reading.path(path, reference.span);
    match reading.read(&path).and_then(into_text) {
        // An editor ends the last line; that is no part of the secret.
        Ok(text) => Some(
            text.strip_suffix('\n').map_or(text.clone(), |line| line.strip_suffix('\r').unwrap_or(line).to_owned()),
        ),
        Err(error) => {
            let name = quoted(&path.to_string_lossy());
            let message = format!("cannot read the secret in {name}: {}", reason(&error));
            reading.report(reading.error(reference.span, message));
            None
        }
    }
}
