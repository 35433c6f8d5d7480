//! Where a forward may go: in a network where every address there is would answer, none is dialled that must not be.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gatepost_testkit::{NameServer, Namespace, PATIENCE, Process, Raw, Trap};
use tokio::time::{Instant, sleep};

use crate::home::Home;

/// Addresses where no name may lead unless `networks` covers them: one of each kind of place, and the edges that are
/// easily missed.
const FORBIDDEN: &[&str] = &[
    // This machine.
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "::1",
    "::",
    // Private networks.
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    // The link, and where clouds hand out credentials.
    "169.254.169.254",
    "169.254.170.2",
    "fe80::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    // A carrier's NAT.
    "100.64.0.1",
    "100.127.255.254",
    // IPv4 in IPv6.
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "192.88.99.1",
    // Set aside.
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.254",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "100::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    // Many at once.
    "224.0.0.1",
    "255.255.255.255",
    "ff02::1",
    "ff0e::1",
];

/// Literal addresses that need `networks`, and spellings of addresses that are none.
const REFUSED_LITERALS: &[&str] = &[
    "169.254.169.254",
    "169.254.0.1",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "100.100.100.200",
    "168.63.129.16",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "0.0.0.0",
    "[::]",
    "[::ffff:0.0.0.0]",
    "224.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
    "127.1",
    "127.0.1",
    "2130706433",
    "2852039166",
    "0x7f.1",
    "0x7f000001",
    "0XA9FEA9FE",
    "0xa9.0xfe.0xa9.0xfe",
    "0177.0.0.1",
    "0251.0376.0251.0376",
    "169.254.169.254.",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "127.0.0.1%00",
    "\u{ff11}27.0.0.1",
    "[fe80::1%25lo]",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "app.localhost",
];

const PORT: u16 = 8080;

/// An address that is as good as any.
const GLOBAL: &str = "8.8.8.8";

/// A configuration with a route `GET /N` for each of these targets, and the keys of all their upstreams.
fn forwarding(targets: &[String], keys: &str) -> String {
    let mut text = "listen = \"127.0.0.1:0\"\n\n[server]\nadmin = \"off\"\nworkers = 2\n".to_owned();
    for (number, target) in targets.iter().enumerate() {
        text += &format!(
            "\n[route.\"GET /{number}\"]\nopen = true\nforward = {{ to = \"http://{target}:{PORT}\"{keys} }}\n"
        );
    }
    text
}

/// A name server where `/etc/resolv.conf` says it is, and no names of this machine's own.
fn name_server(space: &Namespace) -> NameServer {
    space.replace("/etc/resolv.conf", "nameserver 127.0.0.53\nsearch corp.example\n");
    space.replace("/etc/hosts", "127.0.0.1 localhost\n");
    NameServer::at(SocketAddr::from(([127, 0, 0, 53], 53)))
}

async fn get(address: SocketAddr, target: &str) -> (u16, String) {
    let response = Raw::connect(address).await.get(target).await;
    (response.status, response.text())
}

/// Starts it and asks every target once; all must be refused for where they are.
async fn all_are_refused(home: &Home, count: usize) -> Process {
    let (running, address) = home.run().await;
    for number in 0..count {
        assert_eq!(get(address, &format!("/{number}")).await.0, 502, "{number}\n{}", running.said());
    }
    running
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
#[ignore = "needs root: makes a network namespace"]
fn a_name_that_leads_to_a_forbidden_address_is_not_dialled() {
    Namespace::run(async |space| {
        let names = name_server(&space);
        let trap = Trap::set(PORT);
        let targets: Vec<String> = (0..FORBIDDEN.len()).map(|number| format!("n{number}.example")).collect();
        for (target, address) in targets.iter().zip(FORBIDDEN) {
            names.set(target, 60, &[address]);
        }
        let home = Home::new(&forwarding(&targets, ""));
        let mut running = all_are_refused(&home, targets.len()).await;
        running.wait_for_lines("\"fenced\"", targets.len(), PATIENCE).await;
        assert_eq!(trap.seen(), addresses(&[]));

        // The trap works: what is permitted arrives there.
        names.set("good.example", 60, &[GLOBAL]);
        let home = Home::new(&forwarding(&["good.example".to_owned()], ""));
        let (_running, address) = home.run().await;
        assert_eq!(get(address, "/0").await, (200, GLOBAL.to_owned()));
        assert_eq!(trap.seen(), addresses(&[GLOBAL]));
    });
}

#[test]
#[ignore = "needs root: makes a network namespace"]
fn of_the_addresses_of_a_name_only_the_permitted_ones_are_dialled() {
    Namespace::run(async |space| {
        let names = name_server(&space);
        let trap = Trap::set(PORT);
        let plain: Vec<&str> = FORBIDDEN.iter().copied().take(24).chain([GLOBAL, "2606:4700::1111"]).collect();
        names.set("mixed.example", 60, &plain);
        names.set("inner.example", 60, &[&plain[..], &["10.9.9.9"]].concat());
        let targets = ["mixed.example".to_owned()];
        let home = Home::new(&forwarding(&targets, ""));
        let (_running, address) = home.run().await;
        for _ in 0..20 {
            assert_eq!(get(address, "/0").await.0, 200);
        }
        assert_eq!(trap.seen(), addresses(&[GLOBAL, "2606:4700::1111"]));

        let targets = ["inner.example".to_owned()];
        let home = Home::new(&forwarding(&targets, ", networks = [\"10.9.0.0/16\"]"));
        let (_running, address) = home.run().await;
        for _ in 0..20 {
            assert_eq!(get(address, "/0").await, (200, "10.9.9.9".to_owned()));
        }
        assert_eq!(trap.seen(), addresses(&[GLOBAL, "10.9.9.9", "2606:4700::1111"]));
    });
}

#[test]
#[ignore = "needs root: makes a network namespace"]
fn a_name_that_changes_its_answer_at_every_lookup_leads_to_no_forbidden_address() {
    Namespace::run(async |space| {
        let names = name_server(&space);
        let trap = Trap::set(PORT);
        let rebinding =
            [&[GLOBAL][..], &["169.254.169.254"], &[GLOBAL], &["127.0.0.1"], &[GLOBAL], &["10.0.0.1", "::1"]];
        // Not kept at all, if it were up to the name server.
        let targets: Vec<String> = (0..8).map(|number| format!("r{number}.example")).collect();
        for target in &targets {
            names.set_in_turn(target, 0, &rebinding);
        }
        let home = Home::new(&forwarding(&targets, ""));
        let (running, address) = home.run().await;
        let end = Instant::now() + PATIENCE * 2;
        let mut statuses = [0, 0];
        while targets.iter().any(|target| names.asked(target) < rebinding.len()) {
            assert!(Instant::now() < end, "{}", running.said());
            for number in 0..targets.len() {
                match get(address, &format!("/{number}")).await {
                    (200, body) => {
                        assert_eq!(body, GLOBAL);
                        statuses[0] += 1;
                    }
                    (status, _) => {
                        assert_eq!(status, 502);
                        statuses[1] += 1;
                    }
                }
            }
        }
        assert!(statuses[0] > 0 && statuses[1] > 0, "{statuses:?}");
        assert_eq!(trap.seen(), addresses(&[GLOBAL]));
    });
}

#[test]
#[ignore = "needs root: makes a network namespace"]
fn a_literal_that_needs_networks_or_is_none_is_refused_by_the_check() {
    Namespace::run(async |space| {
        let names = name_server(&space);
        let trap = Trap::set(PORT);
        for literal in REFUSED_LITERALS {
            let home = Home::new(&forwarding(&[(*literal).to_owned()], ""));
            for command in ["check", "run"] {
                let (code, _, stderr) = home.outcome(&[command]).await;
                assert_ne!(code, 0, "{literal}");
                assert!(stderr.contains("gatepost.toml:9:"), "{literal}: {stderr}");
            }
        }
        assert_eq!(trap.seen(), addresses(&[]));
        assert_eq!(names.names_asked(), [""; 0], "nobody asks what the check refuses");

        // Whoever means it can say so.
        let home = Home::new(&forwarding(&["169.254.169.254".to_owned()], ", networks = [\"169.254.169.254\"]"));
        let (_running, address) = home.run().await;
        assert_eq!(get(address, "/0").await, (200, "169.254.169.254".to_owned()));
        // And a private address that somebody wrote down is meant.
        let home = Home::new(&forwarding(&["[::ffff:10.0.0.1]".to_owned()], ""));
        let (_running, address) = home.run().await;
        assert_eq!(get(address, "/0").await, (200, "10.0.0.1".to_owned()));
    });
}

#[test]
#[ignore = "needs root: makes a network namespace"]
fn names_of_the_hosts_file_and_of_the_search_list_stand_behind_the_same_fence() {
    Namespace::run(async |space| {
        let names = name_server(&space);
        let trap = Trap::set(PORT);
        space.replace("/etc/hosts", "127.0.0.1 localhost\n10.0.0.1 inner.example\n169.254.169.254 meta.example meta\n");
        names.set("short.corp.example", 60, &["192.168.0.1"]);
        // What the file names is not asked for elsewhere, not even for the family that it lacks.
        names.set("inner.example", 60, &["2606:4700::1111"]);
        let targets = ["inner.example", "meta.example.", "meta", "short"].map(str::to_owned);
        let home = Home::new(&forwarding(&targets, ""));
        let _running = all_are_refused(&home, targets.len()).await;
        assert_eq!(trap.seen(), addresses(&[]));
        assert_eq!(names.names_asked(), ["short.corp.example"]);

        let home = Home::new(&forwarding(&targets, ", networks = [\"10.0.0.0/8\", \"192.168.0.0/16\"]"));
        let (_running, address) = home.run().await;
        assert_eq!(get(address, "/0").await, (200, "10.0.0.1".to_owned()));
        assert_eq!(get(address, "/2").await.0, 502);
        assert_eq!(get(address, "/3").await, (200, "192.168.0.1".to_owned()));
    });
}

#[test]
#[ignore = "needs root: makes a network namespace"]
fn changed_files_of_the_machine_count_without_a_restart() {
    Namespace::run(async |space| {
        let names = name_server(&space);
        let _trap = Trap::set(PORT);
        space.replace("/etc/hosts", "8.8.8.8 file.example\n");
        names.set("served.example", 1, &["8.8.8.8"]);
        let targets = ["file.example", "served.example"].map(str::to_owned);
        let home = Home::new(&forwarding(&targets, ""));
        let (running, address) = home.run().await;
        for number in 0..2 {
            assert_eq!(get(address, &format!("/{number}")).await, (200, "8.8.8.8".to_owned()));
        }
        space.replace("/etc/hosts", "# moved\n9.9.9.9 file.example\n");
        let elsewhere = NameServer::at(SocketAddr::from(([127, 0, 0, 54], 53)));
        elsewhere.set("served.example", 1, &["9.9.9.9"]);
        space.replace("/etc/resolv.conf", "# moved\nnameserver 127.0.0.54\n");
        let end = Instant::now() + PATIENCE * 2;
        for number in 0..2 {
            while get(address, &format!("/{number}")).await != (200, "9.9.9.9".to_owned()) {
                assert!(Instant::now() < end, "{}", running.said());
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
}
