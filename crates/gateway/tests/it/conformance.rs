//! What clients of API Gateway's REST APIs are promised about keys, usage plans and signatures, and which test keeps each
//! promise. Here are the tests that no other file has.
//!
//! Keys and usage plans (developer guide: api-gateway-api-usage-plans, api-gateway-request-throttling)
//!
//! - No key, an unknown one, one of a caller who may not enter are `Forbidden`.
//!   `identity/keys.rs`: `where_aws_is_imitated_every_key_that_is_not_good_is_forbidden`
//! - So is one that was taken out (there: disabled), and one of a plan without this stage.
//!   `a_key_that_was_taken_out_is_forbidden_like_one_that_never_was`
//!   `a_key_of_a_plan_for_another_api_is_forbidden_and_pays_nothing`
//! - Of 1,000 a day (of 3) the 1,001st (the 4th) is `Limit Exceeded`; the next day of UTC is a new one.
//!   `a_thousand_of_a_thousand_a_day_are_let_in_and_the_next_one_is_told_so_until_midnight`
//!   `limits_of_callers.rs`: `n_of_n_requests_succeed_and_the_next_waits_for_the_next_utc_day`
//! - Of the buckets of a plan and of its stage the smaller one answers first.
//!   `a_plan_of_50_a_second_before_a_stage_with_a_burst_of_50_is_held_back_by_the_stage`
//!   `limits_of_callers.rs`: `with_aws_the_smaller_of_the_plan_and_the_stage_answers_first`
//! - With 1 a second and a burst of 1: 200, 429, and 200 a second later. With a burst of 5: five of six.
//!   `limits_of_callers.rs`: `a_plan_lets_in_the_burst_and_then_it_is_429`
//! - A method with a throttle of its own in the plan leaves the others theirs.
//!   `a_method_with_a_burst_of_2_in_its_plan_leaves_the_others_theirs`
//!   `limits_of_callers.rs`: `a_route_of_a_plan_has_a_bucket_of_its_own_instead`
//! - Under one plan each has a bucket of its own: there each key, here each caller.
//!   `callers_of_one_plan_have_buckets_of_their_own`
//! - A key where none is asked for is not counted.
//!   `a_key_where_none_is_asked_for_is_not_counted`
//! - Keys that an authorizer tells: there are none here.
//!
//! Signatures (control-access-using-iam-policies-to-invoke-api, apigateway-authorization-flow)
//!
//! - Signatures that were computed by hand are verified. Their access key is too short for a configuration.
//!   `crates/sigv4`, `vectors.rs`: `the_vectors_verify`
//! - Unsigned is `Missing Authentication Token`; whatever else is changed is told in AWS's words.
//!   `each_change_to_a_signed_request_is_told_in_the_words_of_aws`
//!   `a_request_at_the_wrong_time_is_told_both_times`
//!   `another_body_or_query_is_told_what_should_have_been_signed`
//! - What changes nothing of what was signed is let in, and `Authorization` does not reach the backend.
//!   `identity/signatures.rs`: `what_is_signed_enters_and_its_signature_is_not_passed_on`
//! - A caller's policy lets it in from its addresses, in the words of its denials.
//!   `identity/policies.rs`: `an_identity_policy_alone_decides_where_the_api_has_none`
//! - Beside it the API's policy lets in, and denies, within the account.
//!   `identity/policies.rs`: `within_an_account_either_policy_may_allow_and_either_may_deny`
//! - A caller of another account needs both.
//!   `identity/policies.rs`: `both_tables_of_aws_hold_for_callers_of_the_same_and_of_another_account`
//! - A signature is not enough where a key is asked for too, and is asked for first.
//!   `identity/signatures.rs`: `a_valid_signature_is_not_enough_where_a_key_is_asked_for_too`
//! - `requestContext.identity.userArn`: there are no events here.
//!
//! All of these with each other: `matrix.rs`.

use aws_lc_rs::digest::{SHA256, digest};
use gatepost_config::model::ProofKind;
use gatepost_meter::Period;
use gatepost_testkit::{Books, Json, Raw, Response, TestGateway};
use jiff::{Timestamp, ToSpan};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::identity::world::{Api, BY_ACME, KEY, OTHER_KEY, Sent, Signing, World, acme, get, hash, post};
use crate::setup::client;

/// 2026-11-20, 14:00:00 in UTC.
const FRIDAY: i64 = 1_795_183_200;
const DAY: i64 = 24 * 3600;

const FORBIDDEN: &str = r#"{"message":"Forbidden"}"#;
const TOO_MANY: &str = r#"{"message":"Too Many Requests"}"#;
const LIMIT_EXCEEDED: &str = r#"{"message":"Limit Exceeded"}"#;

/// An API of AWS, with more lines of its own, and these tables.
fn text(api: &str, tables: &str) -> String {
    format!(
        r#"
        [server]
        account = "111122223333"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        [api.a]
        id = "abc123"
        stage = "prod"
        base = "/prod"
        compat = "aws-rest"
        {api}
        {tables}
        "#
    )
}

/// Two methods that ask for a key.
const ROUTES: &str = r#"
    [api.a.route."GET /pets"]
    callers = "any"
    proof = ["key"]
    respond = { status = 204 }
    [api.a.route."POST /pets"]
    callers = "any"
    proof = ["key"]
    respond = { status = 204 }
"#;

/// A caller under a plan, with these keys.
fn caller(name: &str, plan: &str, keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| hash(key)).collect();
    format!("[caller.{name}]\nplan = {plan:?}\nkeys = {keys:?}\n")
}

async fn ask(client: &mut Raw, key: &str, method: &'static str, path: &str) -> Response {
    client.send(Sent { method, ..get(path) }.with("x-api-key", key).bytes()).await;
    client.response().await
}

/// Asks so often; the statuses.
async fn statuses(client: &mut Raw, key: &str, path: &str, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(ask(client, key, "GET", path).await.status);
    }
    statuses
}

#[track_caller]
fn assert_refused(response: &Response, status: u16, kind: &str, body: &str) {
    assert_eq!((response.status, &*response.text()), (status, body));
    assert_eq!(response.header("x-amzn-errortype"), Some(kind), "{}", response.head);
    assert_eq!(response.header("content-type"), Some("application/json"), "{}", response.head);
    assert_eq!(response.header("content-length"), Some(&*body.len().to_string()), "{}", response.head);
    assert!(response.header("x-amzn-requestid").is_some_and(|id| id.len() == 36), "{}", response.head);
    assert!(response.header("x-amz-apigw-id").is_some_and(|id| id.ends_with('=')), "{}", response.head);
}

// === keys and usage plans ===

#[tokio::test]
async fn a_key_that_was_taken_out_is_forbidden_like_one_that_never_was() {
    let plan = "[plan.gold]\nquota = { limit = 10, per = \"day\" }\n";
    let of = |keys: &[&str]| text("", &[ROUTES, plan, &caller("acme", "gold", keys)].concat());
    let mut gateway = TestGateway::start(&of(&[KEY, OTHER_KEY])).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, KEY, "/prod/pets", 1).await, [204]);
    gateway.apply(&of(&[OTHER_KEY])).await.expect("it can be served");
    for key in [KEY, "a-key-that-nobody-ever-had"] {
        assert_refused(&ask(&mut client, key, "GET", "/prod/pets").await, 403, "ForbiddenException", FORBIDDEN);
    }
    assert_eq!(statuses(&mut client, OTHER_KEY, "/prod/pets", 1).await, [204]);
}

#[tokio::test]
async fn a_key_of_a_plan_for_another_api_is_forbidden_and_pays_nothing() {
    let tables = r#"
        [api.a.route."GET /pets"]
        callers = ["acme"]
        proof = ["key"]
        respond = { status = 204 }
        [api.b]
        base = "/other"
        compat = "aws-rest"
        [api.b.route."GET /pets"]
        callers = ["bob"]
        proof = ["key"]
        respond = { status = 204 }
        [plan.gold]
        quota = { limit = 5, per = "day" }
        [plan.silver]
        throttle = { rate = "1/d", burst = 1 }
        quota = { limit = 2, per = "month" }
    "#;
    let callers = [caller("acme", "gold", &[KEY]), caller("bob", "silver", &[OTHER_KEY])].concat();
    let gateway = TestGateway::start(&text("", &(tables.to_owned() + &callers))).await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        assert_refused(&ask(&mut client, OTHER_KEY, "GET", "/prod/pets").await, 403, "ForbiddenException", FORBIDDEN);
    }
    assert_eq!(statuses(&mut client, OTHER_KEY, "/other/pets", 2).await, [204, 429]);
    assert_eq!(statuses(&mut client, KEY, "/prod/pets", 1).await, [204]);
}

#[tokio::test]
async fn a_thousand_of_a_thousand_a_day_are_let_in_and_the_next_one_is_told_so_until_midnight() {
    let plan = "[plan.gold]\nquota = { limit = 1000, per = \"day\" }\n";
    let books = Books::at(FRIDAY);
    let text = text("", &[ROUTES, plan, &caller("acme", "gold", &[KEY])].concat());
    let gateway = TestGateway::start_with_books(&text, &books).await;
    let mut client = client(&gateway).await;
    for number in 1..=1000 {
        let response = ask(&mut client, KEY, "GET", "/prod/pets").await;
        let told = (response.status, response.header("ratelimit"), response.header("ratelimit-policy"));
        assert_eq!(told, (204, None, None), "the {number}th");
    }
    assert_eq!(LIMIT_EXCEEDED.len(), 28);
    let midnight = FRIDAY - FRIDAY % DAY + DAY;
    for now in [FRIDAY, midnight - 1] {
        books.set(now);
        for method in ["GET", "POST"] {
            let refused = ask(&mut client, KEY, method, "/prod/pets").await;
            assert_refused(&refused, 429, "LimitExceededException", LIMIT_EXCEEDED);
        }
    }
    books.set(midnight);
    assert_eq!(statuses(&mut client, KEY, "/prod/pets", 1).await, [204]);
}

#[tokio::test]
async fn a_plan_of_50_a_second_before_a_stage_with_a_burst_of_50_is_held_back_by_the_stage() {
    let plan = "[plan.gold]\nthrottle = { rate = \"50/s\", burst = 100 }\n";
    let callers = caller("acme", "gold", &[KEY]) + &caller("bob", "gold", &[OTHER_KEY]);
    // Of two callers, so that what all have together binds too.
    let text = text("throttle = { rate = \"100/s\", burst = 50 }", &[ROUTES, plan, &callers].concat());
    let gateway = TestGateway::start(&text).await;
    let mut client = client(&gateway).await;
    let started = Instant::now();
    let mut admitted = 0_u32;
    let refused = loop {
        let response = ask(&mut client, KEY, "GET", "/prod/pets").await;
        if response.status != 204 {
            break response;
        }
        admitted += 1;
    };
    // What has come back meanwhile is let in too, and no more.
    let most = 50.0 + started.elapsed().as_secs_f64() * 100.0;
    assert!(admitted >= 50 && f64::from(admitted) <= most, "{admitted} of {most}");
    assert_eq!(TOO_MANY.len(), 31);
    assert_refused(&refused, 429, "TooManyRequestsException", TOO_MANY);
    let decision = gateway.decision(refused.header("x-gatepost-decision").expect("an id")).await;
    let steps = decision.explanation.expect("it can be explained").steps;
    let failed: Vec<&str> = steps.iter().filter(|step| !step.passed).map(|step| &*step.text).collect();
    assert_eq!(failed, ["of the API, 100/s: 0 of 50 tokens left"]);
}

#[tokio::test]
async fn a_method_with_a_burst_of_2_in_its_plan_leaves_the_others_theirs() {
    let plan = r#"
        [plan.gold]
        throttle = { rate = "50/s", burst = 100 }
        routes."POST /pets" = { rate = "1/d", burst = 2 }
    "#;
    let gateway = TestGateway::start(&text("", &[ROUTES, plan, &caller("acme", "gold", &[KEY])].concat())).await;
    let mut client = client(&gateway).await;
    for _ in 0..2 {
        assert_eq!(ask(&mut client, KEY, "POST", "/prod/pets").await.status, 204);
    }
    let refused = ask(&mut client, KEY, "POST", "/prod/pets").await;
    assert_refused(&refused, 429, "TooManyRequestsException", TOO_MANY);
    assert_eq!(statuses(&mut client, KEY, "/prod/pets", 3).await, [204; 3]);
}

#[tokio::test]
async fn callers_of_one_plan_have_buckets_of_their_own() {
    const NEXT_KEY: &str = "gp_next0123456789abcdef";
    let plan = "[plan.gold]\nthrottle = { rate = \"1/d\", burst = 2 }\nquota = { limit = 3, per = \"month\" }\n";
    let callers = caller("acme", "gold", &[KEY, NEXT_KEY]) + &caller("bob", "gold", &[OTHER_KEY]);
    let gateway = TestGateway::start(&text("", &[ROUTES, plan, &callers].concat())).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, KEY, "/prod/pets", 2).await, [204, 204]);
    // Another key of the same caller is no other bucket.
    assert_eq!(statuses(&mut client, NEXT_KEY, "/prod/pets", 1).await, [429]);
    assert_eq!(statuses(&mut client, OTHER_KEY, "/prod/pets", 3).await, [204, 204, 429]);
}

#[tokio::test]
async fn a_key_where_none_is_asked_for_is_not_counted() {
    let directory = TempDir::new().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, BY_ACME.secret).expect("a file");
    let tables = r#"
        [api.a.route."GET /open"]
        open = true
        respond = { status = 204 }
        [api.a.route."GET /signed"]
        callers = "any"
        proof = ["sigv4"]
        respond = { status = 204 }
        [plan.gold]
        throttle = { rate = "1/d", burst = 1 }
        quota = { limit = 2, per = "month" }
    "#;
    let signer = format!(
        "[caller.signer]\nsigv4 = [{{ access_key = {:?}, secret = \"file:{}\" }}]\n",
        BY_ACME.id,
        secret.display()
    );
    let books = Books::at(FRIDAY);
    let text = text("", &[ROUTES, tables, &caller("acme", "gold", &[KEY]), &signer].concat());
    let gateway = TestGateway::start_with_books(&text, &books).await;
    let mut client = client(&gateway).await;
    assert_eq!(statuses(&mut client, KEY, "/prod/open", 5).await, [204; 5]);
    for _ in 0..5 {
        let by_acme = Signing { at: Some(FRIDAY), ..BY_ACME };
        client.send(get("/prod/signed").signed(by_acme).with("x-api-key", KEY).bytes()).await;
        assert_eq!(client.response().await.status, 204);
    }
    assert_eq!(statuses(&mut client, KEY, "/prod/pets", 2).await, [204, 429]);
    gateway.stop(crate::setup::SOON).await;
    assert_eq!(books.ledger.granted("caller/acme/requests", Period::Month.at(books.now())), 1);
}

// === signatures ===

async fn signed_world() -> World {
    Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4]).start().await
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

/// As JSON has it.
fn message(text: &str) -> String {
    format!("{{\"message\":{}}}", Json::from(text))
}

#[tokio::test]
async fn each_change_to_a_signed_request_is_told_in_the_words_of_aws() {
    let world = signed_world().await;
    let authorization = |value: &str| get("/prod/pets").with("authorization", value);
    let without_host = get("/prod/pets").signed(BY_ACME);
    let without_host = without_host.changed("authorization", |text| text.replace("host;x-amz-date", "x-amz-date"));
    let not_key_value = "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and \
                         encoded with Base64): 'GEe0jYMop3hfLqaHcOeatHZcZs5r/XN5eRv/BF+BCvo='.";
    const INVALID: &str = "InvalidSignatureException";
    for (request, kind, text) in [
        (get("/prod/pets"), "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (
            get("/prod/pets").signed(Signing { region: "us-west-2", ..BY_ACME }),
            INVALID,
            "Credential should be scoped to a valid region, not 'us-west-2'.",
        ),
        (
            get("/prod/pets").signed(Signing { service: "lambda", ..BY_ACME }),
            INVALID,
            "Credential should be scoped to correct service: 'execute-api'.",
        ),
        (without_host, INVALID, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."),
        (authorization("AWS4-HMAC-SHA256 foo"), "IncompleteSignatureException", not_key_value),
    ] {
        assert_refused(&world.ask(&request).await, 403, kind, &message(text));
    }
    assert_eq!(message("Missing Authentication Token").len(), 42);
    assert_eq!(world.origin.count(), 0);
}

#[tokio::test]
async fn a_request_at_the_wrong_time_is_told_both_times() {
    let world = signed_world().await;
    let basic = |time: Timestamp| time.strftime("%Y%m%dT%H%M%SZ").to_string();
    for (ahead, begin, relation, sign) in [
        (-16, "Signature expired", "now earlier than", "-"),
        (16, "Signature not yet current", "still later than", "+"),
    ] {
        let request = get("/prod/pets").signed(Signing { ahead, ..BY_ACME });
        let date = request.field("x-amz-date").to_owned();
        let before = Timestamp::now();
        let response = world.ask(&request).await;
        // The clock of the gateway is that of the test, read somewhat later.
        let seconds =
            (0..).map(|later| before + later.seconds()).take_while(|time| *time <= Timestamp::now() + 1.second());
        let limit = |now: Timestamp| if ahead < 0 { now - 15.minutes() } else { now + 15.minutes() };
        let told = seconds.map(|now| {
            message(&format!("{begin}: {date} is {relation} {} ({} {sign} 15 min.)", basic(limit(now)), basic(now)))
        });
        let text = response.text();
        let told = told.into_iter().find(|told| *told == text).unwrap_or_else(|| panic!("{text}"));
        assert_refused(&response, 403, "InvalidSignatureException", &told);
    }
}

/// What is told of a request to `/prod/pets` whose signature is another's.
fn mismatch(method: &str, query: &str, date: &str, body: &[u8]) -> String {
    let hex = |bytes: &[u8]| {
        digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    };
    let canonical =
        format!("{method}\n/prod/pets\n{query}\nhost:a.test\nx-amz-date:{date}\n\nhost;x-amz-date\n{}", hex(body));
    let (day, hash) = (&date[..8], hex(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{day}/us-east-1/execute-api/aws4_request\n{hash}");
    format!(
        "{MISMATCH}\n\nThe Canonical String for this request should have been\n'{canonical}'\n\nThe String-to-Sign \
         should have been\n'{to_sign}'\n"
    )
}

/// Requests whose signature is not theirs, and what each is told.
fn mismatches() -> [(Sent, String); 3] {
    let flipped = get("/prod/pets").signed(BY_ACME).changed("authorization", |text| {
        let (before, last) = text.split_at(text.len() - 1);
        format!("{before}{}", if last == "0" { "1" } else { "0" })
    });
    let query = Sent { query: "b=2&a=x%20y".to_owned(), ..get("/prod/pets").signed(BY_ACME) };
    let body = Sent { body: b"hallo".to_vec(), ..post("/prod/pets", b"hello").signed(BY_ACME) };
    [(flipped, ""), (query, "a=x%20y&b=2"), (body, "")].map(|(request, query)| {
        let told = mismatch(request.method, query, request.field("x-amz-date"), &request.body);
        (request, told)
    })
}

#[tokio::test]
async fn another_body_or_query_is_told_what_should_have_been_signed() {
    let world = signed_world().await;
    for (request, told) in mismatches() {
        assert_refused(&world.ask(&request).await, 403, "InvalidSignatureException", &message(&told));
    }
    assert_eq!(world.origin.count(), 0);
}
