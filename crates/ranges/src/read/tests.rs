use gatepost_config::model::Selection;
use proptest::prelude::*;

use super::*;

fn all(pointer: &str) -> Pick {
    Pick::Json(vec![Selection { array: pointer.into(), members: Vec::new(), only: Vec::new() }])
}

fn members(pointer: &str, members: &[&str], only: &[(&str, &str)]) -> Pick {
    let only = only.iter().map(|(member, value)| ((*member).into(), (*value).into())).collect();
    let members = members.iter().map(|member| (*member).into()).collect();
    Pick::Json(vec![Selection { array: pointer.into(), members, only }])
}

fn read(text: &str, pick: &Pick) -> Result<Vec<String>, String> {
    let networks = read_list(text.as_bytes(), pick).map_err(|error| error.to_string())?;
    Ok(networks.iter().map(IpNet::to_string).collect())
}

#[test]
fn a_text_has_an_entry_a_line() {
    let text =
        "\u{feff}# published daily\r\n192.0.2.0/24\r\n\r\n 192.0.2.7 # one\n2001:db8::1\n::ffff:198.51.100.9/112\n";
    let read = read(text, &Pick::Lines).unwrap();
    assert_eq!(read, ["192.0.2.0/24", "192.0.2.7/32", "198.51.0.0/16", "2001:db8::1/128"]);
}

#[test]
fn bare_addresses_host_bits_and_duplicates_are_understood() {
    let document = r#"{"hooks": ["192.0.2.9/24", "192.0.2.0/24", "3.18.12.63", "2a0a:a440::1/29"]}"#;
    assert_eq!(read(document, &all("/hooks")).unwrap(), ["3.18.12.63/32", "192.0.2.0/24", "2a0a:a440::/29"]);
}

#[test]
fn one_entry_that_cannot_be_read_refuses_the_whole_list() {
    for wrong in [
        "x",
        "192.0.2.0/33",
        "192.0.2.0/+8",
        "192.0.2.0/",
        "192.0.2.0/0024",
        "192.0.2.0 192.0.3.0",
        "fe80::1%1",
        "0x7f.1",
    ] {
        let list = format!("192.0.2.0/24\n{wrong}\n");
        let said = read(&list, &Pick::Lines).unwrap_err();
        assert!(said.starts_with("entry 2 is no address and no CIDR: "), "{wrong}: {said}");
        let document = format!("[\"192.0.2.0/24\", \"{wrong}\"]");
        assert!(read(&document, &all("")).unwrap_err().starts_with("entry 2 "), "{wrong}");
    }
    for wrong in ["1", "-1", "0.5", "null", "true", "[\"192.0.2.0/24\"]", "{\"a\": \"192.0.2.0/24\"}", "\"\""] {
        let document = format!("[\"192.0.2.0/24\", {wrong}]");
        assert!(read(&document, &all("")).unwrap_err().starts_with("entry 2 "), "{wrong}");
    }
}

#[test]
fn what_is_empty_cut_off_or_something_else_is_no_list() {
    let pick = all("/hooks");
    for (text, pick, why) in [
        ("", &Pick::Lines, "it holds no address"),
        ("# nothing\n", &Pick::Lines, "it holds no address"),
        ("<!doctype html>\n", &Pick::Lines, "entry 1 is no address and no CIDR: `<!doctype html>`"),
        ("", &pick, "it is not JSON: "),
        ("<!doctype html>\n", &pick, "it is not JSON: "),
        (r#"{"hooks": []}"#, &pick, "it holds no address"),
        (r#"{"hooks": ["192.0.2.0/24", "#, &pick, "it is not JSON: "),
        (r#"{"hooks": ["192.0.2.0/24"]"#, &pick, "it is not JSON: "),
        (r#"{"hooks": ["192.0.2.0/24"]} x"#, &pick, "it is not JSON: "),
        (r#"{"hooks": ["192.0.2.0/24"], "hooks": ["0.0.0.0/0"]}"#, &pick, "it is not JSON: a name is there twice"),
        (r#"{"web": ["192.0.2.0/24"]}"#, &pick, "it has no list at `/hooks`"),
        (r#"{"hooks": "192.0.2.0/24"}"#, &pick, "it has no list at `/hooks`"),
        (r#"{"hooks": {"a": ["192.0.2.0/24"]}}"#, &pick, "it has no list at `/hooks`"),
        (r#"{"message": "API rate limit exceeded"}"#, &pick, "it has no list at `/hooks`"),
        ("[1]", &pick, "it has no list at `/hooks`"),
    ] {
        let said = read(text, pick).unwrap_err();
        assert!(said.starts_with(why), "{text}: {said}");
    }
    assert_eq!(read_list(b"\xff", &Pick::Lines), Err(ReadError::NotText));
    assert_eq!(read_list(&vec![b'\n'; MOST_BYTES + 1], &Pick::Lines), Err(ReadError::TooLong));
}

#[test]
fn a_pointer_leads_through_objects_and_arrays() {
    let document = r#"{"x": ["203.0.113.1"], "a/b": [0, {"~": [["192.0.2.1"]]}]}"#;
    assert_eq!(read(document, &all("/a~1b/1/~0/0")).unwrap(), ["192.0.2.1/32"]);
    assert!(read(document, &all("/a~1b/01/~0/0")).is_err());
    assert_eq!(read(r#"["192.0.2.1"]"#, &all("")).unwrap(), ["192.0.2.1/32"]);
}

#[test]
fn items_that_are_objects_are_chosen_by_what_they_say() {
    let document = r#"{"prefixes": [
        {"ip_prefix": "192.0.2.0/25", "region": "us-east-1", "service": "EC2"},
        {"region": "us-east-1", "service": "AMAZON", "ip_prefix": "192.0.2.0/24"},
        {"ip_prefix": "not an address", "region": "eu-west-1", "service": "EC2"},
        {"region": "eu-west-1"}
    ]}"#;
    let ec2 = members("/prefixes", &["ip_prefix"], &[("region", "us-east-1"), ("service", "EC2")]);
    assert_eq!(read(document, &ec2).unwrap(), ["192.0.2.0/25"]);
    let all_of_them = members("/prefixes", &["ip_prefix"], &[]);
    assert!(read(document, &all_of_them).unwrap_err().starts_with("entry 3 "));
    let nobody = members("/prefixes", &["ip_prefix"], &[("region", "mars-1")]);
    assert_eq!(read(document, &nobody).unwrap_err(), "it holds no address");

    let either =
        r#"[{"ipv4Prefix": "192.0.2.0/24", "scope": ["a", "b"]}, {"ipv6Prefix": "2001:db8::/32", "scope": ["b"]}]"#;
    let pick = |only: &[(&str, &str)]| members("", &["ipv4Prefix", "ipv6Prefix"], only);
    assert_eq!(read(either, &pick(&[])).unwrap(), ["192.0.2.0/24", "2001:db8::/32"]);
    assert_eq!(read(either, &pick(&[("scope", "a")])).unwrap(), ["192.0.2.0/24"]);
    for wrong in [r#"[{"ipv5Prefix": "192.0.2.0/24"}]"#, r#"[{"ipv4Prefix": 7}]"#, r#"["192.0.2.0/24"]"#] {
        assert!(read(wrong, &pick(&[])).unwrap_err().starts_with("entry 1 "), "{wrong}");
    }
    let both = r#"[{"ipv4Prefix": "192.0.2.0/24", "ipv6Prefix": "2001:db8::/32"}]"#;
    assert_eq!(read(both, &pick(&[])).unwrap_err(), "entry 1 is no address and no CIDR: `two addresses`");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for pick in [Pick::Lines, all("/a"), members("", &["a"], &[("b", "c")])] {
            let _ = read_list(&bytes, &pick);
        }
    }

    #[test]
    fn a_list_reads_the_same_as_text_and_as_json(addresses in prop::collection::vec(any::<IpAddr>(), 1..50)) {
        let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let lines = read_list(texts.join("\n").as_bytes(), &Pick::Lines).unwrap();
        let json = read_list(serde_json::to_string(&texts).unwrap().as_bytes(), &all("")).unwrap();
        prop_assert_eq!(&lines, &json);
        for address in addresses {
            prop_assert!(lines.contains(&IpNet::from(address.to_canonical())));
        }
    }
}

#[test]
fn a_list_has_two_million_entries_at_most() {
    let mut list = "192.0.2.1\n".repeat(2_000_000);
    assert_eq!(read(&list, &Pick::Lines).unwrap(), ["192.0.2.1/32"]);
    list.push_str("192.0.2.1\n");
    assert_eq!(read(&list, &Pick::Lines).unwrap_err(), "it has more than 2000000 entries");
}
