use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost_config::load_text;
use gatepost_config::model::{CallerArn, Model};
use gatepost_meter::MemoryLedger;

use super::*;

fn hash(key: &str) -> [u8; 32] {
    digest(&SHA256, key.as_bytes()).as_ref().try_into().unwrap()
}

fn model() -> Model {
    let text = "listen = \"127.0.0.1:0\"\n[route.\"ANY /\"]\nopen = true\nrespond = {}\n";
    load_text("gatepost.toml", text, Path::new("")).unwrap().model
}

/// Callers with two keys each, in the order of their names.
fn callers(count: u32) -> Callers {
    let place = &model().apis[0].place;
    let books = Books::new(Arc::new(MemoryLedger::default()));
    let caller = |number: u32| {
        let written = model::Caller {
            name: format!("caller-{number:07}").into(),
            plan: None,
            from: None,
            keys: [1, 2].map(|key| KeyHash(hash(&format!("{number}-{key}")))).into(),
            access_keys: Box::default(),
            token: None,
            signed: None,
            policy: None,
            arn: CallerArn::new("arn:aws:iam::000000000000:user/a").unwrap(),
            parallel: None,
            budget: None,
            place: place.clone(),
        };
        let written = Arc::new(written);
        let (access, meters) = (Box::default(), Arc::new(CallerMeters::new(&written, &books)));
        Arc::new(Caller { number, written, from: None, access, signed: None, meters })
    };
    Callers::new((0..count).map(caller).collect(), Arc::default())
}

#[test]
fn each_is_found_by_each_of_its_keys_and_by_its_name_and_nobody_by_another() {
    const COUNT: u32 = 20_000;
    let callers = callers(COUNT);
    for number in 0..COUNT {
        for key in [1, 2] {
            let found = callers.with_key(&hash(&format!("{number}-{key}"))).expect("it is there");
            assert_eq!(found.number, number);
        }
        assert!(callers.with_key(&hash(&format!("{number}-3"))).is_none());
        assert_eq!(callers.named(&format!("caller-{number:07}")).expect("it is there").number, number);
    }
    assert!(callers.named("caller").is_none());
    assert!(callers.with_access_key("AKIDEXAMPLE").is_none());
}

#[test]
fn a_key_that_shares_the_part_it_is_looked_up_by_is_another() {
    let callers = callers(3);
    let mut near = hash("1-1");
    near[31] ^= 1;
    assert!(callers.with_key(&near).is_none());
}
