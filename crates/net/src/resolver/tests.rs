//! Against a name server of the tests' own, with real seconds: TTLs are whole ones.

use std::time::Duration;

use gatepost_testkit::{NameServer, PATIENCE, eventually};
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{Instant, sleep_until};

use super::*;

const NAME: &str = "app.example";

fn resolver(server: &NameServer) -> Resolver {
    Resolver::with_servers(vec![server.address()]).unwrap()
}

fn impatient(server: &NameServer, keeping: Keeping) -> Resolver {
    Resolver::start(Asker::servers(vec![server.address()]), keeping).unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Asks until the answer is this one; no single question may have to wait.
async fn until_answer(resolver: &Resolver, wanted: &Result<Vec<IpAddr>, ResolveError>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = now(resolver).await;
        if answer == *wanted {
            return;
        }
        assert!(Instant::now() < end, "still {answer:?}, not {wanted:?}");
        sleep_until(Instant::now() + Duration::from_millis(10)).await;
    }
}

/// The answer that is there without waiting for anybody.
async fn now(resolver: &Resolver) -> Result<Vec<IpAddr>, ResolveError> {
    tokio::time::timeout(Duration::ZERO, resolver.addresses(NAME)).await.expect("an answer that is at hand")
}

#[tokio::test]
async fn an_answer_is_used_for_its_ttl_and_not_looked_up_again() {
    let server = NameServer::start();
    server.set(NAME, 3600, &["192.0.2.1", "2001:db8::1"]);
    let resolver = resolver(&server);
    let entry = resolver.entry(NAME);
    for _ in 0..100 {
        assert_eq!(resolver.addresses(NAME).await.unwrap(), addresses(&["2001:db8::1", "192.0.2.1"]));
    }
    assert_eq!(server.asked(NAME), 1);
    assert_eq!(entry.generation(), 1);
}

#[tokio::test]
async fn an_answer_that_has_ended_is_replaced_in_the_background() {
    let server = NameServer::start();
    server.set(NAME, 1, &["192.0.2.1"]);
    let resolver = resolver(&server);
    let entry = resolver.entry(NAME);
    assert_eq!(resolver.addresses(NAME).await.unwrap(), addresses(&["192.0.2.1"]));
    server.set(NAME, 1, &["192.0.2.2"]);
    until_answer(&resolver, &Ok(addresses(&["192.0.2.2"]))).await;
    assert_eq!(entry.generation(), 2);
    // Looked up again, and the same again: no new set.
    let asked = server.asked(NAME);
    eventually(PATIENCE, || server.asked(NAME) > asked + 1).await;
    assert_eq!(entry.generation(), 2);
}

#[tokio::test]
async fn a_name_server_that_hangs_delays_nobody_who_has_an_answer() {
    let server = NameServer::start();
    server.set(NAME, 1, &["192.0.2.1"]);
    let resolver = resolver(&server);
    let _entry = resolver.entry(NAME);
    assert!(resolver.addresses(NAME).await.is_ok());
    server.fall_silent();
    let asked = server.asked(NAME);
    // Long enough for a lookup to be given up and begun anew.
    let end = Instant::now() + LOOKUP_TIMEOUT + Duration::from_secs(2);
    while Instant::now() < end {
        assert_eq!(now(&resolver).await, Ok(addresses(&["192.0.2.1"])));
        sleep_until(Instant::now() + Duration::from_millis(20)).await;
    }
    assert!(server.asked(NAME) > asked);
    server.set(NAME, 1, &["192.0.2.9"]);
    server.speak();
    until_answer(&resolver, &Ok(addresses(&["192.0.2.9"]))).await;
}

#[tokio::test]
async fn an_old_answer_is_not_used_for_ever() {
    let server = NameServer::start();
    server.set(NAME, 1, &["192.0.2.1"]);
    let resolver = impatient(&server, Keeping { stale: Duration::from_secs(2), idle: IDLE });
    let entry = resolver.entry(NAME);
    assert!(resolver.addresses(NAME).await.is_ok());
    let first = Instant::now();
    server.fail(NAME);
    let failed = |answer: &Result<Vec<IpAddr>, ResolveError>| matches!(answer, Err(ResolveError::Failed(_)));
    while !failed(&now(&resolver).await) {
        assert!(first.elapsed() < PATIENCE, "{:?}", now(&resolver).await);
        sleep_until(Instant::now() + Duration::from_millis(10)).await;
    }
    assert!(first.elapsed() >= Duration::from_secs(2), "{:?}", first.elapsed());
    assert_eq!(entry.has(addresses(&["192.0.2.1"])[0]), None);
    server.set(NAME, 1, &["192.0.2.1"]);
    until_answer(&resolver, &Ok(addresses(&["192.0.2.1"]))).await;
}

#[tokio::test]
async fn that_there_is_no_such_name_is_an_answer() {
    let server = NameServer::start();
    let resolver = resolver(&server);
    let _entry = resolver.entry(NAME);
    for _ in 0..20 {
        assert_eq!(resolver.addresses(NAME).await, Err(ResolveError::NoAddress));
    }
    assert_eq!(server.asked(NAME), 1);
    server.set(NAME, 1, &["192.0.2.1"]);
    until_answer(&resolver, &Ok(addresses(&["192.0.2.1"]))).await;
    // And it replaces the addresses at once, as does a name without any.
    server.remove(NAME);
    until_answer(&resolver, &Err(ResolveError::NoAddress)).await;
    server.set(NAME, 1, &["2001:db8::1"]);
    until_answer(&resolver, &Ok(addresses(&["2001:db8::1"]))).await;
    server.set(NAME, 1, &[]);
    until_answer(&resolver, &Err(ResolveError::NoAddress)).await;
}

#[tokio::test]
async fn a_name_server_that_hangs_is_given_up_in_time() {
    let server = NameServer::start();
    server.fall_silent();
    let resolver = resolver(&server);
    let _entry = resolver.entry(NAME);
    let before = Instant::now();
    assert_eq!(resolver.addresses(NAME).await, Err(ResolveError::TimedOut));
    assert!(before.elapsed() < LOOKUP_TIMEOUT * 3, "{:?}", before.elapsed());
    // That is remembered: who asks now does not wait again.
    assert_eq!(now(&resolver).await, Err(ResolveError::TimedOut));
    server.set(NAME, 60, &["192.0.2.1"]);
    server.speak();
    until_answer(&resolver, &Ok(addresses(&["192.0.2.1"]))).await;
}

#[test]
fn many_who_ask_at_once_on_many_threads_are_one_lookup() {
    let server = NameServer::start();
    server.set(NAME, 60, &["192.0.2.1"]);
    let resolver = resolver(&server);
    let _entry = resolver.entry(NAME);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // As the workers' are.
                let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
                runtime.block_on(async {
                    let mut asking = tokio::task::JoinSet::new();
                    for _ in 0..50 {
                        let resolver = resolver.clone();
                        asking.spawn_local(async move { resolver.addresses(NAME).await });
                    }
                    for answer in asking.join_all().await {
                        assert_eq!(answer.unwrap(), addresses(&["192.0.2.1"]));
                    }
                });
            });
        }
    });
    assert_eq!(server.asked(NAME), 1);
}

#[tokio::test]
async fn a_name_that_nobody_asks_for_is_left_alone() {
    let server = NameServer::start();
    server.set(NAME, 1, &["192.0.2.1"]);
    let resolver = impatient(&server, Keeping { stale: STALE, idle: Duration::from_secs(2) });
    let entry = resolver.entry(NAME);
    assert!(resolver.addresses(NAME).await.is_ok());
    eventually(PATIENCE, || matches!(*entry.known.borrow(), Known::Dormant)).await;
    assert!(server.asked(NAME) >= 2);
    // Whoever comes then gets a new answer, not the old one.
    server.set(NAME, 60, &["192.0.2.2"]);
    assert_eq!(resolver.addresses(NAME).await.unwrap(), addresses(&["192.0.2.2"]));
}

#[tokio::test]
async fn a_name_that_nobody_has_is_forgotten() {
    let server = NameServer::start();
    server.set(NAME, 60, &["192.0.2.1"]);
    let resolver = resolver(&server);
    assert!(resolver.addresses(NAME).await.is_ok());
    let nobody_has_it = || resolver.0.names.lock().unwrap().values().all(|entry| entry.strong_count() == 0);
    eventually(PATIENCE, nobody_has_it).await;
    let _entry = resolver.entry("other.example");
    assert_eq!(resolver.0.names.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_family_that_the_name_server_says_nothing_about_costs_the_other_one_little() {
    let server = NameServer::start();
    server.set_silent_for_v6(NAME, 60, &["192.0.2.1"]);
    let resolver = resolver(&server);
    let _entry = resolver.entry(NAME);
    assert_eq!(resolver.addresses(NAME).await.unwrap(), addresses(&["192.0.2.1"]));
}

#[tokio::test]
async fn a_name_has_so_many_addresses_and_no_more() {
    let server = NameServer::start();
    let many: Vec<String> = (1..=50).map(|last| format!("192.0.2.{last}")).collect();
    server.set(NAME, 60, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let found = resolver(&server).addresses(NAME).await.unwrap();
    assert_eq!(found, addresses(&many[..MOST_ADDRESSES].iter().map(String::as_str).collect::<Vec<_>>()));
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_a_datagram_is_had_all_the_same() {
    let server = NameServer::start();
    let many: Vec<String> = (1..=200).map(|last| format!("192.0.2.{last}")).collect();
    server.set(NAME, 60, &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(resolver(&server).addresses(NAME).await.unwrap().len(), MOST_ADDRESSES);
    assert!(server.asked(NAME) >= 2, "in a datagram, and then on a connection");
}

#[tokio::test]
async fn an_ipv4_address_in_ipv6_clothes_is_the_ipv4_address() {
    let server = NameServer::start();
    server.set(NAME, 60, &["::ffff:169.254.169.254"]);
    assert_eq!(resolver(&server).addresses(NAME).await.unwrap(), addresses(&["169.254.169.254"]));
}

#[tokio::test]
async fn addresses_in_odd_spellings_and_this_machine_are_asked_of_nobody() {
    let server = NameServer::start();
    let resolver = resolver(&server);
    for name in ["127.1", "1.2.3.4", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "a.0X", "a.1."] {
        assert_eq!(resolver.addresses(name).await, Err(ResolveError::Numeric), "{name}");
    }
    for name in ["", ".", "a..b", "::1", "[::1]", "a b", "a%1", "127.0.0\\.1x", "m\u{fc}nchen.de"] {
        assert_eq!(resolver.addresses(name).await, Err(ResolveError::NotAName), "{name}");
    }
    for name in ["localhost", "localhost.", "LocalHost", "a.localhost"] {
        assert_eq!(resolver.addresses(name).await.unwrap(), addresses(&["::1", "127.0.0.1"]), "{name}");
    }
    assert_eq!(server.names_asked(), [""; 0]);
}

#[test]
fn what_could_be_taken_for_an_address_ends_in_a_number() {
    for host in ["1", "127.1", "a.1", "a.1.", "0x", "0xff", "a.0Xfe", "09", "1.2.3.4"] {
        assert!(ends_in_a_number(host), "{host}");
    }
    for host in ["", "a", "1a", "a.1b", "0xg", "1.a", "x0", "a1.", "1.2.3.4.example", "0x1.com"] {
        assert!(!ends_in_a_number(host), "{host}");
    }
}

#[test]
fn connections_begin_with_another_address_each_and_with_both_families() {
    let set =
        Addresses { v6: addresses(&["::1", "::2"]), v4: addresses(&["1.1.1.1", "1.1.1.2", "1.1.1.3"]), generation: 1 };
    let turn = |turn| set.in_turn(turn).collect::<Vec<_>>();
    assert_eq!(turn(0), addresses(&["::1", "1.1.1.1", "::2", "1.1.1.2", "1.1.1.3"]));
    assert_eq!(turn(1), addresses(&["::2", "1.1.1.2", "::1", "1.1.1.3", "1.1.1.1"]));
    assert_eq!(turn(usize::MAX).len(), 5);
}
