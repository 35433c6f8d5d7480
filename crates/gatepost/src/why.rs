//! `gatepost why`: what would become of this request, and by which rules? Or what became of one, and why?

pub(crate) mod report;
mod request;

pub(crate) use self::request::{Header, Url};

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use gatepost_config::model::{Listener, Model};
use gatepost_config::{Loaded, load};
use gatepost_gateway::{ExplainError, Explanation, InForce, Inquiry, explain};
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use crate::ask::{AdminAddress, Running, TokenSource};
use crate::exit::{Failure, REFUSED};
use crate::print;
use crate::why::report::{Answer, Recorded, Report};

/// What is asked on the command line: a request as it is described there, or a decision on record.
#[derive(Debug, clap::Args)]
pub(crate) struct Question {
    /// The peer of the connection: the client's address, unless it is a sender that `behind` lists
    #[arg(long, value_name = "ADDR", required_unless_present = "decision")]
    from: Option<IpAddr>,
    /// The caller that it comes from, taken to prove that in every way that the route asks for
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// An API key that it brings, judged as it is: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A header of the request; repeat it for more. `content-length: N` declares a body of N bytes
    #[arg(short = 'H', long = "header", value_name = "'NAME: VALUE'")]
    headers: Vec<Header>,
    /// The listener it comes in on [default: the only one, or the one that the URL's port reaches]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Ask the running gateway: by its configuration in force, and its meters as they are. Takes nothing from them
    #[arg(long)]
    live: bool,
    /// Why the running gateway refused a request: the id in its answer's `x-gatepost-decision`
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "caller", "key", "headers", "listener", "live", "method", "url"])]
    decision: Option<String>,
    /// Where the running gateway is asked: `http://ADDR:PORT` or `unix:PATH` [default: `admin` in the file]
    #[arg(long, value_name = "ADMIN")]
    admin: Option<AdminAddress>,
    /// The token that it asks for: `env:NAME` or `file:PATH` [default: `admin_token` in the file, without `--admin`]
    #[arg(long, value_name = "TOKEN", requires = "admin")]
    admin_token: Option<TokenSource>,
    /// Print JSON, the same in every version: see docs/why.md
    #[arg(long)]
    json: bool,
    /// The method
    #[arg(required_unless_present = "decision")]
    method: Option<Method>,
    /// `https://host:port/path?query`; or `/path?query`, for the host that `-H 'host: …'` says, else `localhost`
    #[arg(required_unless_present = "decision")]
    url: Option<Url>,
}

/// A request that is asked about, as the admin API takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    from: IpAddr,
    method: String,
    url: Url,
    #[serde(default)]
    headers: Vec<Header>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
}

/// Explains, and answers with the exit code of the verdict. The examples of the file are not judged: one that fails may
/// be why somebody asks.
pub(crate) fn why(file: &Path, question: Question) -> Result<ExitCode, Failure> {
    let Question { from, caller, key, mut headers, listener, live, decision, .. } = question;
    let Question { admin, admin_token, json, method, url, .. } = question;
    headers.extend(key.map(|key| key_header(&key)).transpose()?);
    if admin.is_some() && !live && decision.is_none() {
        return Err(Failure::Usage("`--admin` is where `--live` and `--decision` ask".to_owned()));
    }
    let running = || Running::at(admin, admin_token, file);
    let asked = match (from, method, url) {
        (Some(from), Some(method), Some(url)) => {
            Some(Asked { from, method: method.to_string(), url, headers, listener, caller })
        }
        _ => None,
    };
    let (text, verdict) = match (decision, asked) {
        (Some(id), _) => {
            let told = running()?.decision(&id)?;
            let Recorded { report, .. } = told.read()?;
            (if json { told.text } else { report.text() }, report.verdict)
        }
        (None, Some(asked)) if live => {
            let told = running()?.why(&asked)?;
            let report: Report = told.read()?;
            (if json { told.text } else { report.text() }, report.verdict)
        }
        (None, Some(asked)) => {
            let Loaded { model, .. } = load(file)?;
            let report = Report::of(&asked.explain(&model, |inquiry| explain(&model, inquiry))?);
            (if json { report.json() } else { report.text() }, report.verdict)
        }
        // The command line is not read without either.
        (None, None) => return Err(Failure::Usage("say which request, or which decision".to_owned())),
    };
    print(&text)?;
    Ok(match verdict {
        Answer::Admitted => ExitCode::SUCCESS,
        Answer::Refused => ExitCode::from(REFUSED),
    })
}

/// Explains by what is in force, and the meters as they are.
///
/// # Errors
/// [`Failure::Usage`]: the question makes no sense.
pub(crate) fn explain_live(in_force: &InForce, asked: Asked) -> Result<Explanation, Failure> {
    asked.explain(in_force.model(), |inquiry| in_force.explain(inquiry))
}

impl Asked {
    fn explain(
        self,
        model: &Model,
        explain: impl FnOnce(&Inquiry<'_>) -> Result<Explanation, ExplainError>,
    ) -> Result<Explanation, Failure> {
        let Self { from, method, url, headers: named, listener, caller } = self;
        let method = method.parse().map_err(|_| Failure::Usage(format!("{method:?} is no method")))?;
        let listener = choose(model, listener.as_deref(), &url)?;
        let inquiry = Inquiry {
            from,
            listener: &listener.name,
            headers: headers(named, &url),
            method,
            target: url.target(),
            caller: caller.as_deref(),
        };
        explain(&inquiry).map_err(|error| match error {
            ExplainError::NoCaller(_) => Failure::Usage(error.to_string()),
            ExplainError::NoListener(_) | ExplainError::Contradiction(_) => Failure::CannotRun(error.to_string()),
        })
    }
}

/// The header that an API key comes in. `named` is where it is; a key that stands there itself is not repeated.
fn key_header(named: &str) -> Result<Header, Failure> {
    let source: TokenSource = named.parse().map_err(|_| {
        let problem =
            "`--key` names a key, as `env:NAME` or `file:PATH`: the list of processes would show the key itself";
        Failure::Usage(problem.to_owned())
    })?;
    let value = HeaderValue::from_bytes(&source.read("the API key")?);
    let value = value.map_err(|_| Failure::CannotRun("the API key is none that HTTP can carry".to_owned()))?;
    Ok(Header { name: HeaderName::from_static("x-api-key"), value })
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
