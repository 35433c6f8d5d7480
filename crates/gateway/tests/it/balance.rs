//! Which target a request goes to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use gatepost_config::model::Balance;
use gatepost_testkit::{Origin, Raw, Script, TestGateway, eventually};

use crate::setup::{SOON, Setup, change_upstreams, client};

async fn answering(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(Origin::start(Script::ok("")).await);
    }
    origins
}

fn counts(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(Origin::count).collect()
}

#[tokio::test]
async fn targets_take_turns_whichever_thread_serves_the_client() {
    let origins = answering(3).await;
    let gateway = Setup::to_upstream(&origins.iter().collect::<Vec<_>>()).start().await;
    for _ in 0..10 {
        let mut client = client(&gateway).await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.status, 200);
        }
    }
    assert_eq!(counts(&origins), [10, 10, 10]);
}

#[tokio::test]
async fn by_least_requests_targets_share_what_is_under_way() {
    let mut origins = Vec::new();
    for _ in 0..3 {
        origins.push(Origin::start(Script::default().then_wait().then_send("HTTP/1.1 204 No\r\n\r\n")).await);
    }
    let setup = Setup::to_upstream(&origins.iter().collect::<Vec<_>>());
    let gateway = setup.start_with(|upstream| upstream.balance = Balance::LeastRequests).await;
    let mut clients = Vec::new();
    for number in 1..=12 {
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
        eventually(SOON, || counts(&origins).iter().sum::<usize>() == number).await;
    }
    assert_eq!(counts(&origins), [4, 4, 4]);
    assert!(origins.iter().all(|origin| gateway.target(origin.address()).requests == 4));
    let metric = format!("gatepost_target_requests{{upstream=\"app\",target=\"{}\"}}", origins[0].url());
    assert!((gateway.metric(&metric) - 4.0).abs() < 0.1, "{}", gateway.metrics());

    origins.iter().for_each(Origin::release);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 204);
    }
    eventually(SOON, || origins.iter().all(|origin| gateway.target(origin.address()).requests == 0)).await;
}

#[tokio::test]
async fn by_least_requests_a_slow_target_gets_few_and_quick_ones_share_the_rest() {
    let slow = Origin::start(Script::silence()).await;
    let quick = answering(2).await;
    let setup = Setup::to_upstream(&[&slow, &quick[0], &quick[1]]);
    let gateway = setup.start_with(|upstream| upstream.balance = Balance::LeastRequests).await;
    // Three requests at rest meet every target once.
    let mut stuck = Vec::new();
    while slow.count() == 0 {
        let mut client = client(&gateway).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        stuck.push(client);
        let sent = stuck.len();
        eventually(SOON, || slow.count() + quick.iter().map(Origin::count).sum::<usize>() == sent).await;
        let quiet = || quick.iter().all(|origin| gateway.target(origin.address()).requests == 0);
        eventually(SOON, quiet).await;
    }
    let before = counts(&quick);
    let mut client = client(&gateway).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
        // The last byte of an answer is read before the request is over.
        eventually(SOON, || quick.iter().all(|origin| gateway.target(origin.address()).requests == 0)).await;
    }
    assert_eq!(slow.count(), 1);
    let gained: Vec<usize> = counts(&quick).iter().zip(before).map(|(now, before)| now - before).collect();
    // Ties are broken in turn over all three, so the one after the slow target gets its turns too.
    assert!(gained.iter().all(|&gained| gained >= 6), "{gained:?}");
}

/// Sends one request from each of these clients; which of the origins it reached.
async fn reached(gateway: &TestGateway, origins: &[Origin], clients: std::ops::Range<u8>) -> HashMap<u8, usize> {
    let mut reached = HashMap::new();
    for number in clients {
        let before = counts(origins);
        let source = IpAddr::from(Ipv4Addr::new(127, 0, 7, number));
        let mut client = Raw::connect_from(source, gateway.address()).await;
        assert_eq!(client.get("/").await.status, 200);
        let one = (0..origins.len()).find(|&index| origins[index].count() > before[index]);
        reached.insert(number, one.expect("it reached one of them"));
    }
    reached
}

#[tokio::test]
async fn by_client_hash_a_client_keeps_its_target_and_a_lost_target_moves_only_its_own_clients() {
    let origins = answering(3).await;
    let setup = Setup::to_upstream(&origins.iter().collect::<Vec<_>>());
    let hash = |upstream: &mut gatepost_config::model::Upstream| upstream.balance = Balance::ClientHash;
    let mut gateway = setup.start_with(hash).await;

    let first = reached(&gateway, &origins, 1..40).await;
    assert_eq!(first, reached(&gateway, &origins, 1..40).await, "equal clients have equal targets");
    let used = |index: usize| first.values().filter(|&&target| target == index).count();
    assert!((0..3).all(|index| used(index) > 3), "every target has clients: {first:?}");

    let two = Setup::to_upstream(&[&origins[0], &origins[2]]).text();
    gateway.apply_with(&two, |model| change_upstreams(model, hash)).await.unwrap();
    let second = reached(&gateway, &origins, 1..40).await;
    for (client, target) in &first {
        if *target == 1 {
            assert_ne!(second[client], 1);
        } else {
            assert_eq!(second[client], *target, "client {client} had a target that is still there");
        }
    }

    gateway.apply_with(&setup.text(), |model| change_upstreams(model, hash)).await.unwrap();
    assert_eq!(reached(&gateway, &origins, 1..40).await, first, "and comes back to it");
}
