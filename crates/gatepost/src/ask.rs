//! Asking a running gateway, over its admin API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use gatepost_config::model::Admin;
use gatepost_config::{Loaded, load};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::admin::Problem;
use crate::exit::Failure;
use crate::why::Asked;

/// A running gateway's admin listener, and what it asks for.
#[derive(Debug)]
pub(crate) struct Running {
    at: AdminAddress,
    token: Option<HeaderValue>,
}

/// Where an admin listener is: `http://ADDR:PORT`, `ADDR:PORT` or `unix:PATH`.
#[derive(Debug, Clone)]
pub(crate) enum AdminAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Where a token is: `env:NAME` or `file:PATH`. Never the token itself, which the list of processes would show.
#[derive(Debug, Clone)]
pub(crate) enum TokenSource {
    Variable(String),
    File(PathBuf),
}

/// What a gateway answered.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) text: String,
}

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer, in bytes.
const LONGEST: usize = 64 << 20;

impl Running {
    /// The one at `admin`; else the one that `file` says.
    pub(crate) fn at(admin: Option<AdminAddress>, token: Option<TokenSource>, file: &Path) -> Result<Self, Failure> {
        if let Some(at) = admin {
            let token = token.map(|source| source.read("the admin token")).transpose()?;
            return Ok(Self { at, token: token.map(|token| bearer(&token)).transpose()? });
        }
        let Loaded { model, .. } = load(file)?;
        let at = match model.server.admin {
            Admin::Off => {
                return Err(Failure::CannotRun("its admin listener is off (`admin` under [server])".to_owned()));
            }
            Admin::Tcp(address) if address.port() == 0 => {
                let problem = "the file leaves the admin port to the kernel; say where it is with `--admin`";
                return Err(Failure::Usage(problem.to_owned()));
            }
            Admin::Tcp(address) => AdminAddress::Tcp(address),
            Admin::Unix(path) => AdminAddress::Unix(path),
        };
        let token = model.server.admin_token.map(|token| bearer(token.reveal())).transpose()?;
        Ok(Self { at, token })
    }

    /// What would become of a request.
    pub(crate) fn why(&self, asked: &Asked) -> Result<Told, Failure> {
        let body = serde_json::to_string(asked).map_err(|error| Failure::Usage(error.to_string()))?;
        self.ask(Method::POST, "/v1/why", body)
    }

    /// What became of one.
    pub(crate) fn decision(&self, id: &str) -> Result<Told, Failure> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Failure::Usage(format!("{id:?} is no id: 16 hex digits, as in `x-gatepost-decision`")));
        }
        self.ask(Method::GET, &format!("/v1/decisions/{id}"), String::new())
    }

    fn ask(&self, method: Method, path: &str, body: String) -> Result<Told, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::CannotRun(format!("cannot start: {error}")))?;
        let answered = runtime.block_on(async { timeout(PATIENCE, self.exchange(method, path, body)).await });
        let failed = |why: String| Failure::CannotRun(format!("cannot ask the gateway at {}: {why}", self.at));
        let (status, body) = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => return Err(failed("it does not answer".to_owned())),
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        if status == StatusCode::OK {
            return Ok(Told { text });
        }
        let detail = serde_json::from_str::<Problem>(&text).map_or(text, |problem| problem.detail);
        Err(match status {
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                Failure::Usage(detail)
            }
            _ => failed(format!("{status}: {detail}")),
        })
    }

    async fn exchange(&self, method: Method, path: &str, body: String) -> Result<(StatusCode, Bytes), String> {
        match &self.at {
            AdminAddress::Tcp(address) => {
                let stream = TcpStream::connect(reachable(*address)).await.map_err(nobody_there)?;
                self.exchange_on(stream, &reachable(*address).to_string(), method, path, body).await
            }
            AdminAddress::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(nobody_there)?;
                self.exchange_on(stream, "localhost", method, path, body).await
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "it is capped")]
    async fn exchange_on(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        host: &str,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), String> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, host).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let asking = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        tokio::select! {
            answer = asking => answer,
            ended = connection => Err(ended.err().map_or("it hung up".to_owned(), |error| error.to_string())),
        }
    }
}

impl Told {
    /// Reads what it says.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text)
            .map_err(|error| Failure::CannotRun(format!("the gateway's answer is not understood: {error}")))
    }
}

impl TokenSource {
    /// What it holds; `what` that is.
    pub(crate) fn read(&self, what: &str) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Variable(name) => std::env::var(name)
                .map(String::into_bytes)
                .map_err(|error| Failure::CannotRun(format!("{what} in the environment as {name}: {error}"))),
            Self::File(path) => {
                let mut token = std::fs::read(path).map_err(|error| {
                    Failure::CannotRun(format!("cannot read {what} in {}: {error}", path.display()))
                })?;
                // As in the configuration.
                if token.ends_with(b"\n") {
                    token.pop();
                }
                Ok(token)
            }
        }
    }
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        address.parse().map(Self::Tcp).map_err(|_| "neither `http://ADDR:PORT` nor `unix:PATH`".to_owned())
    }
}

impl FromStr for TokenSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("env", name)) => Ok(Self::Variable(name.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(_) | None => Err("a token is named, as `env:NAME` or `file:PATH`".to_owned()),
        }
    }
}

impl std::fmt::Display for AdminAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "http://{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// Who listens everywhere listens here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let here: IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    if address.ip().is_unspecified() { SocketAddr::new(here, address.port()) } else { address }
}

fn bearer(token: &[u8]) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
    let mut value = value.map_err(|_| Failure::CannotRun("the admin token is none that HTTP can carry".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
/// What to do where no connection comes about.
fn nobody_there(error: std::io::Error) -> String {
    format!("{error} (is it running? `admin` under [server] says where it is asked, `--admin` another place)")
}
