//! `[server]` and `[log]`.

use std::time::Duration;

use crate::decode::{Field, Given};
use crate::file::{LogTable, ServerTable};
use crate::load::{into_text, reason};
use crate::model::{AccessLog, Admin, Log, Server};
use crate::reading::Reading;
use crate::secret::Secret;
use crate::text::{self, SecretReference, quoted};

pub(super) fn server(server: Field<ServerTable>, reading: &mut Reading) -> Option<Server> {
    let (table, span) = match server {
        Field::Broken => return None,
        Field::Absent => (ServerTable::default(), reading.start()),
        Field::Given(given) => (given.value, given.key),
    };
    check_admin_token(&table, reading);
    let state = match table.state.given() {
        Some(state) => reading.path(&state.value.0, state.span),
        // It lies where it would if it had been written.
        None => reading.path("gatepost-state", span),
    };
    let admin = match table.admin.given() {
        None => Admin::Tcp(([127, 0, 0, 1], 9900).into()),
        Some(given) => match &given.value {
            text::Admin::Off => Admin::Off,
            text::Admin::Tcp(address) => Admin::Tcp(*address),
            text::Admin::Unix(path) => Admin::Unix(reading.path(path, given.span)),
        },
    };
    let admin_token = match &table.admin_token {
        Field::Given(given) => Some(secret(given, reading)?),
        Field::Absent | Field::Broken => None,
    };
    Some(Server {
        state,
        workers: table.workers.value().map(|workers| workers.0),
        admin,
        admin_token,
        drain: table.drain.value().map_or(DEFAULT_DRAIN, |drain| drain.0),
    })
}

pub(super) fn log(log: &Field<LogTable>, reading: &Reading) -> Option<Log> {
    let access = match log {
        Field::Broken => return None,
        Field::Absent => None,
        Field::Given(given) => given.value.access.given(),
    };
    let access = match access {
        None => AccessLog::Stdout,
        Some(given) => match &given.value {
            text::AccessLog::Off => AccessLog::Off,
            text::AccessLog::Stdout => AccessLog::Stdout,
            text::AccessLog::File(path) => AccessLog::File(reading.path(path, given.span)),
        },
    };
    Some(Log { access })
}

const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// An admin listener that others can reach asks for a token.
fn check_admin_token(table: &ServerTable, reading: &mut Reading) {
    let Some(admin) = table.admin.given() else { return };
    let text::Admin::Tcp(address) = admin.value else { return };
    if address.ip().is_loopback() || !table.admin_token.is_absent() || !table.unknown.is_empty() {
        return;
    }
    let message = "other machines can reach this address, and nothing asks them for a token";
    let help = "add `admin_token = \"file:admin.token\"`, or use a loopback address or `unix:PATH`";
    reading.report(reading.error(admin.span, message).with_help(help));
}

/// Fetches a secret.
fn secret(reference: &Given<SecretReference>, reading: &mut Reading) -> Option<Secret> {
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
