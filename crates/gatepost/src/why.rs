//! `gatepost why`: what would become of this request, and by which rules?

mod report;
mod request;

pub(crate) use self::request::{Header, Url};

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use gatepost_config::model::{Listener, Model};
use gatepost_config::{Loaded, load};
use gatepost_gateway::{Inquiry, Verdict, explain};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method};

use crate::exit::{Failure, REFUSED};
use crate::print;

/// A request as it is described on the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Question {
    /// The peer of the connection: the client's address, unless it is a sender that `behind` lists
    #[arg(long, value_name = "ADDR")]
    from: IpAddr,
    /// A header of the request; repeat it for more. `content-length: N` declares a body of N bytes
    #[arg(short = 'H', long = "header", value_name = "'NAME: VALUE'")]
    headers: Vec<Header>,
    /// The listener it comes in on [default: the only one, or the one that the URL's port reaches]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Print JSON, the same in every version: see docs/why.md
    #[arg(long)]
    json: bool,
    /// The method
    method: Method,
    /// `https://host:port/path?query`; or `/path?query`, for the host that `-H 'host: …'` says, else `localhost`
    url: Url,
}

/// Explains, and answers with the exit code of the verdict. The examples of the file are not judged: one that fails may
/// be why somebody asks.
pub(crate) fn why(file: &Path, question: Question) -> Result<ExitCode, Failure> {
    let Loaded { model, .. } = load(file)?;
    let listener = choose(&model, question.listener.as_deref(), &question.url)?;
    let inquiry = Inquiry {
        from: question.from,
        listener: &listener.name,
        headers: headers(question.headers, &question.url),
        method: question.method,
        target: question.url.target(),
    };
    let explanation = explain(&model, &inquiry).map_err(|error| Failure::CannotRun(error.to_string()))?;
    print(&if question.json { report::json(&explanation) } else { report::text(&explanation) })?;
    Ok(match explanation.verdict {
        Verdict::Admitted => ExitCode::SUCCESS,
        Verdict::Refused { .. } => ExitCode::from(REFUSED),
    })
}

/// The headers of the request: those named, and the URL's host unless they name one.
fn headers(named: Vec<Header>, url: &Url) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for Header { name, value } in named {
        headers.append(name, value);
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, url.host().unwrap_or(HeaderValue::from_static("localhost")));
    }
    headers
}

/// The listener named; else the only one; else the only one that the URL reaches. Never a guess: what one listener
/// refuses another may admit.
fn choose<'m>(model: &'m Model, named: Option<&str>, url: &Url) -> Result<&'m Listener, Failure> {
    let all = &model.listeners;
    if let Some(named) = named {
        let found = all.iter().find(|listener| *listener.name == *named);
        return found.ok_or_else(|| {
            Failure::Usage(format!("there is no listener `{named}`; it is one of {}", listed(all.iter())))
        });
    }
    if let [only] = &all[..] {
        return Ok(only);
    }
    let reached: Vec<&Listener> = all.iter().filter(|listener| url.reaches(listener)).collect();
    match reached[..] {
        [only] => Ok(only),
        [] => Err(Failure::Usage(format!(
            "no listener is at that URL; name one of {} with `--listener`",
            listed(all.iter())
        ))),
        [..] => Err(Failure::Usage(format!(
            "more than one listener is at that URL; name one of {} with `--listener`",
            listed(reached.into_iter())
        ))),
    }
}

fn listed<'m>(listeners: impl Iterator<Item = &'m Listener>) -> String {
    listeners.map(|listener| format!("`{}`", listener.name)).collect::<Vec<_>>().join(", ")
}
