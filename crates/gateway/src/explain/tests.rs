use std::path::Path;

use gatepost_config::load_text;
use gatepost_config::model::{AddressEntry, Addresses, Behind, ForwardedHeader, ProxyProtocol, ThrottleBy};

use http::HeaderValue;
use http::header::HOST;

use super::*;

const CONFIGURATION: &str = r#"
listen = "127.0.0.1:0"

[route."GET /"]
from    = ["192.0.2.0/24"]
respond = { status = 204 }
"#;

fn model() -> Model {
    load_text("gatepost.toml", CONFIGURATION, Path::new("")).unwrap().model
}

/// The model, its listener believing `10.0.0.0/8` about the client.
fn behind(forwarded: ForwardedHeader) -> Model {
    let mut model = model();
    let place = model.listeners[0].place.clone();
    let senders = vec![AddressEntry { addresses: Addresses::Network("10.0.0.0/8".parse().unwrap()), place }];
    model.listeners[0].behind = Some(Behind { senders, forwarded, proxy_protocol: ProxyProtocol::Off });
    model
}

/// What is said of the client, and the verdict's reason.
fn clients(model: &Model, from: &str, headers: &[(&'static str, &'static str)]) -> (Vec<String>, &'static str) {
    let mut all = HeaderMap::new();
    for (name, value) in [("host", "a")].iter().chain(headers) {
        all.append(*name, HeaderValue::from_static(value));
    }
    let inquiry = Inquiry {
        from: from.parse().unwrap(),
        listener: "default",
        method: Method::GET,
        target: "/",
        headers: all,
        caller: None,
    };
    let Explanation { steps, verdict } = explain(model, &inquiry).unwrap();
    let said = steps.into_iter().filter(|step| step.check == Check::Client).map(|step| step.text).collect();
    let reason = match verdict {
        Verdict::Admitted => "admitted",
        Verdict::Refused { reason, .. } => reason.name(),
    };
    (said, reason)
}

#[test]
fn a_header_of_somebody_who_is_not_believed_says_nothing() {
    let forged = [("x-forwarded-for", "192.0.2.7")];
    for model in [model(), behind(ForwardedHeader::XForwardedFor)] {
        let (said, reason) = clients(&model, "203.0.113.9", &forged);
        assert_eq!((said, reason), (vec!["203.0.113.9, the peer of the connection".to_owned()], "address_not_listed"));
    }
}

#[test]
fn each_sender_on_the_way_to_the_client_is_a_step() {
    let told = [("x-forwarded-for", "203.0.113.9, 192.0.2.7"), ("x-forwarded-for", "10.0.0.5")];
    let (said, reason) = clients(&behind(ForwardedHeader::XForwardedFor), "::ffff:10.0.0.4", &told);
    let expected = [
        "10.0.0.4, the peer of the connection, believed: 10.0.0.0/8",
        "10.0.0.5, entry 1 from the right of x-forwarded-for, believed: 10.0.0.0/8",
        "192.0.2.7, entry 2 from the right of x-forwarded-for",
    ];
    assert_eq!((said, reason), (expected.map(str::to_owned).into(), "admitted"));
}

#[test]
fn why_a_believed_sender_is_the_client_is_said() {
    for (header, value, why) in [
        (ForwardedHeader::Off, "192.0.2.7", "no header is believed"),
        (ForwardedHeader::Forwarded, "192.0.2.7", "the header has no further entry"),
        (ForwardedHeader::XForwardedFor, "192.0.2.7, hidden", "entry 1 from the right is not an address"),
    ] {
        let (said, reason) = clients(&behind(header), "10.0.0.4", &[("x-forwarded-for", value)]);
        let expected = format!("10.0.0.4, the peer of the connection, believed: 10.0.0.0/8; {why}");
        assert_eq!((said, reason), (vec![expected], "address_not_listed"));
    }
}

#[test]
fn a_listener_that_is_not_there_is_named() {
    let inquiry = Inquiry {
        from: [192, 0, 2, 7].into(),
        listener: "public",
        method: Method::GET,
        target: "/",
        headers: HeaderMap::new(),
        caller: None,
    };
    assert_eq!(explain(&model(), &inquiry).unwrap_err().to_string(), "there is no listener `public`");
}

#[test]
fn a_throttle_by_client_is_asked_right_after_the_address_and_has_the_place_of_its_own() {
    let text = CONFIGURATION.replace(
        "respond",
        "throttle = [\n{ rate = \"50/s\" },\n{ rate = \"60/m\", burst = 60 },\n{ rate = \"10000/d\", burst = 1000 }\n]\nrespond",
    );
    let mut model = load_text("gatepost.toml", &text, Path::new("")).unwrap().model;
    model.apis[0].routes[0].throttles[1].by = ThrottleBy::Client;
    let headers = [(HOST, HeaderValue::from_static("a"))].into_iter().collect();
    let inquiry = Inquiry {
        from: [192, 0, 2, 7].into(),
        listener: "default",
        method: Method::GET,
        target: "/",
        headers,
        caller: None,
    };
    let explanation = explain(&model, &inquiry).unwrap();
    let said: Vec<String> = explanation.steps[5..]
        .iter()
        .map(|step| format!("{} {} {}", step.check.name(), step.rules[0].place.line(), step.text))
        .collect();
    let expected = [
        "from 5 lists 192.0.2.7: 192.0.2.0/24",
        "throttle 8 each client 60/m: 60 of 60 tokens left",
        "max_body 4 no body, at most 10485760 bytes, the default",
        "throttle 7 50/s: 50 of 50 tokens left",
        "throttle 9 10000/d: 1000 of 1000 tokens left",
        "respond 11 with 204 and 0 bytes",
    ];
    assert_eq!(said, expected);
}

#[test]
fn nobody_is_the_client_while_a_set_in_behind_was_never_loaded() {
    let text = r#"
        [listen.default]
        addresses = ["127.0.0.1:0"]
        behind    = ["@cloudflare", "10.0.0.1"]

        [route."GET /"]
        open    = true
        respond = { status = 204 }
    "#;
    let directory = tempfile::tempdir().unwrap();
    let model = load_text("gatepost.toml", text, directory.path()).unwrap().model;
    let (said, reason) = clients(&model, "192.0.2.7", &[]);
    assert_eq!(reason, "addresses_unknown");
    let lacking = "the address set @cloudflare was never loaded, so nobody knows whether the last sender is believed";
    assert_eq!(said, ["192.0.2.7, the peer of the connection", lacking]);
    // Who is listed in so many words is believed, and tells of nobody else.
    let (said, reason) = clients(&model, "10.0.0.1", &[]);
    assert_eq!((said.len(), reason), (1, "admitted"));
}
