//! Random sessions with a model of the server: what was asked is told, in order, with its own reply, however it is cut.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Session, Way, command, decode, summary, words};

/// What the client does next, or what happens to it.
#[derive(Clone, Debug)]
enum Step {
    Read(Vec<u8>),
    Inline,
    Nothing,
    Wrong,
    Ping,
    Subscribe(bool, Vec<u8>),
    Unsubscribe(bool, Vec<u8>),
    Message(u8, Vec<u8>),
    Invalidate,
    Publish(Vec<u8>),
    Transaction(Vec<bool>, u8),
    Replies(u8),
    Hello(bool),
    Reset,
    /// The requests so far go out, and their replies come.
    Flush,
}

/// An element of any type and nesting, encoded.
fn element() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        "[ -~]{0,12}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|text| {
            let mut bytes = format!("${}\r\n", text.len()).into_bytes();
            bytes.extend(text);
            bytes.extend(b"\r\n");
            bytes
        }),
        Just(b"$-1\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        Just(b"_\r\n".to_vec()),
        Just(b"#t\r\n".to_vec()),
        Just(b",-1.5e9\r\n".to_vec()),
        Just(b"(12345678901234567890123\r\n".to_vec()),
        Just(b"=8\r\ntxt:\r\n\r\n\r\n".to_vec()),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        (0..5_usize, prop::collection::vec(inner, 0..6)).prop_map(|(kind, mut elements)| {
            let mark = [b'*', b'~', b'%', b'|', b'*'][kind];
            // An attribute stands before an element that is not counted.
            let last = (mark == b'|').then(|| elements.pop()).flatten();
            if mark == b'|' && last.is_none() {
                return b"*0\r\n".to_vec();
            }
            let count = match mark {
                b'%' | b'|' => {
                    elements.truncate(elements.len() / 2 * 2);
                    elements.len() / 2
                }
                _ => elements.len(),
            };
            let mut bytes = vec![mark];
            bytes.extend(format!("{count}\r\n").into_bytes());
            bytes.extend(elements.concat());
            bytes.extend(last.unwrap_or_default());
            bytes
        })
    })
}

fn step() -> impl Strategy<Value = Step> {
    let names = || prop::collection::vec(0..4_u8, 0..4);
    prop_oneof![
        4 => element().prop_map(Step::Read),
        1 => Just(Step::Inline),
        1 => Just(Step::Nothing),
        2 => Just(Step::Wrong),
        1 => Just(Step::Ping),
        2 => (any::<bool>(), names()).prop_map(|(pattern, names)| Step::Subscribe(pattern, names)),
        2 => (any::<bool>(), names()).prop_map(|(pattern, names)| Step::Unsubscribe(pattern, names)),
        3 => (0..4_u8, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(name, payload)| Step::Message(name, payload)),
        1 => Just(Step::Invalidate),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Publish),
        2 => (prop::collection::vec(any::<bool>(), 0..4), 0..4_u8)
            .prop_map(|(parts, outcome)| Step::Transaction(parts, outcome)),
        2 => (0..4_u8).prop_map(Step::Replies),
        1 => any::<bool>().prop_map(Step::Hello),
        1 => Just(Step::Reset),
        6 => Just(Step::Flush),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    On,
    Off,
    Skip,
}

/// The server and what it did, as far as it matters here.
struct Model {
    resp3: bool,
    channels: BTreeSet<u8>,
    patterns: BTreeSet<u8>,
    mode: Mode,
    session: Session,
    requests: Vec<u8>,
    replies: Vec<u8>,
    /// Requests: name, how it ended.
    asked: Vec<String>,
    /// Pushes and changes of transactions, in order.
    happened: Vec<&'static str>,
}

impl Model {
    fn new() -> Self {
        Self {
            resp3: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            mode: Mode::On,
            session: Vec::new(),
            requests: Vec::new(),
            replies: Vec::new(),
            asked: Vec::new(),
            happened: Vec::new(),
        }
    }

    fn restricted(&self) -> bool {
        !self.resp3 && self.channels.len() + self.patterns.len() > 0
    }

    /// A request, and its reply where replies are on. Returns whether it was carried out.
    fn ask(&mut self, request: Vec<u8>, name: &str, status: &str, reply: &[u8]) -> bool {
        self.requests.extend(request);
        let number = self.asked.len();
        if self.mode == Mode::On {
            if self.restricted() {
                self.replies
                    .extend(b"-ERR only subscriptions are allowed in this context\r\n");
                self.asked.push(format!("{number} {name} ERR"));
                return false;
            }
            self.replies.extend(reply);
            self.asked.push(format!("{number} {name} {status}"));
        } else {
            self.asked.push(format!("{number} {name} silent"));
        }
        if self.mode == Mode::Skip {
            self.mode = Mode::On;
        }
        true
    }

    fn pubsub(&mut self, parts: &[&[u8]], count: Option<usize>) {
        let total = parts.len() + usize::from(count.is_some());
        let mark = if self.resp3 { '>' } else { '*' };
        self.replies
            .extend(format!("{mark}{total}\r\n").into_bytes());
        for part in parts {
            self.replies
                .extend(format!("${}\r\n", part.len()).into_bytes());
            self.replies.extend(*part);
            self.replies.extend(b"\r\n");
        }
        if let Some(count) = count {
            self.replies.extend(format!(":{count}\r\n").into_bytes());
        }
    }

    fn change(&mut self, subscribe: bool, pattern: bool, mut names: Vec<u8>) {
        // What is answered with replies off depends on the server: not followed.
        if self.mode != Mode::On {
            return;
        }
        let name = match (subscribe, pattern) {
            (true, false) => "SUBSCRIBE",
            (true, true) => "PSUBSCRIBE",
            (false, false) => "UNSUBSCRIBE",
            (false, true) => "PUNSUBSCRIBE",
        };
        let number = self.asked.len();
        let mut words = vec![name.as_bytes().to_vec()];
        words.extend(names.iter().map(|name| vec![b'a' + name]));
        self.requests.extend(command(
            &words.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        ));
        if subscribe && names.is_empty() {
            self.replies.extend(b"-ERR wrong number of arguments\r\n");
            self.asked.push(format!("{number} {name} pubsub ERR"));
            return;
        }
        self.asked.push(format!("{number} {name} pubsub ok"));
        let verb = name.to_lowercase();
        if names.is_empty() {
            names = if pattern {
                &self.patterns
            } else {
                &self.channels
            }
            .iter()
            .copied()
            .collect();
        }
        if names.is_empty() {
            let count = self.channels.len() + self.patterns.len();
            let mark = if self.resp3 { '>' } else { '*' };
            let nil = if self.resp3 { "_" } else { "$-1" };
            let length = verb.len();
            self.replies.extend(
                format!("{mark}3\r\n${length}\r\n{verb}\r\n{nil}\r\n:{count}\r\n").into_bytes(),
            );
        }
        for name in names {
            let set = if pattern {
                &mut self.patterns
            } else {
                &mut self.channels
            };
            if subscribe {
                set.insert(name);
            } else {
                set.remove(&name);
            }
            let count = self.channels.len() + self.patterns.len();
            self.pubsub(&[verb.as_bytes(), &[b'a' + name]], Some(count));
        }
    }

    fn transaction(&mut self, parts: &[bool], outcome: u8) {
        if self.mode != Mode::On || self.restricted() {
            return;
        }
        self.ask(words("MULTI"), "MULTI transaction", "ok", b"+OK\r\n");
        self.happened.push("begin");
        for _ in parts {
            self.ask(words("SET a b"), "SET write", "ok", b"+QUEUED\r\n");
        }
        let mut results = format!("*{}\r\n", parts.len()).into_bytes();
        let mut errors = 0;
        for (number, failed) in parts.iter().enumerate() {
            if *failed {
                errors += 1;
                results.extend(b"-WRONGTYPE Operation\r\n");
            } else {
                results.extend([&b"+OK\r\n"[..], b"*1\r\n-ERR inner\r\n", b"*0\r\n"][number % 3]);
            }
        }
        let status = match errors {
            0 => "ok".to_owned(),
            errors => format!("errors={errors} ok"),
        };
        match outcome {
            0 => {
                self.ask(words("EXEC"), "EXEC transaction", &status, &results);
                self.happened.push("commit");
            }
            1 => {
                let nil: &[u8] = if self.resp3 { b"_\r\n" } else { b"*-1\r\n" };
                self.ask(words("EXEC"), "EXEC transaction", "ok", nil);
                self.happened.push("rollback");
            }
            2 => {
                for _ in 0..2 {
                    self.ask(
                        words("NOSUCH"),
                        "other admin",
                        "ERR",
                        b"-ERR unknown command\r\n",
                    );
                }
                self.happened.push("failed");
                self.ask(
                    words("EXEC"),
                    "EXEC transaction",
                    "EXECABORT",
                    b"-EXECABORT Transaction\r\n",
                );
                self.happened.push("rollback");
            }
            _ => {
                self.ask(words("DISCARD"), "DISCARD transaction", "ok", b"+OK\r\n");
                self.happened.push("rollback");
            }
        }
    }

    fn client_reply(&mut self, wanted: u8) {
        if self.restricted() {
            return;
        }
        let number = self.asked.len();
        let (word, next) = match wanted {
            0 => ("ON", Mode::On),
            1 => ("OFF", Mode::Off),
            2 => ("SKIP", Mode::Skip),
            _ => {
                let request = words("CLIENT REPLY perhaps");
                self.ask(
                    request,
                    "client|reply admin",
                    "ERR",
                    b"-ERR syntax error\r\n",
                );
                return;
            }
        };
        self.requests.extend(words(&format!("CLIENT REPLY {word}")));
        if next == Mode::On {
            self.replies.extend(b"+OK\r\n");
            self.asked.push(format!("{number} client|reply admin ok"));
        } else {
            self.asked
                .push(format!("{number} client|reply admin silent"));
        }
        if !(next == Mode::Skip && self.mode == Mode::Off) {
            self.mode = next;
        }
    }

    fn reset(&mut self) {
        let number = self.asked.len();
        self.requests.extend(words("RESET"));
        if self.mode == Mode::Skip {
            self.asked.push(format!("{number} RESET handshake silent"));
        } else {
            self.replies.extend(b"+RESET\r\n");
            self.asked.push(format!("{number} RESET handshake ok"));
        }
        self.resp3 = false;
        self.channels.clear();
        self.patterns.clear();
        self.mode = Mode::On;
    }

    fn message(&mut self, name: u8, payload: &[u8]) {
        let channel = [b'a' + name];
        if self.channels.contains(&name) {
            self.pubsub(&[b"message", &channel, payload], None);
        } else if self.patterns.contains(&name) {
            self.pubsub(&[b"pmessage", b"*", &channel, payload], None);
        } else {
            return;
        }
        self.happened.extend(["delivered", "push"]);
    }

    fn hello(&mut self, resp3: bool) {
        let reply: &[u8] = if resp3 {
            b"%1\r\n+proto\r\n:3\r\n"
        } else {
            b"*2\r\n+proto\r\n:2\r\n"
        };
        let request = words(if resp3 { "HELLO 3" } else { "HELLO 2" });
        // Silently answered, its type tells nothing: the decoder would have to believe the request.
        if self.mode == Mode::On && self.ask(request, "HELLO handshake", "ok", reply) {
            self.resp3 = resp3;
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Read(reply) => {
                self.ask(words("GET a"), "GET read", "ok", &reply);
            }
            Step::Inline => {
                self.ask(b"get 'a b'\r\n".to_vec(), "GET read", "ok", b"$-1\r\n");
            }
            Step::Nothing => {
                let number = self.asked.len();
                self.requests.extend(b"\r\n");
                self.asked.push(format!("{number} empty ping silent"));
                if self.mode == Mode::Skip {
                    self.mode = Mode::On;
                }
            }
            Step::Wrong => {
                self.ask(
                    words("INCR a"),
                    "INCR write",
                    "WRONGTYPE",
                    b"-WRONGTYPE Operation\r\n",
                );
            }
            Step::Ping if self.restricted() && self.mode == Mode::On => {
                let number = self.asked.len();
                self.requests.extend(words("PING"));
                self.pubsub(&[b"pong", b""], None);
                self.asked.push(format!("{number} PING ping ok"));
            }
            Step::Ping => {
                self.ask(words("PING"), "PING ping", "ok", b"+PONG\r\n");
            }
            Step::Subscribe(pattern, names) => self.change(true, pattern, names),
            Step::Unsubscribe(pattern, names) => self.change(false, pattern, names),
            Step::Message(name, payload) => self.message(name, &payload),
            Step::Invalidate if self.resp3 => {
                self.replies
                    .extend(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n");
                self.happened.push("push");
            }
            Step::Invalidate => {}
            Step::Publish(payload) => {
                let request = command(&[b"PUBLISH", b"a", &payload]);
                self.ask(request, "PUBLISH pubsub", "ok", b":0\r\n");
            }
            Step::Transaction(parts, outcome) => self.transaction(&parts, outcome),
            Step::Replies(wanted) => self.client_reply(wanted),
            Step::Hello(resp3) => self.hello(resp3),
            Step::Reset => self.reset(),
            Step::Flush => self.flush(),
        }
    }

    fn flush(&mut self) {
        self.session
            .push((Way::Request, std::mem::take(&mut self.requests)));
        self.session
            .push((Way::Reply, std::mem::take(&mut self.replies)));
    }
}

/// A summary without sizes and hashes: requests, and what happened beside them.
fn plain(lines: Vec<String>) -> (Vec<String>, Vec<String>) {
    let cut = |line: String| match line.rsplit_once(' ') {
        Some((head, tail)) if tail.contains('/') => head.to_owned(),
        _ => line,
    };
    let (asked, happened): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .map(cut)
        .filter(|line| !line.starts_with("published"))
        .partition(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    let happened = happened
        .into_iter()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    (asked, happened)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_exchange_gets_its_own_reply(
        steps in prop::collection::vec(step(), 1..40),
        cuts in prop::collection::vec(1..60_usize, 1..50),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
        }
        model.flush();
        let whole = decode(&model.session, |length| length);
        let (asked, happened) = plain(summary(&whole));
        prop_assert_eq!(&asked, &model.asked);
        prop_assert_eq!(&happened, &model.happened);
        prop_assert_eq!(&whole, &decode(&model.session, |_| 1));
        let mut cuts = cuts.iter().cycle();
        prop_assert_eq!(&whole, &decode(&model.session, |_| *cuts.next().unwrap_or(&1)));
    }
}
