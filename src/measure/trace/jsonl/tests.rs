use super::*;
use crate::measure::trace::{Attempt, CloseSide, Outcome, Proxy};
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
    let back = read(&written[..]).expect("what was written");
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
    let back = read(&text(&trace)[..]).expect("what was written");
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
    let newer = String::from_utf8_lossy(&good).replacen("\"version\":1", "\"version\":2", 1);
    assert!(refused(newer.as_bytes()).contains("version 2; this program reads version 1"));
    let foreign =
        String::from_utf8_lossy(&good).replace("\"proxy\":\"cache\"", "\"proxy\":\"cash\"");
    assert_eq!(
        refused(foreign.as_bytes()),
        "line 2: the header names no proxy `cash`"
    );
    let mut unknown = good.clone();
    unknown.extend_from_slice(b"{\"record\":\"nonsense\"}\n");
    assert!(refused(&unknown).starts_with("line 3: unknown variant `nonsense`"));
}

#[test]
fn a_line_has_a_bound() {
    let mut long = text(&empty());
    long.resize(long.len() + MAX_LINE as usize, b' ');
    assert!(refused(&long).starts_with("line 2: longer than"));
}

proptest! {
    /// A recording that was cut off anywhere behind its header is read up to its last whole line.
    #[test]
    fn a_torn_end_is_left_out(share in 0.0..1.0_f64) {
        let mut trace = empty();
        trace.records = every_kind(&mut trace);
        let whole = text(&trace);
        let header = whole.iter().position(|b| *b == b'\n').expect("a header") + 1;
        let cut = header + ((whole.len() - header) as f64 * share) as usize;
        let lines = whole[header..cut].split(|b| *b == b'\n').count() - 1;
        let back = read(&whole[..cut]).expect("whole lines");
        prop_assert_eq!(back.records.len(), lines);
    }
}
