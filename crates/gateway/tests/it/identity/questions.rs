//! Who only asks what would become of a request: `why`, examples, and what a change of the configuration changes.

use gatepost_config::load_text;
use gatepost_config::model::{Model, ProofKind};
use gatepost_gateway::{Explanation, Inquiry, Judge, Verdict, diff, explain, failed_examples};
use gatepost_testkit::{Origin, Script};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::json;
use tempfile::TempDir;

use super::world::{Api, BY_ACME, KEY, Known, OTHER_KEY, acme, bob, get};

async fn model(api: &Api) -> Model {
    let (origin, directory) = (Origin::start(Script::ok("")).await, TempDir::new().expect("a directory"));
    let text = api.text(&origin, &directory);
    load_text("gatepost.toml", &text, directory.path()).expect("a configuration").model
}

fn why(model: &Model, caller: Option<&str>, fields: &[(&str, &str)]) -> Explanation {
    let mut headers = HeaderMap::new();
    for (name, value) in [("host", "a.test")].iter().chain(fields) {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
    }
    let inquiry = Inquiry {
        from: [192, 0, 2, 7].into(),
        listener: "default",
        method: Method::GET,
        target: "/prod/pets",
        headers,
        caller,
    };
    explain(model, &inquiry).expect("an explanation")
}

/// The steps about who it is from, and the reason.
fn told(explanation: &Explanation) -> (Vec<String>, &'static str) {
    let about = ["credentials", "caller_from", "callers"];
    let steps = explanation.steps.iter().filter(|step| about.contains(&step.check.name()));
    let steps = steps
        .map(|step| format!("{} {}: {}", if step.passed { "pass" } else { "refuse" }, step.check.name(), step.text));
    let reason = match &explanation.verdict {
        Verdict::Admitted => "admitted",
        Verdict::Refused { reason, .. } => reason.name(),
    };
    (steps.collect(), reason)
}

#[tokio::test]
async fn why_says_who_it_is_from_and_how_that_is_proven() {
    let at_home = Known { from: Some("192.0.2.0/24"), ..acme() };
    let away = Known { from: Some("198.51.100.0/24"), ..bob() };
    let model = model(&Api { listed: Some(vec!["acme"]), ..Api::of(vec![at_home, away]) }).await;
    for (caller, key, steps, reason) in [
        (
            None,
            Some(KEY),
            vec![
                "pass caller_from: of acme, lists 192.0.2.7: 192.0.2.0/24",
                "pass credentials: key of acme",
                "pass callers: acme, by key",
            ],
            "admitted",
        ),
        (
            Some("acme"),
            None,
            vec![
                "pass caller_from: of acme, lists 192.0.2.7: 192.0.2.0/24",
                "pass credentials: sigv4 of acme, taken to be given",
                "pass callers: acme, by sigv4",
            ],
            "admitted",
        ),
        (None, None, vec!["refuse credentials: none of sigv4, key"], "credentials_missing"),
        (None, Some("gp_nobody"), vec!["refuse credentials: key: no caller has this API key"], "credentials_bad"),
        (
            Some("acme"),
            Some("gp_nobody"),
            vec!["refuse credentials: key: no caller has this API key"],
            "credentials_bad",
        ),
        (
            Some("bob"),
            None,
            vec!["refuse caller_from: of bob, no entry lists 192.0.2.7: its proofs are good from nowhere else"],
            "caller_elsewhere",
        ),
        (
            Some("bob"),
            Some(KEY),
            vec![
                "pass caller_from: of acme, lists 192.0.2.7: 192.0.2.0/24",
                "pass credentials: key of acme",
                "refuse credentials: sigv4 of bob, and what else it gives stands for another",
            ],
            "proofs_disagree",
        ),
    ] {
        let fields: Vec<(&str, &str)> = key.into_iter().map(|key| ("x-api-key", key)).collect();
        let explanation = why(&model, caller, &fields);
        let (said, found) = told(&explanation);
        assert_eq!((said.iter().map(|text| &**text).collect::<Vec<_>>(), found), (steps, reason), "{caller:?} {key:?}");
        assert!(explanation.decided_by().iter().all(|rule| rule.place.line() > 0));
    }
}

#[tokio::test]
async fn why_judges_a_signature_as_it_is_and_takes_a_body_to_be_as_it_was_signed() {
    let model = model(&Api::of(vec![acme()]).imitation().proof(&[ProofKind::SigV4])).await;
    let signed = get("/prod/pets").signed(BY_ACME);
    let fields = || ["authorization", "x-amz-date"].map(|name| (name, signed.field(name)));
    assert_eq!(told(&why(&model, None, &fields())).1, "admitted");
    let with_body: Vec<_> = fields().into_iter().chain([("content-length", "5")]).collect();
    let (steps, reason) = told(&why(&model, None, &with_body));
    assert_eq!(reason, "admitted");
    assert_eq!(steps[0], "pass credentials: sigv4 of acme: taken to be good, the body decides");
    let [authorization, date] = fields();
    let wrong = authorization.1.replace("us-east-1", "us-west-2");
    let explanation = why(&model, None, &[("authorization", &wrong), date]);
    assert_eq!(told(&explanation).1, "credentials_bad");
    let Verdict::Refused { status, body, .. } = explanation.verdict else { panic!("it is refused") };
    assert!(status == 403 && body.starts_with(b"{\"message\":\"Credential should be scoped"), "{body:?}");
}

#[tokio::test]
async fn why_tells_the_policies_of_both_sides() {
    let allow = json!({ "Version": "2012-10-17", "Statement": [{
        "Sid": "Own", "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"
    }] });
    let silent = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*/*/other"
    }] });
    for (is_imitation, reason) in [(true, "admitted"), (false, "policy_denied")] {
        let caller = Known { policy: Some(allow.clone()), ..acme() };
        let api = Api { policy: Some(silent.clone()), is_imitation, ..Api::of(vec![caller]) };
        let explanation = why(&model(&api.proof(&[ProofKind::SigV4])).await, Some("acme"), &[]);
        assert_eq!(told(&explanation).1, reason);
        let policies: Vec<_> = explanation.steps.iter().filter(|step| step.check.name() == "policy").collect();
        assert_eq!(policies.len(), 2, "{policies:?}");
        assert_eq!(policies[0].passed, is_imitation);
        assert!(policies[1].passed && policies[1].text.starts_with("of acme: "), "{policies:?}");
    }
}

#[tokio::test]
async fn an_example_may_be_from_a_caller() {
    for (example, fails) in [
        (r#"{ from = "192.0.2.1", caller = "acme", path = "/prod/a", method = "GET", expect = "admitted" }"#, false),
        (r#"{ from = "192.0.2.1", caller = "bob", path = "/prod/a", method = "GET", expect = 403 }"#, false),
        (r#"{ from = "192.0.2.1", path = "/prod/a", method = "GET", expect = 401 }"#, false),
        (r#"{ from = "192.0.2.1", caller = "bob", path = "/prod/a", method = "GET", expect = "admitted" }"#, true),
        (r#"{ from = "192.0.2.1", path = "/prod/a", method = "GET", expect = "admitted" }"#, true),
    ] {
        let route = format!("example = [{example}]").leak();
        let api = Api { listed: Some(vec!["acme"]), route, ..Api::of(vec![acme(), bob()]) };
        let failed = failed_examples(&model(&api).await);
        assert_eq!(!failed.is_empty(), fails, "{example}: {failed:?}");
    }
}

#[tokio::test]
async fn a_difference_of_callers_is_told() {
    let old = model(&Api { listed: Some(vec!["acme"]), ..Api::of(vec![acme(), bob()]) }).await;
    let changed = Known { keys: vec![KEY, "gp_next0123456789abcdef"], ..acme() };
    let carol = Known { name: "carol", keys: vec!["gp_carol0123456789abcd"], ..Known::default() };
    let api = Api { listed: Some(vec!["acme", "carol"]), ..Api::of(vec![changed, carol]) };
    let new = model(&api.proof(&[ProofKind::Key])).await;
    let (old, new) = (Judge::new(&old), Judge::new(&new));
    let difference = diff(&old, &new);
    let callers: Vec<_> = difference.callers.iter().map(|change| (&*change.name, &change.changes[..])).collect();
    assert_eq!(callers, [("acme", &["its keys changed".to_owned()][..]), ("bob", &[]), ("carol", &[])]);
    assert_eq!(difference.routes.len(), 1, "{difference:?}");
    // The backends have other ports.
    assert_eq!(difference.routes[0].changes[..2], ["callers: +carol", "proof: any -> key"]);
    assert!(difference.changes_who_may_enter());
    assert!(diff(&new, &new).callers.is_empty() && !diff(&new, &new).changes_who_may_enter());
}

#[tokio::test]
async fn a_caller_that_comes_goes_or_gets_another_key_is_so_for_the_next_request() {
    let mut world = Api::of(vec![acme()]).start().await;
    let directory = TempDir::new().expect("a directory");
    let (by_acme, by_bob) = (get("/prod/a").with("x-api-key", KEY), get("/prod/a").with("x-api-key", OTHER_KEY));
    let signed = get("/prod/a").signed(BY_ACME);
    let ask = async |world: &super::world::World| {
        [world.ask(&by_acme).await.status, world.ask(&by_bob).await.status, world.ask(&signed).await.status]
    };
    assert_eq!(ask(&world).await, [200, 401, 200]);
    for (callers, expected) in [
        (vec![acme(), bob()], [200, 200, 200]),
        (vec![Known { keys: vec![OTHER_KEY], ..acme() }], [401, 200, 200]),
        (vec![Known { access: vec![(BY_ACME.id, "another secret", None)], ..acme() }], [200, 401, 401]),
        (vec![bob()], [401, 200, 401]),
    ] {
        let text = Api::of(callers).text(&world.origin, &directory);
        world.gateway.apply(&text).await.expect("it can be served");
        assert_eq!(ask(&world).await, expected);
    }
}
