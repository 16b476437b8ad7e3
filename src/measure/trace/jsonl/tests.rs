use super::*;
use crate::measure::trace::{Attempt, CloseSide, Kind, Outcome, Proxy};
use crate::protocol::{Class, Protocol, Transaction};
use proptest::prelude::*;

fn empty() -> Trace {
    let proxy = |name: &str, protocol| Proxy {
        name: name.into(),
        protocol,
        pool: None,
    };
    Trace::new(Header {
        version: VERSION,
        service: None,
        started_us: 1_700_000_000_000_000,
        proxies: vec![
            proxy("cache", Protocol::Redis),
            proxy("db", Protocol::Postgres),
        ],
    })
}

fn attempt(trace: &mut Trace, at: u64) -> Record {
    Record::Attempt(Attempt {
        proxy: ProxyIndex(0),
        session: 3,
        exchange: 12,
        operation: trace.names.intern("GET"),
        class: Class::Read,
        fingerprint: u64::MAX - 1,
        begun: at - 3,
        asked: at - 2,
        first_byte: Some(at - 1),
        ended: at,
        upstream: None,
        status: trace.names.intern("ok"),
        outcome: Outcome::Ok,
        fault: Some(trace.names.intern("slow \"quoted\" \u{e9}")),
    })
}

/// One record of each kind.
fn every_kind(trace: &mut Trace) -> Vec<Record> {
    let proxy = ProxyIndex(1);
    let name = trace.names.intern("a name");
    let (session, pid) = (7, 4321);
    vec![
        attempt(trace, 10),
        Record::Opened {
            at: 11,
            proxy,
            session,
            client: name,
            port: 50_123,
        },
        Record::Connected {
            at: 12,
            proxy,
            session,
        },
        Record::Closed {
            at: 13,
            proxy,
            session,
            by: CloseSide::ClientReset,
        },
        Record::TurnedAway {
            at: 14,
            proxy,
            session,
            fault: name,
        },
        Record::Transaction {
            at: 15,
            proxy,
            session,
            state: Transaction::Failed,
        },
        Record::Cancel {
            at: 16,
            proxy,
            target: Some(9),
        },
        Record::Owner {
            at: 17,
            proxy,
            session,
            pid,
        },
        Record::TapLost {
            at: 18,
            proxy,
            session,
            reason: name,
        },
        Record::Dropped {
            at: 19,
            proxy,
            count: 5,
        },
        Record::FaultOn {
            at: 20,
            fault: name,
        },
        Record::FaultOff {
            at: 21,
            fault: name,
        },
        Record::Phase {
            at: 22,
            phase: name,
            kind: Some(Kind::WarmUp),
        },
        Record::Call {
            at: 23,
            lane: name,
            request: name,
            intended: 20,
            sent: 21,
            ok: true,
            status: name,
        },
        Record::Watched {
            at: 24,
            target: name,
            pid,
            memory: 1 << 30,
            cpu: 99,
            descriptors: 12,
            threads: 3,
        },
        Record::Gone {
            at: 25,
            target: name,
        },
        Record::Lag {
            at: 26,
            longest: 77,
        },
    ]
}

/// As it is read back; it has to be whole.
fn whole(text: &[u8]) -> Trace {
    let Reading { trace, damage } = read(text).expect("what was written");
    assert_eq!(damage, None);
    trace
}

fn text(trace: &Trace) -> Vec<u8> {
    let mut text = Vec::new();
    write(&mut text, trace).expect("a vector takes everything");
    text
}

#[test]
fn every_kind_of_record_is_read_back() {
    let mut trace = empty();
    trace.records = every_kind(&mut trace);
    let written = text(&trace);
    let back = whole(&written);
    assert_eq!(back.header, trace.header);
    assert_eq!(back.records.len(), trace.records.len());
    // Names may have other numbers; their text is the same.
    assert_eq!(text(&back), written);
    assert_eq!(back.dropped(ProxyIndex(1)), 5);
    assert_eq!(back.dropped(ProxyIndex(0)), 0);
}

#[test]
fn a_line_says_what_it_is_about() {
    let mut trace = empty();
    trace.records = vec![attempt(&mut trace, 10)];
    let text = String::from_utf8(text(&trace)).expect("JSON");
    let line = text.lines().nth(1).expect("one record");
    for part in [
        r#""record":"attempt""#,
        r#""proxy":"cache""#,
        r#""operation":"GET""#,
        r#""fingerprint":"fffffffffffffffe""#,
        r#""outcome":"ok""#,
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains("upstream"), "{line}");
}

#[test]
fn records_come_in_the_order_of_time() {
    let mut trace = empty();
    trace.records = [30, 10, 20].map(|at| attempt(&mut trace, at)).to_vec();
    let back = whole(&text(&trace));
    let times: Vec<u64> = back.records.iter().map(Record::at).collect();
    assert_eq!(times, [10, 20, 30]);
}

fn refused(text: &[u8]) -> String {
    read(text).expect_err("not a recording").to_string()
}

#[test]
fn what_is_wrong_is_named_by_its_line() {
    let mut trace = empty();
    trace.records = vec![attempt(&mut trace, 10)];
    let good = text(&trace);
    assert!(refused(b"").starts_with("line 1: "));
    assert!(refused(b"{}\n").starts_with("line 1: not the header"));
    let newer = String::from_utf8_lossy(&good).replacen("\"version\":2", "\"version\":3", 1);
    assert!(refused(newer.as_bytes()).contains("version 3; this program reads versions 1 to 2"));
    let foreign =
        String::from_utf8_lossy(&good).replace("\"proxy\":\"cache\"", "\"proxy\":\"cash\"");
    assert_eq!(
        refused(foreign.as_bytes()),
        "line 2: the header names no proxy `cash`"
    );
    let unknown = String::from_utf8_lossy(&good).replace("\"attempt\"", "\"nonsense\"");
    assert!(refused(unknown.as_bytes()).starts_with("line 2: unknown variant `nonsense`"));
    let mut behind = good.clone();
    behind.extend_from_slice(b"{\"record\":\"gone\",\"at\":1,\"target\":\"a\"}\n");
    assert!(refused(&behind).starts_with("line 4: the line before it is the end"));
}

/// As it was written, with one number in place of another.
fn changed(from: &str, to: &str) -> String {
    let mut trace = empty();
    trace.records = every_kind(&mut trace);
    let good = String::from_utf8(text(&trace)).expect("JSON");
    assert!(good.contains(from), "{from} in {good}");
    refused(good.replacen(from, to, 1).as_bytes())
}

#[test]
fn times_that_cannot_be_are_refused_with_their_field_and_a_remedy() {
    let before = changed("\"ended\":10", "\"ended\":6");
    assert_eq!(
        before,
        "line 2: `ended` is 6, before `begun`, which is 7; take the file as brownout wrote it"
    );
    assert!(
        changed("\"sent\":21", "\"sent\":24").starts_with("line 15: `at` is 23, before `sent`")
    );
    for (field, line) in [
        ("\"ended\":10", 2),
        ("\"at\":11", 3),
        ("\"first_byte\":9", 2),
        ("\"longest\":77", 18),
        ("\"cpu\":99", 16),
    ] {
        let name = field.split('"').nth(1).expect("a field");
        let said = changed(field, &format!("\"{name}\":{}", u64::MAX));
        assert!(
            said.starts_with(&format!("line {line}: `{name}` is ")),
            "{said}"
        );
        assert!(said.contains("more than ten years; take"), "{said}");
    }
}

#[test]
fn a_recording_of_the_first_version_is_read_and_its_end_is_missed() {
    let old = b"{\"version\":1,\"started_us\":7,\"proxies\":[{\"name\":\"cache\",\"protocol\":\"redis\"}]}\n\
        {\"record\":\"phase\",\"at\":5,\"phase\":\"baseline\"}\n";
    let Reading { trace, damage } = read(&old[..]).expect("an old one");
    assert!(matches!(
        trace.records[..],
        [Record::Phase { kind: None, .. }]
    ));
    assert_eq!(damage, Some(Damage::NoEnd { after: 2 }));
}

#[test]
fn lines_that_are_gone_are_missed_on_every_proxy() {
    let mut trace = empty();
    trace.records = every_kind(&mut trace);
    let all = String::from_utf8(text(&trace)).expect("JSON");
    let kept: Vec<&str> = all
        .lines()
        .filter(|line| !line.contains("connected"))
        .collect();
    let Reading { trace, damage } = read((kept.join("\n") + "\n").as_bytes()).expect("lines");
    let (said, found) = (17, 16);
    assert_eq!(damage, Some(Damage::Count { said, found }));
    assert_eq!(trace.dropped(ProxyIndex(0)), 1);
}

#[test]
fn a_line_has_a_bound() {
    let mut long = text(&empty());
    long.resize(long.len() + MAX_LINE as usize, b' ');
    assert!(refused(&long).starts_with("line 3: longer than"));
}

proptest! {
    /// A recording that was cut off anywhere behind its header is read up to its last whole line, and its end is missed: also
    /// where it was cut between two lines.
    #[test]
    fn a_torn_end_is_left_out_and_missed(share in 0.0..1.0_f64) {
        let mut trace = empty();
        trace.records = every_kind(&mut trace);
        let whole = text(&trace);
        let header = whole.iter().position(|b| *b == b'\n').expect("a header") + 1;
        let cut = header + ((whole.len() - header) as f64 * share) as usize;
        let lines = whole[header..cut].split(|b| *b == b'\n').count() - 1;
        let Reading { trace, damage } = read(&whole[..cut]).expect("whole lines");
        prop_assert_eq!(trace.records.len(), lines);
        prop_assert_eq!(damage, Some(Damage::NoEnd { after: lines + 1 }));
    }
}
