//! Policy documents: any text at all is a policy that decides, or an error that names its places.

#![no_main]

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use gatepost_iam::simulate::simulate;
use gatepost_iam::{
    ApiArn, Context, Decision, Effect, Key, Policy, PolicyError, Principal, Request, Resource, Standing, Value, Values,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let api = ApiArn::new("aws", "us-east-1", "123456789012", "abc123");
    judge(text, Policy::resource(text, &api));
    judge(text, Policy::identity(text));
    let answer = match simulate(text) {
        Ok(outcome) => outcome.to_json(),
        Err(error) => error.to_json(),
    };
    assert!(!answer.contains('\n'), "{answer}");
});

fn judge(text: &str, read: Result<Policy, PolicyError>) {
    match read {
        Ok(policy) => {
            for lint in policy.lints(Standing::BesideIdentities) {
                assert!(text.get(lint.at.clone()).is_some(), "{lint:?} is about no part of the text");
                assert!(!lint.to_string().is_empty() && !lint.help().is_empty());
            }
            for principal in ["*", "123456789012", "arn:aws:iam::123456789012:user/bob"] {
                let principal = Principal::parse(principal).expect("a principal");
                decide(&policy, principal, &Facts { complete: true });
                decide(&policy, principal, &Facts { complete: false });
            }
        }
        Err(error) => {
            assert!(error.problems().count() > 0, "refused without a reason");
            for problem in error.problems() {
                assert!(text.get(problem.at()).is_some(), "{problem:?} is about no part of the text");
                assert!(!problem.help().is_empty());
            }
        }
    }
}

fn decide(policy: &Policy, principal: Principal<'_>, facts: &Facts) {
    let ask = |tail: &[&str]| {
        let (partition, service, region, account) = ("aws", "execute-api", "us-east-1", "123456789012");
        let resource = Resource { partition, service, region, account, tail };
        policy.decide(&Request { action: "execute-api:Invoke", resource, principal, context: facts })
    };
    let decision = ask(&["abc123/prod/GET/pets/\u{e9}"]);
    assert_eq!(decision, ask(&["abc123", "/", "prod/G", "", "ET/pets", "/\u{e9}"]));
    let effect = decision.statement().map(|number| policy.statements()[number].effect());
    match decision {
        Decision::Allowed { .. } => assert_eq!(effect, Some(Effect::Allow)),
        Decision::ExplicitlyDenied { .. } => assert_eq!(effect, Some(Effect::Deny)),
        Decision::ImplicitlyDenied => assert_eq!(effect, None),
    }
}

/// A request that has every key, in every type, or none.
struct Facts {
    complete: bool,
}

impl Context for Facts {
    fn value(&self, key: &Key) -> Values<'_> {
        if !self.complete {
            return Values::Absent;
        }
        match key {
            Key::SourceIp | Key::VpcSourceIp => Values::One(Value::Address(IpAddr::from([192, 0, 2, 7]))),
            Key::CurrentTime | Key::TokenIssueTime => {
                Values::One(Value::Time(SystemTime::UNIX_EPOCH + Duration::from_millis(1_768_478_400_500)))
            }
            Key::EpochTime | Key::MultiFactorAuthAge => Values::One(Value::Number(1_768_478_400)),
            Key::SecureTransport | Key::MultiFactorAuthPresent => Values::One(Value::Bool(true)),
            Key::PrincipalOrgPaths => Values::Many(&[Value::Text("o-1/r-1/"), Value::Text("o-1/r-2/")]),
            _ => Values::One(Value::Text("arn:aws:iam::123456789012:user/bob")),
        }
    }
}
