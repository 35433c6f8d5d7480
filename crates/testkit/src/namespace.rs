use std::any::type_name;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime;

/// A network of a test's own, and files of its own under well-known names. There is no way out: it has nothing but
/// loopback, and every address in the world is an address of this machine there, so that a connection to any of them
/// succeeds and is seen.
///
/// Needs root, `unshare`, `mount` and `ip`.
#[derive(Debug)]
pub struct Namespace {
    directory: TempDir,
}

/// Listens at every address there is in a [`Namespace`], and keeps a list of those that somebody connected to.
#[derive(Debug)]
pub struct Trap {
    port: u16,
    seen: Arc<Mutex<Vec<IpAddr>>>,
}

/// Tells the program that runs in the namespace so, and where it says that it came to the end.
const INSIDE: &str = "GATEPOST_TEST_NAMESPACE";

/// How long a client of a trap may take to send its request.
const REQUEST: Duration = Duration::from_secs(5);

impl Namespace {
    /// Runs `body` in a namespace: the whole of a test, given as a closure in the test's own function. The test's
    /// program is started once more there, for this test alone.
    ///
    /// # Panics
    /// `body` does, or there is no namespace to be had.
    pub fn run<F: AsyncFnOnce(Self)>(body: F) {
        match env::var_os(INSIDE) {
            Some(end) => {
                runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime")
                    .block_on(body(Self::around_us()));
                fs::write(end, "came to its end").expect("a file to say so in");
            }
            None => run_inside(test_of::<F>()),
        }
    }

    /// The one that this program was started in.
    fn around_us() -> Self {
        command("ip", &["link", "set", "lo", "up"]);
        let links = command("ip", &["-oneline", "link", "show"]);
        assert_eq!(links.lines().count(), 1, "there is a way out of the namespace:\n{links}");
        command("ip", &["route", "add", "local", "0.0.0.0/0", "dev", "lo"]);
        command("ip", &["-6", "route", "add", "local", "::/0", "dev", "lo"]);
        Self { directory: TempDir::new().expect("a directory") }
    }

    /// From now on the file at `path`, which exists outside too, has this text here, and only here.
    ///
    /// # Panics
    /// It cannot be replaced.
    pub fn replace(&self, path: &str, text: &str) {
        let ours = self.ours(path);
        let is_mounted = ours.exists();
        // In place: what is mounted is this file, not its name.
        fs::write(&ours, text).expect("a file");
        if !is_mounted {
            command("mount", &["--bind", ours.to_str().expect("a plain path"), path]);
        }
    }

    fn ours(&self, path: &str) -> PathBuf {
        self.directory.path().join(Path::new(path).file_name().expect("a file's path"))
    }
}

impl Trap {
    /// Listens at this port of every address. Answers every request with the address that it came to.
    ///
    /// # Panics
    /// The port is taken.
    #[must_use]
    pub fn set(port: u16) -> Self {
        let seen = Arc::<Mutex<Vec<IpAddr>>>::default();
        let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a free port");
        // Takes what is IPv4 too where it may; here that is taken already.
        let v6 = bind_v6_only(port);
        for listener in [v4, v6] {
            let seen = Arc::clone(&seen);
            thread::spawn(move || serve(&listener, &seen));
        }
        Self { port, seen }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses that somebody connected to, each once, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<IpAddr> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.sort_unstable();
        seen.dedup();
        seen
    }
}

/// The name of the test that this closure stands in, without its crate's.
fn test_of<F>() -> &'static str {
    let closure = type_name::<F>();
    let function = closure.split("::{{closure}}").next().unwrap_or(closure);
    function.split_once("::").map_or(function, |(_, test)| test)
}

fn run_inside(test: &str) {
    let directory = TempDir::new().expect("a directory");
    let end = directory.path().join("end");
    let outcome = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(env::current_exe().expect("the program of the test"))
        .args([test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, &end)
        .output()
        .expect("`unshare`, of util-linux");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&outcome.stdout), said(&outcome.stderr));
    assert!(outcome.status.success() && end.exists(), "{test}, in a namespace:\n{stdout}\n{stderr}");
}

/// Runs a command to its end; what it said.
fn command(program: &str, arguments: &[&str]) -> String {
    let outcome = Command::new(program).args(arguments).output();
    let outcome = outcome.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let error = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

fn bind_v6_only(port: u16) -> TcpListener {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let socket = socket(AddressFamily::INET6, SocketType::STREAM, None).expect("a socket");
    sockopt::set_ipv6_v6only(&socket, true).expect("an option of it");
    bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).expect("a free port");
    listen(&socket, 1024).expect("a free port");
    TcpListener::from(socket)
}

/// Notes who was connected to before anything is read: a connection alone is enough.
fn serve(listener: &TcpListener, seen: &Mutex<Vec<IpAddr>>) {
    while let Ok((mut client, _)) = listener.accept() {
        let Ok(address) = client.local_addr() else { continue };
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(address.ip());
        thread::spawn(move || {
            let mut request = [0; 4096];
            // Whoever goes without a request has been noted.
            let _ = client.set_read_timeout(Some(REQUEST));
            if client.read(&mut request).is_ok_and(|length| length > 0) {
                let body = address.ip().to_string();
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                let _ = client.write_all((head + &body).as_bytes());
            }
        });
    }
}
