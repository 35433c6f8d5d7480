//! The simulator of policies: lines in, lines out.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use gatepost_testkit::Json;

use crate::home::{GATEPOST, Home};

const LINES: &str = r#"{"id":1,"policy":{"Version":"2012-10-17","Statement":[{"Sid":"Office","Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}]},"ctx":{"aws:SourceIp":"192.0.2.7"}}
{"id":"two","policy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}]},"ctx":{"aws:SourceIp":"203.0.113.9"}}
{"id":3,"policy":{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}}

{"id":4,"policy":{"Statement":[{"Effect":"Alow","Principal":"*","Action":"*","Resource":"*"}]}}
what is no JSON
{"id":6,"policy":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\"}}"}"#;

struct Simulator {
    child: Child,
    input: Option<ChildStdin>,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(GATEPOST);
        command.args(["policy", "simulate"]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self { input: child.stdin.take(), child }
    }

    /// The answers to all of this, and the exit code.
    fn answers(mut self, text: &[u8]) -> (Vec<Json>, i32) {
        let mut input = self.input.take().unwrap();
        let text = text.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&text));
        let mut output = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        writer.join().unwrap().unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (output.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), code)
    }
}

#[test]
fn each_line_is_answered_in_its_turn_and_a_wrong_one_stops_nothing() {
    let (answers, code) = Simulator::start(&[]).answers(LINES.as_bytes());
    assert_eq!(code, 1);
    let told: Vec<(&Json, &Json, &Json)> =
        answers.iter().map(|answer| (&answer["id"], &answer["decision"], &answer["statement"])).collect();
    assert_eq!(told[0], (&1.into(), &"Allowed".into(), &"Office".into()));
    assert_eq!(told[1], (&"two".into(), &"ImplicitlyDenied".into(), &Json::Null));
    assert_eq!(told[2], (&3.into(), &"ExplicitlyDenied".into(), &0.into()));
    assert_eq!(answers[3]["id"], 4);
    assert!(answers[3]["error"].as_str().unwrap().contains("Alow"), "{}", answers[3]);
    assert!(answers[4]["id"].is_null() && answers[4]["error"].is_string(), "{}", answers[4]);
    assert_eq!(told[5], (&6.into(), &"Allowed".into(), &0.into()));
    assert_eq!(answers.len(), 6);
}

#[tokio::test]
async fn a_file_is_read_like_standard_input() {
    let home = Home::empty();
    let good: Vec<&str> = LINES.lines().take(3).collect();
    home.write("cases.jsonl", &good.join("\r\n"));
    let (code, stdout, stderr) = home.outcome(&["policy", "simulate", "cases.jsonl"]).await;
    assert_eq!((code, stdout.lines().count()), (0, 3), "{stderr}");
    let (code, stdout, stderr) = home.outcome(&["policy", "simulate", "absent.jsonl"]).await;
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.contains("cannot read absent.jsonl: No such file or directory"), "{stderr}");
    let (code, _, _) = home.outcome(&["policy", "simulate", "--config", "gatepost.toml"]).await;
    assert_eq!(code, 2);
}

#[test]
fn whoever_waits_for_an_answer_before_asking_on_gets_it() {
    let mut simulator = Simulator::start(&[]);
    let mut input = simulator.input.take().unwrap();
    let mut output = BufReader::new(simulator.child.stdout.take().unwrap());
    for line in LINES.lines().take(3) {
        // The beginning of the next question is no question yet.
        input.write_all(format!("{line}\n ").as_bytes()).unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with("}\n"), "{answer}");
    }
    drop(input);
    assert!(simulator.child.wait().unwrap().success());
}

#[test]
fn a_thousand_cases_and_a_line_without_end_are_answered() {
    let first = LINES.lines().next().unwrap();
    let mut text = format!("{first}\n").repeat(1000).into_bytes();
    text.extend(vec![b'x'; 17 << 20]);
    text.extend(format!("\n\u{fffd}\n{first}\n").into_bytes());
    text.extend(b"\xff\xfe\n");
    let (answers, code) = Simulator::start(&["-"]).answers(&text);
    assert_eq!((answers.len(), code), (1004, 1));
    assert!(answers[..1000].iter().all(|answer| answer["decision"] == "Allowed"));
    assert!(answers[1000]["error"].as_str().unwrap().contains("16 MiB"), "{}", answers[1000]);
    assert_eq!(answers[1002]["decision"], "Allowed");
    assert!(answers[1003]["error"].as_str().unwrap().contains("UTF-8"), "{}", answers[1003]);
}
