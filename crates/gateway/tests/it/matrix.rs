//! Proofs, addresses, plans, and what routes ask for, each with each: what becomes of a request is what the guide about
//! callers says, and who is refused pays nothing. The same of an API that imitates one of AWS, in its order and its words.
//!
//! What is to be expected is worked out here from what is promised, and from nothing else: `expected`, `expected_of_aws`.

use gatepost_meter::Period;
use gatepost_testkit::{Books, Json, Origin, Raw, Response, Script, TestGateway};
use tempfile::TempDir;

use crate::identity::world::{BY_ACME, Sent, Signing, get, hash};
use crate::setup::SOON;

/// 2026-11-20, 14:00:00 in UTC.
const FRIDAY: i64 = 1_795_183_200;

/// Somebody with a key and a signature.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Person {
    name: &'static str,
    key: &'static str,
    by: Signing,
}

const fn person(name: &'static str, key: &'static str, id: &'static str, secret: &'static str) -> Person {
    Person { name, key, by: Signing { id, secret, at: Some(FRIDAY), ..BY_ACME } }
}

/// Who calls: one for each plan.
const FREE: Person = person("free", "the-key-of-free-and-nobody-else", "AKIAFREEEXAMPLE00001", "secret-of-free");
const ROOMY: Person = person("roomy", "the-key-of-roomy-and-nobody-else", "AKIAROOMYEXAMPLE0001", "secret-of-roomy");
const EMPTY: Person = person("empty", "the-key-of-empty-and-nobody-else", "AKIAEMPTYEXAMPLE0001", "secret-of-empty");
const SPENT: Person = person("spent", "the-key-of-spent-and-nobody-else", "AKIASPENTEXAMPLE0001", "secret-of-spent");
/// Whose proofs they have got hold of.
const OTHER: Person = person("other", "the-key-of-other-and-nobody-else", "AKIAOTHEREXAMPLE0001", "secret-of-other");
/// Who may enter where the others may not.
const RIVAL: Person = person("rival", "the-key-of-rival-and-nobody-else", "AKIARIVALEXAMPLE0001", "secret-of-rival");

const CALLING: [Person; 4] = [FREE, ROOMY, EMPTY, SPENT];

/// What a proof is that a request comes with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shown {
    Nothing,
    Good,
    /// A key or an access key that nobody has.
    Unknown,
    /// An access key with a signature of another secret.
    Forged,
    OfAnother,
}

const KEYS: [Shown; 4] = [Shown::Nothing, Shown::Good, Shown::Unknown, Shown::OfAnother];
const SIGNATURES: [Shown; 5] = [Shown::Nothing, Shown::Good, Shown::Unknown, Shown::Forged, Shown::OfAnother];

/// From where, and whether the route lists that, and the caller.
#[derive(Debug, Clone, Copy)]
struct Place {
    address: &'static str,
    by_route: bool,
    by_caller: bool,
}

const PLACES: [Place; 4] = [
    Place { address: "192.0.2.1", by_route: true, by_caller: true },
    Place { address: "192.0.2.129", by_route: true, by_caller: false },
    Place { address: "198.51.100.1", by_route: false, by_caller: true },
    Place { address: "203.0.113.1", by_route: false, by_caller: false },
];

/// Whether a route asks for a key, and for a signature; absent: either will do.
type Asked = Option<(bool, bool)>;

const PROOFS: [(&str, Asked); 4] = [
    ("", None),
    ("proof = [\"key\"]", Some((true, false))),
    ("proof = [\"sigv4\"]", Some((false, true))),
    ("proof = [\"sigv4\", \"key\"]", Some((true, true))),
];

/// Whom a route lets in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lets {
    Callers,
    Rival,
    Anyone,
}

const LETS: [Lets; 3] = [Lets::Callers, Lets::Rival, Lets::Anyone];

/// A request to a route.
#[derive(Debug, Clone, Copy)]
struct Case {
    who: Person,
    key: Shown,
    signature: Shown,
    place: Place,
    /// Which of [`PROOFS`].
    proof: usize,
    lets: Lets,
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// It reaches the backend, as one of this caller's.
    Admitted(&'static str),
    /// With this answer, for one of these reasons: where several things are wrong at once, nobody promised which is told.
    Refused(Answer, Vec<&'static str>),
}

/// A status, and `x-amzn-ErrorType` where AWS is imitated.
type Answer = (u16, Option<&'static str>);

/// What is promised natively: the route's addresses, then proofs, then whether that caller may enter there, then limits.
fn expected(case: &Case) -> Outcome {
    let refused = |status, reason| Outcome::Refused((status, None), vec![reason]);
    if !case.place.by_route {
        return refused(403, "address_not_listed");
    }
    let (has_key, has_signature) = (case.key != Shown::Nothing, case.signature != Shown::Nothing);
    let is_there = match PROOFS[case.proof].1 {
        None => has_key || has_signature,
        Some((key, signature)) => (has_key || !key) && (has_signature || !signature),
    };
    if !is_there {
        return refused(401, "credentials_missing");
    }
    let shown = [case.key, case.signature];
    let has = |what: Shown| shown.contains(&what);
    let flaws = [
        ("credentials_bad", has(Shown::Unknown) || has(Shown::Forged)),
        ("caller_elsewhere", has(Shown::Good) && !case.place.by_caller),
        ("proofs_disagree", has(Shown::OfAnother) && (has(Shown::Good) || has(Shown::Forged))),
    ];
    let flaws: Vec<_> = flaws.iter().filter(|(_, is_so)| *is_so).map(|(reason, _)| *reason).collect();
    if !flaws.is_empty() {
        return Outcome::Refused((401, None), flaws);
    }
    let caller = if has(Shown::Good) { case.who } else { OTHER };
    match caller {
        _ if !case.lets_in(caller) => refused(403, "caller_not_listed"),
        EMPTY => refused(429, "throttled"),
        SPENT => refused(429, "quota_exceeded"),
        Person { name, .. } => Outcome::Admitted(name),
    }
}

/// What AWS promises: the front, then who signed, then keys, then usage plans (order of checks of REST APIs). What a method
/// does not ask for it does not look at; from elsewhere, proofs are unknown ones.
fn expected_of_aws(case: &Case) -> Outcome {
    const MISSING: &str = "MissingAuthenticationTokenException";
    const UNKNOWN: &str = "UnrecognizedClientException";
    const FORBIDDEN: &str = "ForbiddenException";
    let refused = |kind, reason| Outcome::Refused((403, Some(kind)), vec![reason]);
    let limited = |kind, reason| Outcome::Refused((429, Some(kind)), vec![reason]);
    if !case.place.by_route {
        return refused(FORBIDDEN, "address_not_listed");
    }
    let (asks_key, asks_signature) = PROOFS[case.proof].1.unwrap_or((false, false));
    let takes_any = PROOFS[case.proof].1.is_none();
    let key = if asks_key || takes_any { case.key } else { Shown::Nothing };
    let signature = if asks_signature || takes_any { case.signature } else { Shown::Nothing };
    let signed_by = match signature {
        Shown::Nothing if asks_signature || key == Shown::Nothing && takes_any => {
            return refused(MISSING, "credentials_missing");
        }
        Shown::Unknown => return refused(UNKNOWN, "credentials_bad"),
        Shown::Good if !case.place.by_caller => return refused(UNKNOWN, "caller_elsewhere"),
        Shown::Forged if !case.place.by_caller => return refused(UNKNOWN, "credentials_bad"),
        Shown::Forged => return refused("InvalidSignatureException", "credentials_bad"),
        Shown::Nothing => None,
        Shown::Good => Some(case.who),
        Shown::OfAnother => Some(OTHER),
    };
    let key_of = match key {
        Shown::Nothing if asks_key => return refused(FORBIDDEN, "credentials_missing"),
        Shown::Unknown | Shown::Forged => return refused(FORBIDDEN, "credentials_bad"),
        Shown::Nothing => None,
        Shown::Good => Some(case.who),
        Shown::OfAnother => Some(OTHER),
    };
    let flaws = [
        ("caller_elsewhere", key == Shown::Good && !case.place.by_caller),
        ("proofs_disagree", signed_by.is_some() && key_of.is_some() && signed_by != key_of),
    ];
    let flaws: Vec<_> = flaws.iter().filter(|(_, is_so)| *is_so).map(|(reason, _)| *reason).collect();
    match signed_by.or(key_of) {
        _ if !flaws.is_empty() => Outcome::Refused((403, Some(FORBIDDEN)), flaws),
        Some(caller) if !case.lets_in(caller) => refused(FORBIDDEN, "caller_not_listed"),
        Some(EMPTY) => limited("TooManyRequestsException", "throttled"),
        Some(SPENT) => limited("LimitExceededException", "quota_exceeded"),
        Some(Person { name, .. }) => Outcome::Admitted(name),
        None => unreachable!("nobody enters a route for callers without a proof"),
    }
}

/// Every case, those of one place after the other.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        for (who, lets) in CALLING.into_iter().flat_map(|who| LETS.map(|lets| (who, lets))) {
            for (proof, key) in (0..PROOFS.len()).flat_map(|proof| KEYS.map(|key| (proof, key))) {
                let case = |signature| Case { who, key, signature, place, proof, lets };
                cases.extend(SIGNATURES.map(case));
            }
        }
    }
    cases
}

impl Case {
    fn lets_in(&self, caller: Person) -> bool {
        match self.lets {
            Lets::Anyone => true,
            Lets::Callers => caller != OTHER,
            Lets::Rival => false,
        }
    }

    /// The request, which says its number.
    fn request(&self, number: usize) -> Sent {
        let request = get(&format!("/{:?}/{}/{number}", self.lets, self.proof));
        let key = match self.key {
            Shown::Nothing => None,
            Shown::Good => Some(self.who.key),
            Shown::OfAnother => Some(OTHER.key),
            Shown::Unknown | Shown::Forged => Some("a-key-that-nobody-at-all-has"),
        };
        let by = match self.signature {
            Shown::Nothing => None,
            Shown::Good => Some(self.who.by),
            Shown::OfAnother => Some(OTHER.by),
            Shown::Unknown => Some(Signing { id: "AKIANOBODYEXAMPLE001", ..self.who.by }),
            Shown::Forged => Some(Signing { secret: "guessed", ..self.who.by }),
        };
        let request = by.into_iter().fold(request, Sent::signed);
        key.into_iter().fold(request, |request, key| request.with("x-api-key", key))
    }
}

/// How many are admitted of whom.
fn admitted(outcomes: &[Outcome], who: Person) -> u64 {
    outcomes.iter().map(|outcome| u64::from(*outcome == Outcome::Admitted(who.name))).sum()
}

/// What is left of the roomy plan after the last case.
const LEFT: u64 = 3;

/// The configuration, where who has room has room for `roomy` requests and [`LEFT`] more.
fn text(is_imitation: bool, origin: &Origin, directory: &TempDir, roomy: u64) -> String {
    let mut text = format!(
        r#"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        behind = ["127.0.0.1"]
        proxy_protocol = "required"
        forwarded = "off"

        [plan.roomy]
        throttle = {{ rate = "1/d", burst = {burst} }}
        quota = {{ limit = {quota}, per = "month" }}
        [plan.empty]
        throttle = {{ rate = "1/d", burst = 1 }}
        quota = {{ limit = 20, per = "month" }}
        [plan.spent]
        quota = {{ limit = 1, per = "month" }}
        [plan.other]
        quota = {{ limit = 100000, per = "month" }}

        [api.default]
        {compat}
        # Where plans are used up.
        [route."GET /"]
        callers = "any"
        respond = {{}}
        "#,
        compat = if is_imitation { "compat = \"aws-rest\"" } else { "" },
        burst = roomy + LEFT,
        quota = roomy + LEFT + 1,
    );
    for person in [FREE, ROOMY, EMPTY, SPENT, OTHER, RIVAL] {
        let Person { name, key, by } = person;
        let secret = directory.path().join(name);
        std::fs::write(&secret, by.secret).expect("a file");
        let plan = if [FREE, RIVAL].contains(&person) { String::new() } else { format!("plan = \"{name}\"") };
        let from = if person == OTHER { "" } else { "from = [\"192.0.2.0/25\", \"198.51.100.0/24\"]" };
        text += &format!(
            "[caller.{name}]\n{plan}\n{from}\nkeys = [{:?}]\nsigv4 = [{{ access_key = {:?}, secret = \"file:{}\" }}]\n",
            hash(key),
            by.id,
            secret.display()
        );
    }
    for (lets, callers) in LETS.into_iter().zip([r#"["free", "roomy", "empty", "spent"]"#, r#"["rival"]"#, "\"any\""]) {
        for (number, (proof, _)) in PROOFS.iter().enumerate() {
            text += &format!(
                "[route.\"GET /{lets:?}/{number}/{{case}}\"]\nfrom = [\"192.0.2.0/24\"]\ncallers = {callers}\n{proof}\n\
                 forward = {{ to = {:?} }}\n",
                origin.url()
            );
        }
    }
    text
}

/// A client at `place`.
async fn client(gateway: &TestGateway, place: &Place) -> Raw {
    let mut client = Raw::connect(gateway.address()).await;
    client.send(format!("PROXY TCP4 {} 198.51.100.9 56324 443\r\n", place.address)).await;
    client
}

async fn ask(client: &mut Raw, request: &Sent) -> Response {
    client.send(request.bytes()).await;
    client.response().await
}

/// What a native answer must say, besides its status.
#[track_caller]
fn assert_tells(response: &Response, case: &Case) {
    let (status, text) = (response.status, response.text());
    let (body, fields) = match status {
        200 => ("hello", [false, false]),
        401 => (r#"{"message":"Unauthorized"}"#, [true, false]),
        403 => (r#"{"message":"Forbidden"}"#, [false, false]),
        _ => (r#"{"message":"Too Many Requests"}"#, [false, true]),
    };
    let seen = ["www-authenticate", "retry-after"].map(|name| response.header(name).is_some());
    assert_eq!((&*text, seen), (body, fields), "{case:?}: {}", response.head);
}

#[tokio::test]
async fn every_proof_from_every_place_under_every_plan_comes_to_what_is_promised_and_the_refused_pay_nothing() {
    try_all(false).await;
}

#[tokio::test]
async fn where_aws_is_imitated_each_of_them_comes_to_what_aws_says() {
    try_all(true).await;
}

async fn try_all(is_imitation: bool) {
    let (cases, directory) = (cases(), TempDir::new().expect("a directory"));
    let expected = if is_imitation { expected_of_aws } else { expected };
    let outcomes: Vec<Outcome> = cases.iter().map(expected).collect();
    let (books, origin) = (Books::at(FRIDAY), Origin::start(Script::ok("hello")).await);
    let roomy = admitted(&outcomes, ROOMY);
    let text = text(is_imitation, &origin, &directory, roomy);
    let gateway = TestGateway::start_with_books(&text, &books).await;
    let mut seen = client(&gateway, &PLACES[0]).await;
    for who in [EMPTY, SPENT] {
        assert_eq!(ask(&mut seen, &get("/").with("x-api-key", who.key)).await.status, 200);
    }

    let mut left = roomy + LEFT + 1;
    for (index, place) in PLACES.iter().enumerate() {
        let mut client = client(&gateway, place).await;
        let size = cases.len() / PLACES.len();
        for number in index * size..(index + 1) * size {
            let (case, outcome) = (&cases[number], &outcomes[number]);
            let response = ask(&mut client, &case.request(number)).await;
            let answer = match outcome {
                Outcome::Admitted(_) => (200, None),
                Outcome::Refused(answer, _) => *answer,
            };
            let seen = (response.status, response.header("x-amzn-errortype"));
            assert_eq!(seen, answer, "{case:?}: {outcome:?}: {}", response.text());
            if is_imitation {
                continue;
            }
            assert_tells(&response, case);
            if *outcome == Outcome::Admitted(ROOMY.name) {
                left -= 1;
                let told = response.header("ratelimit").expect("it has a quota");
                assert!(told.starts_with(&format!("\"quota\";r={left};")), "{case:?}: {told}");
            }
        }
    }

    let lines = gateway.log_until(|lines| lines.len() >= cases.len() + 2, SOON).await;
    assert_logged(&lines, &cases, &outcomes);
    assert_arrived(is_imitation, &origin, &cases, &outcomes);
    // The buckets: what was admitted has been taken, and no more.
    let mut client = client(&gateway, &PLACES[0]).await;
    let another = get("/").with("x-api-key", ROOMY.key);
    for _ in 0..LEFT {
        assert_eq!(ask(&mut client, &another).await.status, 200);
    }
    assert_eq!(ask(&mut client, &another).await.status, 429);
    // The quotas, likewise: what is not used goes back at a stop.
    gateway.stop(SOON).await;
    let month = Period::Month.at(books.now());
    for (who, units) in [(ROOMY, roomy + LEFT), (EMPTY, 1), (SPENT, 1), (OTHER, admitted(&outcomes, OTHER))] {
        assert_eq!(books.ledger.granted(&format!("caller/{}/requests", who.name), month), units, "{}", who.name);
    }
}

/// Each has its line, with a reason that is true of it; only who has proven to be somebody is named.
fn assert_logged(lines: &[Json], cases: &[Case], outcomes: &[Outcome]) {
    let mut logged = 0;
    for line in lines {
        let path = line["path"].as_str().expect("a path");
        let Some(number) = path.rsplit('/').next().and_then(|number| number.parse::<usize>().ok()) else { continue };
        let (case, outcome) = (&cases[number], &outcomes[number]);
        let (reason, caller) = (line["reason"].as_str(), line["caller"].as_str());
        match outcome {
            Outcome::Admitted(name) => assert_eq!((reason, caller), (None, Some(*name)), "{case:?}: {line}"),
            Outcome::Refused((status, _), reasons) => {
                assert!(reason.is_some_and(|reason| reasons.contains(&reason)), "{case:?}: {outcome:?}: {line}");
                let is_known = *status == 429 || reasons == &["caller_not_listed"];
                assert_eq!(caller.is_some(), is_known, "{case:?}: {line}");
            }
        }
        let place = (line["client"].as_str(), line["client_from"].as_str());
        assert_eq!(place, (Some(case.place.address), Some("proxy")), "{line}");
        logged += 1;
    }
    assert_eq!(logged, cases.len());
}

/// The backend has had those that were admitted, in their order, without what proved who they are from.
fn assert_arrived(is_imitation: bool, origin: &Origin, cases: &[Case], outcomes: &[Outcome]) {
    let requests = origin.requests();
    let number = |target: &str| target.rsplit('/').next().and_then(|number| number.parse().ok()).expect("a number");
    let arrived: Vec<usize> = requests.iter().map(|request| number(request.target())).collect();
    let admitted = |number: &usize| matches!(outcomes[*number], Outcome::Admitted(_));
    assert_eq!(arrived, (0..outcomes.len()).filter(admitted).collect::<Vec<_>>());
    for (request, number) in requests.iter().zip(arrived) {
        let asked = PROOFS[cases[number].proof].1.filter(|_| is_imitation);
        let (asks_key, asks_signature) = asked.unwrap_or((true, true));
        assert!(!asks_key || request.header("x-api-key").is_none(), "{:?}", cases[number]);
        assert!(!asks_signature || request.header("authorization").is_none(), "{:?}", cases[number]);
    }
}
