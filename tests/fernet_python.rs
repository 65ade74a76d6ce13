//! Fernet against Python's `cryptography` itself, in both directions: what either seals the other opens, and on everything odd
//! both have the same verdict.
//!
//! A Python that has the package is looked for on this machine; `scripts/test` installs one where there is none. Without it the
//! test fails: a verdict that was not compared is no verdict.

use std::io::Write as _;
use std::process::{Command, Stdio};

use llmhub::domain::fernet::{MasterKey, sealed_at};
use serde_json::{Value, json};

use crate::support::cli::rounds;

/// Reads cases from stdin, one JSON document each line, and answers each with one.
const PYTHON: &str = r"
import base64, json, sys
from cryptography.fernet import Fernet, InvalidToken

def answer(case):
    try:
        fernet = Fernet(case['key'].encode())
    except ValueError:
        return {'key': False}
    if 'plain' in case:
        plain = base64.b64decode(case['plain'])
        return {'key': True, 'token': fernet.encrypt_at_time(plain, case['at']).decode()}
    try:
        plain = fernet.decrypt(case['token'].encode())
        return {'key': True, 'opened': base64.b64encode(plain).decode()}
    except InvalidToken:
        return {'key': True, 'opened': None}

for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))))
";

/// Any Python that can import the package.
fn python() -> String {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python3");
    let known = std::env::var("LLMHUB_TEST_PYTHON").unwrap_or_default();
    let candidates = [known.as_str(), own, "python3", "/usr/bin/python3"];
    let works = |program: &&&str| {
        let mut command = Command::new(program);
        command.args(["-c", "import cryptography.fernet"]).stdout(Stdio::null()).stderr(Stdio::null());
        !program.is_empty() && command.status().is_ok_and(|status| status.success())
    };
    let found = candidates.iter().find(works);
    (*found.expect("no Python with `cryptography`: scripts/test makes one, or name it in LLMHUB_TEST_PYTHON"))
        .to_owned()
}

/// What Python says to each case.
fn ask(cases: &[Value]) -> Vec<Value> {
    let mut child =
        Command::new(python()).args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), cases.len());
    answers
}

/// A generator with a fixed seed (xorshift): a failure can be run again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    fn key(&mut self) -> String {
        let key = base64(&self.bytes(32)).replace('+', "-").replace('/', "_");
        match self.below(4) {
            0 => key.replace('-', "+").replace('_', "/"),
            1 => format!(" {key}\n"),
            _ => key,
        }
    }
}

/// Standard base64, apart from the one under test.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let six = bits >> (18 - 6 * digit) & 0x3f;
            text.push(if digit > group.len() { '=' } else { char::from(DIGITS[six as usize]) });
        }
    }
    text
}

#[test]
fn each_opens_what_the_other_seals() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let plains: Vec<(String, Vec<u8>, u64)> = (0..rounds(300, 10_000))
        .map(|turn| {
            let length = if turn == 0 { 1 << 20 } else { random.below(200) };
            let at = random.next() % 4_000_000_000;
            (random.key(), random.bytes(length), at)
        })
        .collect();
    let cases: Vec<Value> =
        plains.iter().map(|(key, plain, at)| json!({"key": key, "plain": base64(plain), "at": at})).collect();
    let mut ours = Vec::new();
    for ((key, plain, at), theirs) in plains.iter().zip(ask(&cases)) {
        let master = MasterKey::parse(key).ok().unwrap();
        let token = theirs["token"].as_str().unwrap();
        assert!(master.open(token).unwrap().as_bytes() == plain.as_slice(), "{key:?} {}", plain.len());
        assert_eq!(sealed_at(token), Some(*at));
        let iv: [u8; 16] = random.bytes(16).try_into().unwrap();
        ours.push(json!({"key": key, "token": master.seal(plain, *at, iv)}));
    }
    for ((_, plain, _), opened) in plains.iter().zip(ask(&ours)) {
        assert_eq!(opened["opened"], base64(plain));
    }
}

/// The token, changed in one of the ways in which tokens get changed.
fn changed(random: &mut Random, token: &str) -> String {
    let at = random.below(token.len());
    let (head, tail) = token.split_at(at);
    let rest = tail.get(1..).unwrap_or_default();
    match random.below(14) {
        0 => token.to_owned(),
        1 => head.to_owned(),
        2 => format!("{token}\n"),
        3 => format!(" {token} "),
        4 => format!("{head}\n{tail}"),
        5 => token.replace('-', "+").replace('_', "/"),
        6 => token.trim_end_matches('=').to_owned(),
        7 => format!("{token}=="),
        8 => format!("{head}={tail}"),
        9 => format!("{head}=={tail}"),
        10 => format!("{token}AAAA"),
        11 => format!("{head}\u{e9}!{tail}"),
        12 => format!("{head}A{rest}"),
        _ => format!("{head}{rest}"),
    }
}

#[test]
fn on_changed_tokens_and_keys_both_have_the_same_verdict() {
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let mut cases = vec![json!({"key": "", "token": ""})];
    for _ in 0..rounds(1500, 30_000) {
        let key = random.key();
        let length = random.below(40);
        let (plain, iv) = (random.bytes(length), random.bytes(16).try_into().unwrap());
        let token = MasterKey::parse(&key).ok().unwrap().seal(&plain, 1_700_000_000, iv);
        let mut token = changed(&mut random, &token);
        if random.below(4) == 0 && !token.is_empty() && token.is_ascii() {
            token = changed(&mut random, &token);
        }
        let key = match random.below(6) {
            0 if random.below(2) == 0 => changed(&mut random, key.trim()),
            1 => random.key(),
            _ => key,
        };
        cases.push(json!({"key": key, "token": token}));
    }
    let mut opened = 0;
    for (case, theirs) in cases.iter().zip(ask(&cases)) {
        let key = MasterKey::parse(case["key"].as_str().unwrap()).ok();
        assert_eq!(key.is_some(), theirs["key"] == true, "{case}");
        let Some(key) = key else { continue };
        let ours = key.open(case["token"].as_str().unwrap()).map(|plain| base64(plain.as_bytes()));
        assert_eq!(ours.as_deref(), theirs["opened"].as_str(), "{case}");
        opened += usize::from(ours.is_some());
    }
    assert!(opened > cases.len() / 4, "{opened}");
}
