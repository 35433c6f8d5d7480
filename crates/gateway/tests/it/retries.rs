//! Which target a request goes to next, and how many may.

use gatepost_testkit::{Origin, Script};
use tokio::time::Instant;

use crate::setup::{Setup, client, post};

#[tokio::test]
async fn each_try_goes_to_a_target_that_has_not_failed_the_request() {
    let dead = [Origin::start(Script::hang_up()).await, Origin::start(Script::hang_up()).await];
    let good = Origin::start(Script::ok("")).await;
    let setup = Setup::to_upstream(&[&dead[0], &dead[1], &good]).forward("retries = 2");
    let gateway = setup.start_with(|upstream| upstream.eject = None).await;
    let mut client = client(&gateway).await;
    // Within the ten tries that every upstream has at once.
    for round in 1..=5 {
        assert_eq!(client.get("/").await.status, 200, "round {round}");
    }
}

#[tokio::test]
async fn when_all_have_failed_a_request_comes_back_to_none_but_the_last() {
    let dead = [Origin::start(Script::hang_up()).await, Origin::start(Script::hang_up()).await];
    let setup = Setup::to_upstream(&[&dead[0], &dead[1]]).forward("retries = 3");
    let gateway = setup.start_with(|upstream| upstream.eject = None).await;
    let mut client = client(&gateway).await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(dead.each_ref().map(Origin::count), [2, 2]);
}

#[tokio::test]
async fn a_request_with_a_body_goes_to_another_target_only_if_nothing_of_it_was_sent() {
    let (resetting, good) = (Origin::start(Script::default().then_reset()).await, Origin::start(Script::echo()).await);
    let setup = Setup::to_upstream(&[&resetting, &good]).forward("retries = 5");
    let gateway = setup.start_with(|upstream| upstream.eject = None).await;
    let mut client = client(&gateway).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        client.send(post("/", b"once only")).await;
        statuses.push(client.response().await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 502, 502, 502]);
    assert_eq!((resetting.count(), good.count()), (3, 3));
}

#[tokio::test]
async fn an_upstream_that_is_dying_is_not_sent_several_times_its_load() {
    let dead = [Origin::start(Script::hang_up()).await, Origin::start(Script::hang_up()).await];
    let setup = Setup::to_upstream(&[&dead[0], &dead[1]]).forward("retries = 5");
    let gateway = setup.start_with(|upstream| upstream.eject = None).await;
    let began = Instant::now();
    let mut clients = [client(&gateway).await, client(&gateway).await];
    for _ in 0..50 {
        for client in &mut clients {
            assert_eq!(client.get("/").await.status, 502);
        }
    }
    let tries: usize = dead.iter().map(Origin::count).sum();
    let retries = tries - 100;
    // A fifth of the requests, ten at once, and ten for each second that this took.
    let most = 100 / 5 + 10 + 10 * (began.elapsed().as_secs() as usize + 1);
    assert!(retries >= 30 && retries <= most, "{retries} retries of 100 requests");
    let counted =
        |outcome: &str| gateway.metric(&format!("gatepost_retries_total{{upstream=\"app\",outcome=\"{outcome}\"}}"));
    assert!((counted("tried") - retries as f64).abs() < 0.1, "{}", gateway.metrics());
    assert!(counted("refused") > 0.0, "{}", gateway.metrics());
}
