//! A gateway that knows some callers, and requests as they send them.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost_config::model::ProofKind;
use gatepost_sigv4::{BodyToSign, Credentials, PathForm, PayloadHash, Request, SecretKey, SessionToken, Signer};
use gatepost_testkit::{Books, Json, Origin, Raw, Response, Script, TestGateway};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const OTHER_ACCOUNT: &str = "444455556666";

/// What acme has.
pub(crate) const KEY: &str = "gp_acme0123456789abcdef";
pub(crate) const ID: &str = "AKIAACMEEXAMPLE00001";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// What bob has.
pub(crate) const OTHER_KEY: &str = "gp_bob0123456789abcdefg";
pub(crate) const OTHER_ID: &str = "AKIABOBEXAMPLE000001";
pub(crate) const OTHER_SECRET: &str = "bobsXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A caller as a configuration would have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) keys: Vec<&'static str>,
    /// Id, secret and session token.
    pub(crate) access: Vec<(&'static str, &'static str, Option<&'static str>)>,
    /// The secret of its GitHub webhooks.
    pub(crate) signed: Option<&'static str>,
    pub(crate) policy: Option<Json>,
    pub(crate) from: Option<&'static str>,
    /// Instead of a user of the API's account.
    pub(crate) arn: Option<&'static str>,
}

/// Acme, by key and by signature.
pub(crate) fn acme() -> Known {
    Known { name: "acme", keys: vec![KEY], access: vec![(ID, SECRET, None)], ..Known::default() }
}

/// Bob, likewise.
pub(crate) fn bob() -> Known {
    Known { name: "bob", keys: vec![OTHER_KEY], access: vec![(OTHER_ID, OTHER_SECRET, None)], ..Known::default() }
}

/// A gateway with one API below `/prod`, and the backend behind it.
pub(crate) struct World {
    pub(crate) gateway: TestGateway,
    pub(crate) origin: Origin,
}

/// How the API is set up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Api {
    pub(crate) callers: Vec<Known>,
    /// Those who may enter; absent: any.
    pub(crate) listed: Option<Vec<&'static str>>,
    pub(crate) proof: Vec<ProofKind>,
    pub(crate) is_imitation: bool,
    /// The API's policy.
    pub(crate) policy: Option<Json>,
    /// Another line of the route.
    pub(crate) route: &'static str,
}

impl Api {
    pub(crate) fn of(callers: Vec<Known>) -> Self {
        Self { callers, ..Self::default() }
    }

    /// As API Gateway has it.
    pub(crate) fn imitation(self) -> Self {
        Self { is_imitation: true, ..self }
    }

    pub(crate) fn proof(self, proof: &[ProofKind]) -> Self {
        Self { proof: proof.to_vec(), ..self }
    }

    pub(crate) async fn start(&self) -> World {
        let origin = Origin::start(Script::ok("hello")).await;
        let directory = TempDir::new().expect("a directory");
        let gateway = TestGateway::start(&self.text(&origin, &directory)).await;
        World { gateway, origin }
    }

    /// Where it is what time these books say.
    pub(crate) async fn start_with_books(&self, books: &Books) -> World {
        let origin = Origin::start(Script::ok("hello")).await;
        let directory = TempDir::new().expect("a directory");
        let gateway = TestGateway::start_with_books(&self.text(&origin, &directory), books).await;
        World { gateway, origin }
    }

    /// The configuration, with its files in `directory`, which are read once.
    pub(crate) fn text(&self, origin: &Origin, directory: &TempDir) -> String {
        let files = Files(directory.path());
        let (entry, url) = (self.entry(), origin.url());
        let compat = if self.is_imitation { "compat = \"aws-rest\"" } else { "" };
        let policy =
            self.policy.as_ref().map(|policy| format!("policy = {}", files.write("policy.json", &policy.to_string())));
        let callers: String = self.callers.iter().map(|known| known.text(&files)).collect();
        format!(
            r#"
            [server]
            account = "{ACCOUNT}"
            [listen.default]
            addresses = ["127.0.0.1:0"]
            behind = ["127.0.0.1"]

            [api.a]
            id = "abc123"
            stage = "prod"
            base = "/prod"
            {compat}
            {policy}
            [api.a.route."ANY /{{rest+}}"]
            {entry}
            {route}
            forward = {{ to = "{url}" }}
            # Whoever is known may enter somewhere.
            [route."GET /others"]
            callers = "any"
            respond = {{}}
            {callers}
            "#,
            policy = policy.unwrap_or_default(),
            route = self.route,
        )
    }

    fn entry(&self) -> String {
        let callers = self.listed.as_ref().map_or("\"any\"".to_owned(), |names| format!("{names:?}"));
        let proof: Vec<&str> = self.proof.iter().map(|kind| kind.name()).collect();
        let proof = if proof.is_empty() { String::new() } else { format!("proof = {proof:?}") };
        format!("callers = {callers}\n{proof}")
    }
}

/// Where a configuration has its files.
struct Files<'d>(&'d Path);

impl Files<'_> {
    /// Writes one, and says where it is as configurations do.
    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file");
        format!("\"file:{}\"", path.display())
    }
}

impl Known {
    fn text(&self, files: &Files<'_>) -> String {
        let Self { name, keys, access, signed, policy, from, arn } = self;
        let mut lines = vec![format!("[caller.{name}]")];
        if !keys.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| hash(key)).collect();
            lines.push(format!("keys = {keys:?}"));
        }
        let access: Vec<String> = access
            .iter()
            .map(|(id, secret, token)| {
                let secret = files.write(&format!("{name}-secret"), secret);
                let token = token.map(|token| format!(", token = {}", files.write(&format!("{name}-token"), token)));
                format!("{{ access_key = \"{id}\", secret = {secret}{} }}", token.unwrap_or_default())
            })
            .collect();
        if !access.is_empty() {
            lines.push(format!("sigv4 = [{}]", access.join(", ")));
        }
        let signed = signed.map(|secret| files.write(&format!("{name}-webhook"), secret));
        lines.extend(signed.map(|secret| format!("signed = {{ github = {secret} }}")));
        let policy = policy.as_ref().map(|policy| files.write(&format!("{name}.json"), &policy.to_string()));
        lines.extend(policy.map(|file| format!("policy = {file}")));
        lines.extend(from.map(|from| format!("from = [\"{from}\"]")));
        lines.extend(arn.map(|arn| format!("arn = \"{arn}\"")));
        lines.join("\n") + "\n"
    }
}

/// As configurations have it.
pub(crate) fn hash(key: &str) -> String {
    let digest = digest(&SHA256, key.as_bytes());
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

impl World {
    /// Sends a request of these lines from another address than the test's.
    pub(crate) async fn ask(&self, request: &Sent) -> Response {
        Raw::connect(self.gateway.address()).await.send_while_reading(request.bytes()).await
    }

    /// The last line of the access log, when so many have been written.
    pub(crate) async fn logged(&self, count: usize) -> Json {
        let lines = self.gateway.log_until(|lines| lines.len() >= count, crate::setup::SOON).await;
        lines[count - 1].clone()
    }
}

/// A request as a client sends it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn get(path: &str) -> Sent {
    Sent {
        method: "GET",
        path: path.to_owned(),
        query: String::new(),
        fields: vec![("host".to_owned(), "a.test".to_owned())],
        body: Vec::new(),
    }
}

pub(crate) fn post(path: &str, body: &[u8]) -> Sent {
    Sent { method: "POST", body: body.to_vec(), ..get(path) }
}

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Signing {
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) token: Option<&'static str>,
    pub(crate) region: &'static str,
    pub(crate) service: &'static str,
    /// Whether the hash of the body is told.
    pub(crate) is_declared: bool,
    /// Minutes that its clock is ahead.
    pub(crate) ahead: i64,
    /// The second since 1970 that its clock stands still at; absent: it goes.
    pub(crate) at: Option<i64>,
}

/// As acme signs.
pub(crate) const BY_ACME: Signing = Signing {
    id: ID,
    secret: SECRET,
    token: None,
    region: "us-east-1",
    service: "execute-api",
    is_declared: false,
    ahead: 0,
    at: None,
};

/// As bob signs.
pub(crate) const BY_BOB: Signing = Signing { id: OTHER_ID, secret: OTHER_SECRET, ..BY_ACME };

impl Sent {
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// From another address.
    pub(crate) fn from(self, address: &str) -> Self {
        self.with("x-forwarded-for", address)
    }

    pub(crate) fn signed(mut self, by: Signing) -> Self {
        let credentials = by.credentials();
        let signer =
            Signer { credentials: &credentials, region: by.region, service: by.service, path: PathForm::EscapedTwice };
        let hash = PayloadHash::of(&self.body);
        let body = if by.is_declared { BodyToSign::Declared(hash) } else { BodyToSign::Hashed(hash) };
        let added = signer.sign(&self.request(), body, by.now()).expect("it can be signed");
        let added: Vec<_> = added.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.fields.extend(added);
        self
    }

    /// With its signature in the query.
    pub(crate) fn presigned(mut self, by: Signing) -> Self {
        let credentials = by.credentials();
        let signer =
            Signer { credentials: &credentials, region: by.region, service: by.service, path: PathForm::EscapedTwice };
        let body = BodyToSign::Hashed(PayloadHash::of(&self.body));
        let query = signer.presign(&self.request(), body, SignedDuration::from_mins(5), by.now());
        self.query = query.expect("it can be signed").to_string();
        self
    }

    /// With a field changed after it was signed.
    pub(crate) fn changed(mut self, name: &str, change: impl Fn(&str) -> String) -> Self {
        let field = self.fields.iter_mut().find(|(field, _)| field == name).expect("it has that field");
        field.1 = change(&field.1);
        self
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        &self.fields.iter().find(|(field, _)| field == name).expect("it has that field").1
    }

    fn request(&self) -> Request<'_> {
        let is_signed = |name: &str| name != "x-forwarded-for" && name != "x-api-key" && name != "x-foo";
        let fields = self.fields.iter().filter(|(name, _)| is_signed(name));
        let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
        Request::new(self.method, &self.path, &self.query, fields)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { method, path, query, fields, body } = self;
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        [format!("{method} {path}{query} HTTP/1.1\r\n{fields}{length}\r\n").as_bytes(), body].concat()
    }
}

impl Signing {
    fn credentials(self) -> Credentials {
        Credentials {
            access_key_id: self.id.to_owned(),
            secret: SecretKey::new(self.secret.to_owned()),
            token: self.token.map(|token| SessionToken::new(token.to_owned())),
        }
    }

    fn now(self) -> Timestamp {
        let now = self.at.map_or_else(Timestamp::now, |at| Timestamp::from_second(at).expect("a date"));
        now + SignedDuration::from_mins(self.ahead)
    }
}
