//! What it costs to be sure of who asks: a policy, a signature, both, against a route that lets everyone in.

use aws_lc_rs::hmac;

use crate::Outcome;
use crate::addresses;
use crate::backend::{self, Backend};
use crate::client::Connection;
use crate::front::Front;
use crate::load::{Load, Post, Verdict};
use crate::measures::{Cost, column, effects, under_load};
use crate::options::Options;
use crate::peers::gatepost;
use crate::peers::{Configured, Gateway};
use crate::process::Launch;
use crate::report::{progress, table};
use crate::scratch::Scratch;

/// The networks that the policy names.
const NETWORKS: usize = 1_000;
/// The length of the body, in bytes.
const BODY: usize = 1_000;
const PATH: &str = "/bench";
/// Open to everyone, for the first look whether the gateway is there.
const READY: &str = "/ready";
const SECRET: &str = "a secret of the benchmark's own";

/// What stands at the door.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Policy,
    Signed,
    Both,
}

impl Door {
    const ALL: [Self; 4] = [Self::Open, Self::Policy, Self::Signed, Self::Both];

    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Policy => "policy",
            Self::Signed => "signed",
            Self::Both => "policy and signed",
        }
    }

    /// As it is written in a route.
    fn rules(self) -> &'static str {
        const SIGNED: &str = "signed   = { github = \"file:secret\" }";
        const POLICY: &str = "policy   = \"file:policy.json\"";
        const BOTH: &str = "policy   = \"file:policy.json\"\nsigned   = { github = \"file:secret\" }";
        match self {
            Self::Open => "open     = true",
            Self::Policy => POLICY,
            Self::Signed => SIGNED,
            Self::Both => BOTH,
        }
    }
}

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let backend = Backend::start(options.cpus.load)?;
    let body = "0123456789".repeat(BODY / 10);
    let post = Post { header: ("x-hub-signature-256".to_owned(), signature(&body)), body };
    let load = Load::posting(PATH, &post)?;
    let networks = addresses::with_client(NETWORKS)?;
    let mut costs: Vec<Vec<Cost>> = Door::ALL.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (door, costs) in Door::ALL.into_iter().zip(&mut costs) {
            progress(&format!("entry, round {round}: {}", door.name()));
            let gateway =
                Gateway::start(options, &Front::PLAIN, READY, Verdict::Admitted, backend::BODY, |directory, port| {
                    launch(options, directory, port, backend.port, door, &networks)
                })?;
            expect_refusal(&gateway, door, &post)?;
            costs.push(under_load(options, gateway, &load, Verdict::Admitted)?);
        }
    }
    Ok(report(&costs))
}

/// What is measured is a check that is made: a body that was changed must not get in where signatures count.
fn expect_refusal(gateway: &Gateway, door: Door, post: &Post) -> Outcome<()> {
    let changed = Post { header: post.header.clone(), body: post.body.replacen('0', "O", 1) };
    let reply = Connection::open(gateway.port, &Front::PLAIN)?.post(PATH, &changed)?;
    let expected = if matches!(door, Door::Signed | Door::Both) { 401 } else { 200 };
    if reply.status == expected { Ok(()) } else { Err(format!("{}: a changed body got {reply:?}", door.name()).into()) }
}

fn signature(body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let digits =
        hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256={digits}")
}

fn launch(
    options: &Options,
    directory: &Scratch,
    port: u16,
    backend: u16,
    door: Door,
    networks: &[String],
) -> Outcome<Configured> {
    directory.write("allowed.txt", "127.0.0.1\n")?;
    directory.write("secret", SECRET)?;
    directory.write("policy.json", &policy(networks))?;
    let mut text = gatepost::preamble(port, None);
    for (key, rules) in [(format!("GET {READY}"), Door::Open.rules()), (format!("POST {PATH}"), door.rules())] {
        text += &format!(
            "\n[route.\"{key}\"]\n{rules}\nforward  = {{ to = \"http://127.0.0.1:{backend}\", timeout = \"30s\" }}\n"
        );
    }
    let file = directory.write(gatepost::FILE, &text)?;
    let launch = Launch::new(&options.gatepost).arg("run").arg(file);
    Ok(Configured { launch, access_log: directory.path().join("access.log") })
}

/// As the forwarder's: everyone may, but for those who come from elsewhere.
fn policy(networks: &[String]) -> String {
    let networks = networks.iter().map(|network| format!("\"{network}\"")).collect::<Vec<_>>().join(", ");
    format!(
        r#"{{
  "Version": "2012-10-17",
  "Statement": [
    {{ "Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*/POST/bench",
      "Condition": {{ "NotIpAddress": {{ "aws:SourceIp": [{networks}] }} }} }},
    {{ "Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*/POST/bench",
      "Condition": {{ "IpAddress": {{ "aws:SourceIp": [{networks}] }} }} }}
  ]
}}
"#
    )
}

fn report(costs: &[Vec<Cost>]) -> String {
    let header = ["entry", "CPU µs/request", "ratio to open", "requests/s", "p99 ms", "CPU busy", "logged"];
    let open = column(&costs[0], |cost| cost.cpu);
    let rows: Vec<Vec<String>> = Door::ALL
        .iter()
        .zip(costs)
        .map(|(door, costs)| {
            let cpu = column(costs, |cost| cost.cpu);
            let mut row = vec![door.name().to_owned(), format!("{:.2}", cpu.median()), cpu.over(&open).spread(2)];
            row.extend(effects(costs));
            row
        })
        .collect();
    table("A request of 1 kB and what stands at the door", &header, &rows)
}
