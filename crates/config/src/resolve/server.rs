//! `[server]` and `[log]`.

use std::time::Duration;

use crate::decode::Field;
use crate::file::{LogTable, ServerTable};
use crate::model::{AccessLog, Admin, Log, Server};
use crate::reading::Reading;
use crate::resolve::secret::secret;
use crate::text;

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
        region: table.region.value().map_or_else(|| DEFAULT_REGION.into(), |region| region.0.clone()),
        account: table.account.value().map_or_else(|| DEFAULT_ACCOUNT.into(), |account| account.0.clone()),
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

pub(super) const DEFAULT_REGION: &str = "us-east-1";

pub(super) const DEFAULT_ACCOUNT: &str = "000000000000";

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
