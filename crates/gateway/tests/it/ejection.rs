//! Targets that fail requests are left alone for a while.

use std::num::NonZeroU32;
use std::time::Duration;

use gatepost_config::model::{Eject, Upstream};
use gatepost_gateway::TargetState;
use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually};

use crate::setup::{SOON, Setup, change_upstreams, client};

const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// After two failures in a row.
fn eject(pause: Duration) -> impl Fn(&mut Upstream) {
    move |upstream| upstream.eject = Some(Eject { after: TWO, pause })
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

fn state(gateway: &TestGateway, origin: &Origin) -> TargetState {
    gateway.target(origin.address()).state
}

/// Asks until the target is ejected; how often that was answered with 502.
async fn ask_until_ejected(gateway: &TestGateway, client: &mut Raw, origin: &Origin) -> usize {
    let mut failed = 0;
    for _ in 0..100 {
        if state(gateway, origin) == TargetState::Ejected {
            return failed;
        }
        failed += usize::from(client.get("/").await.status == 502);
    }
    panic!("it is not ejected after a hundred requests")
}

#[tokio::test]
async fn a_target_that_fails_so_many_requests_in_a_row_is_left_alone() {
    let (failing, good) = (Origin::start(Script::hang_up()).await, Origin::start(Script::ok("")).await);
    let gateway = Setup::to_upstream(&[&failing, &good]).start_with(eject(LONG)).await;
    let mut client = client(&gateway).await;
    assert_eq!(state(&gateway, &failing), TargetState::Unchecked);
    assert_eq!(ask_until_ejected(&gateway, &mut client, &failing).await, 2);
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(failing.count(), 2);
    let labels = format!("{{upstream=\"app\",target=\"{}\"}}", failing.url());
    let metric = |name: &str| gateway.metric(&format!("gatepost_{name}{labels}"));
    assert!((metric("target_ejections_total") - 1.0).abs() < 0.1, "{}", gateway.metrics());
    assert!(metric("target_healthy") < 0.1, "{}", gateway.metrics());
}

#[tokio::test]
async fn a_target_where_nobody_listens_is_left_alone() {
    let good = Origin::start(Script::ok("")).await;
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = nobody.local_addr().unwrap();
    let setup = Setup::to_urls(&[format!("http://{address}"), good.url()]).forward("retries = 1");
    let gateway = setup.start_with(eject(LONG)).await;
    let mut client = client(&gateway).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(gateway.target(address).state, TargetState::Ejected);
    let lines = gateway.log_until(|lines| lines.len() == 10, SOON).await;
    assert_eq!(lines.iter().filter(|line| line["attempts"] == 2).count(), 2, "{lines:#?}");
}

#[tokio::test]
async fn an_answer_of_any_status_is_no_failure_and_ends_the_row() {
    // Closed each time: what fails on a connection that has waited is no failure, either.
    let error = "HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let scripts = (0..20).map(|number| if number % 2 == 0 { Script::hang_up() } else { Script::send(error) });
    let flapping = Origin::in_turn(scripts.collect()).await;
    let good = Origin::start(Script::ok("")).await;
    let gateway = Setup::to_upstream(&[&flapping, &good]).start_with(eject(LONG)).await;
    let mut client = client(&gateway).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(client.get("/").await.status);
    }
    let count = |status| statuses.iter().filter(|&&seen| seen == status).count();
    assert_eq!((count(200), count(502), count(500)), (10, 5, 5));
    assert_eq!(state(&gateway, &flapping), TargetState::Unchecked);
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_a_failure() {
    let (silent, good) = (Origin::start(Script::silence()).await, Origin::start(Script::ok("")).await);
    let setup = Setup::to_upstream(&[&silent, &good]).forward("timeout = \"200ms\"");
    let gateway = setup.start_with(eject(LONG)).await;
    let mut client = client(&gateway).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(client.get("/").await.status);
    }
    assert_eq!(statuses.iter().filter(|&&status| status == 504).count(), 2, "{statuses:?}");
    assert_eq!(state(&gateway, &silent), TargetState::Ejected);
}

#[tokio::test]
async fn a_client_that_goes_away_or_sends_nonsense_is_no_failure_of_the_target() {
    let (silent, good) = (Origin::start(Script::silence()).await, Origin::start(Script::ok("")).await);
    let gateway = Setup::to_upstream(&[&silent, &good]).start_with(eject(LONG)).await;
    for round in 1..=4 {
        while silent.count() < round {
            let mut gone = client(&gateway).await;
            let before = silent.count() + good.count();
            gone.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
            eventually(SOON, || silent.count() + good.count() > before).await;
            if round % 2 == 0 {
                gone.send("no chunk\r\n").await;
                let _ = gone.try_response().await;
            }
        }
    }
    eventually(SOON, || silent.open() == 0).await;
    assert_eq!(state(&gateway, &silent), TargetState::Unchecked);
}

#[tokio::test]
async fn after_its_pause_one_request_at_a_time_finds_out_whether_a_target_is_back() {
    let (target, good) = (Origin::start(Script::hang_up()).await, Origin::start(Script::ok("good")).await);
    let gateway = Setup::to_upstream(&[&target, &good]).start_with(eject(SHORT)).await;
    let mut client = client(&gateway).await;
    ask_until_ejected(&gateway, &mut client, &target).await;
    let failed = target.count();

    target.from_now_on(Script::default().then_wait().then_send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback"));
    let mut on_trial = crate::setup::client(&gateway).await;
    loop {
        on_trial.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let good_before = good.count();
        eventually(SOON, || target.count() > failed || good.count() > good_before).await;
        if target.count() > failed {
            break;
        }
        assert_eq!(on_trial.response().await.text(), "good");
    }
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "good", "the one on trial has not told yet");
    }
    assert_eq!(target.count(), failed + 1);
    assert_eq!(state(&gateway, &target), TargetState::Ejected);

    target.release();
    assert_eq!(on_trial.response().await.text(), "back");
    assert_eq!(state(&gateway, &target), TargetState::Unchecked);
    let before = target.count();
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(target.count(), before + 5);
}

#[tokio::test]
async fn a_target_that_fails_its_one_try_is_left_alone_again() {
    let (failing, good) = (Origin::start(Script::hang_up()).await, Origin::start(Script::ok("")).await);
    let gateway = Setup::to_upstream(&[&failing, &good]).start_with(eject(SHORT)).await;
    let mut client = client(&gateway).await;
    ask_until_ejected(&gateway, &mut client, &failing).await;
    let metric = format!("gatepost_target_ejections_total{{upstream=\"app\",target=\"{}\"}}", failing.url());
    while gateway.metric(&metric) < 3.0 {
        client.get("/").await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Two in a row first, then one at each try.
    assert_eq!(failing.count(), 4);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_one_try_to_the_next() {
    let (target, good) = (Origin::start(Script::hang_up()).await, Origin::start(Script::ok("")).await);
    let gateway = Setup::to_upstream(&[&target, &good]).start_with(eject(SHORT)).await;
    let mut client = client(&gateway).await;
    ask_until_ejected(&gateway, &mut client, &target).await;
    target.from_now_on(Script::silence());
    let failed = target.count();
    let deadline = tokio::time::Instant::now() + SOON;
    while target.count() == failed {
        assert!(tokio::time::Instant::now() < deadline);
        let mut gone = crate::setup::client(&gateway).await;
        let before = good.count();
        gone.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        eventually(SOON, || target.count() > failed || good.count() > before).await;
    }
    eventually(SOON, || target.open() == 0).await;
    target.from_now_on(Script::ok(""));
    let back = || state(&gateway, &target) == TargetState::Unchecked;
    let deadline = tokio::time::Instant::now() + SOON;
    while !back() {
        assert!(tokio::time::Instant::now() < deadline);
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn when_all_are_ejected_all_are_used_and_an_answer_brings_one_back() {
    let origins = [Origin::start(Script::hang_up()).await, Origin::start(Script::hang_up()).await];
    let gateway = Setup::to_upstream(&[&origins[0], &origins[1]]).start_with(eject(LONG)).await;
    let mut client = client(&gateway).await;
    ask_until_ejected(&gateway, &mut client, &origins[0]).await;
    ask_until_ejected(&gateway, &mut client, &origins[1]).await;
    let before = [origins[0].count(), origins[1].count()];
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status, 502);
    }
    assert_eq!([origins[0].count(), origins[1].count()], [before[0] + 2, before[1] + 2]);

    origins[0].from_now_on(Script::ok(""));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(client.get("/").await.status);
    }
    assert_eq!(state(&gateway, &origins[0]), TargetState::Unchecked);
    assert_eq!(statuses[2..], [200; 4], "{statuses:?}");
}

#[tokio::test]
async fn the_only_target_is_never_left_alone() {
    let failing = Origin::start(Script::hang_up()).await;
    let gateway = Setup::to(&failing).start_with(eject(LONG)).await;
    let mut client = client(&gateway).await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.status, 502);
    }
    assert_eq!(state(&gateway, &failing), TargetState::Unchecked);
    failing.from_now_on(Script::ok(""));
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_reload_keeps_a_target_ejected_unless_nobody_is_to_be_ejected_any_more() {
    let (failing, good) = (Origin::start(Script::hang_up()).await, Origin::start(Script::ok("")).await);
    let setup = Setup::to_upstream(&[&failing, &good]);
    let mut gateway = setup.start_with(eject(LONG)).await;
    let mut client = client(&gateway).await;
    ask_until_ejected(&gateway, &mut client, &failing).await;
    gateway.apply_with(&setup.text(), |model| change_upstreams(model, eject(LONG))).await.unwrap();
    assert_eq!(state(&gateway, &failing), TargetState::Ejected);
    let never = |upstream: &mut Upstream| upstream.eject = None;
    gateway.apply_with(&setup.text(), |model| change_upstreams(model, never)).await.unwrap();
    assert_eq!(state(&gateway, &failing), TargetState::Unchecked);
    let statuses = [client.get("/").await.status, client.get("/").await.status];
    assert!(statuses.contains(&502), "{statuses:?}");
}
