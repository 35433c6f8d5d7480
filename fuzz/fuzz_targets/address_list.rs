//! Published lists: read whole or not at all, and never anything but what stands there.

#![no_main]

use gatepost_config::model::{Pick, Selection};
use gatepost_prefix::PrefixSet;
use gatepost_ranges::{Bounds, judge, read_list};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, list)) = bytes.split_first() else { return };
    let pick = match kind % 4 {
        0 => Pick::Lines,
        1 => json("", &[], &[]),
        2 => json("/a/0/b~1c", &[], &[]),
        _ => json("/prefixes", &["ipv4Prefix", "ipv6Prefix"], &[("scope", "a")]),
    };
    let Ok(networks) = read_list(list, &pick) else { return };
    assert!(!networks.is_empty());
    assert!(networks.is_sorted() && networks.windows(2).all(|two| two[0] != two[1]), "{networks:?}");
    let set: PrefixSet = networks.iter().copied().collect();
    for network in &networks {
        assert_eq!(network.trunc(), *network);
        assert!(set.contains(network.addr()), "{network} of {networks:?}");
    }
    assert_eq!(set.networks().collect::<PrefixSet>(), set);
    // What it is written as reads as the same list.
    let written: Vec<String> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(read_list(written.join("\n").as_bytes(), &Pick::Lines).as_ref(), Ok(&networks));
    let bounds = Bounds { shrink: 0.0, grow: 1.0 };
    if judge(&set, None, bounds).is_ok() {
        assert_eq!(judge(&set, Some(&set), bounds), Ok(()), "{networks:?}");
    }
});

fn json(array: &str, members: &[&str], only: &[(&str, &str)]) -> Pick {
    let members = members.iter().map(|member| (*member).into()).collect();
    let only = only.iter().map(|(member, value)| ((*member).into(), (*value).into())).collect();
    Pick::Json(vec![Selection { array: array.into(), members, only }])
}
