//! Active health checks: which targets are probed how, and what comes of it.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use gatepost_config::model::{Eject, Health, TargetHost, Upstream};
use gatepost_gateway::TargetState;
use gatepost_testkit::{Answer, Http2Origin, Origin, Script, TestGateway, eventually};
use http::HeaderValue;
use tokio::net::TcpSocket;

use crate::setup::{SOON, Setup, change_upstreams, client};

const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// Twenty times a second; two in a row change the state.
fn checks() -> Health {
    Health {
        path: "/ping".into(),
        host: None,
        codes: vec![200..=299],
        every: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        healthy: TWO,
        unhealthy: TWO,
    }
}

fn probing(health: Health) -> impl Fn(&mut Upstream) {
    move |upstream| upstream.health = Some(health.clone())
}

fn probing_codes(codes: Vec<RangeInclusive<u16>>) -> impl Fn(&mut Upstream) {
    probing(Health { codes, ..checks() })
}

async fn until(gateway: &TestGateway, origin: &Origin, state: TargetState) {
    eventually(SOON, || gateway.target(origin.address()).state == state).await;
}

fn answering(status: u16) -> Script {
    Script::send(format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n"))
}

/// How many probes have come, with this path.
fn probes(origin: &Origin, path: &str) -> usize {
    origin.requests().iter().filter(|request| request.target() == path).count()
}

#[tokio::test]
async fn a_probe_is_a_get_on_a_connection_of_its_own() {
    let origin = Origin::start(Script::ok("fine")).await;
    let gateway = Setup::to(&origin).start_with(probing(checks())).await;
    eventually(SOON, || origin.count() >= 3).await;
    eventually(SOON, || origin.accepted() > origin.open()).await;
    let requests = origin.requests();
    for (number, request) in requests[..3].iter().enumerate() {
        assert_eq!(request.connection, number);
        assert_eq!(request.request_line(), "GET /ping HTTP/1.1");
        assert_eq!(request.header("host"), Some(&*origin.address().to_string()));
        assert_eq!(request.header("connection"), Some("close"));
        let agent = request.header("user-agent").unwrap();
        assert!(agent.starts_with("gatepost-health/"), "{agent}");
    }
    assert_eq!(gateway.target(origin.address()).state, TargetState::Healthy);
    assert!(gateway.log().is_empty(), "probes are no requests of clients");
}

#[tokio::test]
async fn a_probe_asks_for_the_path_and_the_host_that_are_configured() {
    let origin = Origin::start(Script::ok("")).await;
    let health = Health {
        path: "/deep/ping?full=1".into(),
        host: Some(HeaderValue::from_static("api.example.com")),
        ..checks()
    };
    let _gateway = Setup::to(&origin).start_with(probing(health)).await;
    eventually(SOON, || origin.count() >= 1).await;
    assert_eq!(origin.last().target(), "/deep/ping?full=1");
    assert_eq!(origin.last().header("host"), Some("api.example.com"));
}

#[tokio::test]
async fn requests_go_to_healthy_targets_only() {
    let (good, bad) = (Origin::start(Script::ok("")).await, Origin::start(answering(503)).await);
    let gateway = Setup::to_upstream(&[&good, &bad]).start_with(probing(checks())).await;
    until(&gateway, &good, TargetState::Healthy).await;
    let mut client = client(&gateway).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200, "a target that was never good is not used either");
    }
    until(&gateway, &bad, TargetState::Unhealthy).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(probes(&bad, "/"), 0);
    let metric = |origin: &Origin| {
        gateway.metric(&format!("gatepost_target_healthy{{upstream=\"app\",target=\"{}\"}}", origin.url()))
    };
    assert!(metric(&good) > 0.9 && metric(&bad) < 0.1, "{}", gateway.metrics());
}

#[tokio::test]
async fn a_target_that_dies_is_left_out_and_comes_back_when_it_is_revived() {
    let (mortal, other) = (Origin::start(Script::ok("mortal")).await, Origin::start(Script::ok("other")).await);
    let gateway = Setup::to_upstream(&[&mortal, &other]).start_with(probing(checks())).await;
    until(&gateway, &mortal, TargetState::Healthy).await;
    until(&gateway, &other, TargetState::Healthy).await;

    mortal.from_now_on(Script::hang_up());
    until(&gateway, &mortal, TargetState::Unhealthy).await;
    let mut client = client(&gateway).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "other");
    }

    mortal.from_now_on(Script::ok("mortal"));
    until(&gateway, &mortal, TargetState::Healthy).await;
    let mut mortals = 0;
    for _ in 0..10 {
        mortals += usize::from(client.get("/").await.text() == "mortal");
    }
    assert_eq!(mortals, 5);
}

/// For so long that it does not end here, after two failures in a row.
fn ejecting(upstream: &mut Upstream) {
    upstream.eject = Some(Eject { after: TWO, pause: Duration::from_secs(600) });
}

fn ejecting_and_probing(upstream: &mut Upstream) {
    ejecting(upstream);
    probing(checks())(upstream);
}

#[tokio::test]
async fn probes_that_see_a_target_fail_and_recover_end_its_ejection() {
    let (mortal, other) = (Origin::start(Script::hang_up()).await, Origin::start(Script::ok("other")).await);
    let setup = Setup::to_upstream(&[&mortal, &other]);
    let mut gateway = setup.start_with(ejecting).await;
    let mut client = client(&gateway).await;
    for _ in 0..4 {
        client.get("/").await;
    }
    assert_eq!(gateway.target(mortal.address()).state, TargetState::Ejected);

    gateway.apply_with(&setup.text(), |model| change_upstreams(model, ejecting_and_probing)).await.unwrap();
    until(&gateway, &mortal, TargetState::Unhealthy).await;
    until(&gateway, &other, TargetState::Healthy).await;
    mortal.from_now_on(Script::ok("mortal"));
    until(&gateway, &mortal, TargetState::Healthy).await;
    let mut mortals = 0;
    for _ in 0..10 {
        mortals += usize::from(client.get("/").await.text() == "mortal");
    }
    assert_eq!(mortals, 5);
}

#[tokio::test]
async fn probes_that_are_good_all_the_while_leave_a_target_ejected() {
    let (failing, other) = (Origin::start(Script::hang_up()).await, Origin::start(Script::ok("other")).await);
    let setup = Setup::to_upstream(&[&failing, &other]);
    let mut gateway = setup.start_with(ejecting).await;
    let mut client = client(&gateway).await;
    for _ in 0..4 {
        client.get("/").await;
    }
    failing.from_now_on(Script::ok("what fails is not what is probed"));
    gateway.apply_with(&setup.text(), |model| change_upstreams(model, ejecting_and_probing)).await.unwrap();
    eventually(SOON, || probes(&failing, "/ping") > 4).await;
    assert_eq!(gateway.target(failing.address()).state, TargetState::Ejected);
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "other");
    }
}

#[tokio::test]
async fn a_target_where_nobody_listens_is_unhealthy_until_somebody_does() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let other = Origin::start(Script::ok("")).await;
    let setup = Setup::to_urls(&[format!("http://{address}"), other.url()]);
    let gateway = setup.start_with(probing(checks())).await;
    eventually(SOON, || gateway.target(address).state == TargetState::Unhealthy).await;
    let origin = Origin::on(socket, vec![Script::ok("")]);
    until(&gateway, &origin, TargetState::Healthy).await;
}

#[tokio::test]
async fn so_many_probes_in_a_row_change_the_state_and_a_new_target_needs_one() {
    let scripts = [200, 500, 200, 500, 500, 200, 500, 200, 200, 200].map(answering).to_vec();
    // What follows the last script is the last script.
    let origin = Origin::in_turn(scripts).await;
    let gateway = Setup::to(&origin).start_with(probing(checks())).await;
    let mut seen = vec![TargetState::Initial];
    while origin.count() < 12 {
        let state = gateway.target(origin.address()).state;
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    use TargetState::{Healthy, Initial, Unhealthy};
    assert_eq!(seen, [Initial, Healthy, Unhealthy, Healthy]);
}

#[tokio::test]
async fn the_status_alone_says_whether_a_target_is_healthy() {
    for (status, codes, state) in [
        (403, vec![403..=403], TargetState::Healthy),
        (403, vec![200..=299, 403..=403], TargetState::Healthy),
        (403, vec![200..=299], TargetState::Unhealthy),
        (200, vec![403..=403], TargetState::Unhealthy),
        (302, vec![200..=299], TargetState::Unhealthy),
        (302, vec![300..=399], TargetState::Healthy),
        (599, vec![200..=599], TargetState::Healthy),
    ] {
        let answer = format!("HTTP/1.1 {status} So\r\nlocation: /elsewhere\r\ncontent-length: 5\r\n\r\n");
        let origin = Origin::start(Script::send(answer).then_hang()).await;
        let gateway = Setup::to(&origin).start_with(probing_codes(codes)).await;
        until(&gateway, &origin, state).await;
        assert_eq!(probes(&origin, "/elsewhere"), 0, "redirects are not followed");
    }
}

#[tokio::test]
async fn a_probe_that_takes_too_long_is_a_bad_one() {
    for script in [Script::silence(), Script::default().then_drip("HTTP/1.1 200 OK\r\n", Duration::from_millis(80))] {
        let origin = Origin::start(script).await;
        let health = Health { timeout: Duration::from_millis(40), ..checks() };
        let gateway = Setup::to(&origin).start_with(probing(health)).await;
        until(&gateway, &origin, TargetState::Unhealthy).await;
        let later = origin.count() + 2;
        eventually(SOON, || origin.count() > later).await;
        eventually(SOON, || origin.open() <= 1).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_a_bad_one() {
    for nonsense in ["SSH-2.0-OpenSSH_9.9\r\n", "HTTP/1.1 99 Low\r\n\r\n", "HTTP/1.1 2000 Many\r\n\r\n"] {
        let origin = Origin::start(Script::send(nonsense).then_close()).await;
        let gateway = Setup::to(&origin).start_with(probing_codes(vec![100..=599])).await;
        until(&gateway, &origin, TargetState::Unhealthy).await;
    }
}

#[tokio::test]
async fn when_no_target_is_healthy_all_are_used() {
    let origins = [Origin::start(Script::ok("")).await, Origin::start(Script::ok("")).await];
    // They answer, but not what the probes want.
    let gateway = Setup::to_upstream(&[&origins[0], &origins[1]]).start_with(probing_codes(vec![204..=204])).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 200, "before a probe has told");
    until(&gateway, &origins[0], TargetState::Unhealthy).await;
    until(&gateway, &origins[1], TargetState::Unhealthy).await;
    let before = origins.each_ref().map(|origin| probes(origin, "/"));
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(origins.each_ref().map(|origin| probes(origin, "/")), before.map(|count| count + 5));
}

#[tokio::test]
async fn a_reload_that_leaves_the_checks_alone_forgets_nothing() {
    let (good, bad) = (Origin::start(Script::ok("")).await, Origin::start(answering(503)).await);
    let setup = Setup::to_upstream(&[&good, &bad]);
    let mut gateway = setup.start_with(probing(checks())).await;
    until(&gateway, &good, TargetState::Healthy).await;
    until(&gateway, &bad, TargetState::Unhealthy).await;
    let since = gateway.target(bad.address()).since;
    for _ in 0..5 {
        gateway.apply_with(&setup.text(), |model| change_upstreams(model, probing(checks()))).await.unwrap();
        assert_eq!(gateway.target(good.address()).state, TargetState::Healthy);
        let report = gateway.target(bad.address());
        assert_eq!((report.state, report.since), (TargetState::Unhealthy, since));
    }
    let before = bad.count();
    eventually(SOON, || bad.count() > before + 2).await;
}

#[tokio::test]
async fn a_reload_changes_the_checks_and_ends_those_that_are_gone() {
    let (stays, goes) = (Origin::start(Script::ok("")).await, Origin::start(Script::ok("")).await);
    let both = Setup::to_upstream(&[&stays, &goes]);
    let mut gateway = both.start_with(probing_codes(vec![204..=204])).await;
    until(&gateway, &stays, TargetState::Unhealthy).await;
    until(&gateway, &goes, TargetState::Unhealthy).await;

    let other = || Health { path: "/other".into(), ..checks() };
    gateway.apply_with(&both.text(), |model| change_upstreams(model, probing(other()))).await.unwrap();
    until(&gateway, &stays, TargetState::Healthy).await;
    until(&gateway, &goes, TargetState::Healthy).await;
    let old = probes(&stays, "/ping");

    let one = Setup::to(&stays);
    gateway.apply_with(&one.text(), |model| change_upstreams(model, probing(other()))).await.unwrap();
    assert_eq!(gateway.target(stays.address()).state, TargetState::Healthy);
    eventually(SOON, || goes.open() == 0).await;
    let gone = goes.count();
    let before = probes(&stays, "/other");
    eventually(SOON, || probes(&stays, "/other") > before + 4).await;
    assert!(goes.count() <= gone + 1, "a probe that was on its way may arrive");
    assert_eq!(probes(&stays, "/ping"), old);

    gateway.apply(&one.text()).await.unwrap();
    assert_eq!(gateway.target(stays.address()).state, TargetState::Unchecked);
}

#[tokio::test]
async fn a_target_that_a_reload_adds_is_used_once_a_probe_was_good() {
    let (old, new) = (Origin::start(Script::ok("old")).await, Origin::start(answering(503)).await);
    let mut gateway = Setup::to(&old).start_with(probing(checks())).await;
    until(&gateway, &old, TargetState::Healthy).await;
    let both = Setup::to_upstream(&[&old, &new]).text();
    gateway.apply_with(&both, |model| change_upstreams(model, probing(checks()))).await.unwrap();
    let mut client = client(&gateway).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "old");
    }
    new.from_now_on(Script::ok("new"));
    until(&gateway, &new, TargetState::Healthy).await;
    let mut news = 0;
    for _ in 0..10 {
        news += usize::from(client.get("/").await.text() == "new");
    }
    assert_eq!(news, 5);
}

#[tokio::test]
async fn a_probe_goes_nowhere_that_requests_may_not() {
    let origin = Origin::start(Script::ok("")).await;
    let to_name = |upstream: &mut Upstream| {
        // The language refuses the name; another one may come to stand for the same address.
        upstream.targets[0].host = TargetHost::Name("localhost".into());
        upstream.health = Some(checks());
    };
    let gateway = Setup::to(&origin).start_with(to_name).await;
    let unhealthy = || {
        let reports = gateway.metrics();
        reports.contains("gatepost_target_healthy{upstream=\"app\",target=\"http://localhost:")
            && reports.contains("} 0")
    };
    eventually(SOON, unhealthy).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn http2_targets_are_probed_over_http2() {
    use gatepost_config::model::HttpVersion;

    let origin = Http2Origin::start(Answer::ok("").status(403)).await;
    let to = |upstream: &mut Upstream| {
        upstream.http = HttpVersion::Two;
        upstream.health = Some(Health { codes: vec![403..=403], ..checks() });
    };
    let gateway = Setup::to_urls(&[origin.url()]).start_with(to).await;
    eventually(SOON, || gateway.target(origin.address()).state == TargetState::Healthy).await;
    let probe = &origin.requests()[0];
    assert_eq!(probe.head.uri.to_string(), format!("{}/ping", origin.url()));
    assert_eq!(probe.head.version, http::Version::HTTP_2);
    let later = origin.accepted() + 2;
    eventually(SOON, || origin.accepted() > later && origin.open() <= 1).await;
}
