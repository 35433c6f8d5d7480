//! A directory of its own for a test, with a configuration in it and programs that run there.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gatepost_testkit::{PATIENCE, Process, Raw, Response};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// A directory, removed in the end.
pub(crate) struct Home(TempDir);

/// The program under test.
pub(crate) const GATEPOST: &str = env!("CARGO_BIN_EXE_gatepost");

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

impl Home {
    /// An empty directory.
    pub(crate) fn empty() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A directory with this `gatepost.toml`.
    pub(crate) fn new(configuration: &str) -> Self {
        let home = Self::empty();
        home.write("gatepost.toml", configuration);
        home
    }

    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file in place, as `echo >` and some editors do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a file at once, as careful programs do.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let beside = self.path(&format!("{name}.new"));
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }

    /// Makes a link, in the place of an earlier one if there is one, as Kubernetes does.
    pub(crate) fn link(&self, name: &str, target: &str) {
        let beside = self.path(&format!("{name}.new"));
        symlink(target, &beside).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => panic!("{name}: {error}"),
        }
    }

    /// Starts `gatepost` with these arguments here.
    pub(crate) fn gatepost(&self, arguments: &[&str]) -> Process {
        self.start(self.command(arguments))
    }

    /// `gatepost` with these arguments here, to be changed before it is started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(GATEPOST);
        command.args(arguments);
        command
    }

    /// Starts a command here.
    pub(crate) fn start(&self, mut command: Command) -> Process {
        command.current_dir(self.directory()).env_remove("GATEPOST_LOG");
        Process::spawn(command)
    }

    /// Runs `gatepost` with these arguments to its end: its exit code, and what it said.
    pub(crate) async fn outcome(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut process = self.gatepost(arguments);
        let code = process.wait_exit(PATIENCE).await;
        (code, process.stdout().join("\n"), process.stderr().join("\n"))
    }

    /// Starts `gatepost run`, and answers once it listens.
    pub(crate) async fn run(&self) -> (Process, SocketAddr) {
        let mut process = self.gatepost(&["run"]);
        let address = process.address().await;
        (process, address)
    }
}

/// A configuration that answers everything with `body`; the listener and `[server]` stay the same for every body.
pub(crate) fn answering(body: &str) -> String {
    format!(
        r#"
listen = "127.0.0.1:0"

[server]
admin = "off"

[route."ANY /{{rest+}}"]
open    = true
respond = {{ body = "{body}" }}
"#
    )
}

/// A configuration that forwards everything to `origin`, without a deadline unless `forward` says otherwise.
pub(crate) fn forwarding(origin: &str, server: &str) -> String {
    format!(
        r#"
listen = "127.0.0.1:0"

[server]
{server}

[route."ANY /{{rest+}}"]
open    = true
forward = {{ to = "{origin}", timeout = "off" }}
"#
    )
}

/// A port that was free a moment ago, for what cannot be told port 0.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Asks on a connection of its own.
pub(crate) async fn get(address: SocketAddr, target: &str) -> Response {
    Raw::connect(address).await.get(target).await
}

/// Asks on an open connection until the answer is as wanted; that answer.
///
/// # Panics
/// It is not for long.
pub(crate) async fn get_until(client: &mut Raw, target: &str, wanted: impl Fn(&Response) -> bool) -> Response {
    let end = Instant::now() + PATIENCE;
    loop {
        let response = client.get(target).await;
        if wanted(&response) {
            return response;
        }
        assert!(Instant::now() < end, "still {} {:?}", response.head, response.text());
        sleep(LOOK).await;
    }
}

/// Asks on an open connection until it is answered with `body`.
pub(crate) async fn get_body(client: &mut Raw, body: &str) {
    get_until(client, "/a", |response| response.text() == body).await;
}

/// Waits until nobody listens there any more.
pub(crate) async fn refused_at_last(address: SocketAddr) {
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < end, "{address} still accepts");
        sleep(LOOK).await;
    }
}
