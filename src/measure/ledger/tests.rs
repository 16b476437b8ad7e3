use super::*;
use crate::protocol::{Class, Protocol};
use proptest::prelude::*;
use std::borrow::Cow;

fn entry(id: u64, proxy: &str, session: u64, exchange: u64) -> Entry {
    Entry {
        id,
        time_us: 1,
        proxy: proxy.into(),
        session,
        exchange,
        operation: "INCR".into(),
        class: Class::Write,
        faults: vec![Touch {
            name: "lost".into(),
            action: "lose_reply".into(),
            skipped: None,
        }],
        skipped: None,
        request_delay_us: 0,
        reply_delay_us: 250,
        reply_floor_us: 0,
        server: None,
        tag: None,
        told: None,
        told_bytes: 0,
        status: None,
        open: true,
        retry: None,
        fingerprint: None,
    }
}

fn outcome(server: Saw, told: Told) -> Outcome {
    Outcome {
        server,
        tag: Some("integer".into()),
        told: Some(told),
        told_bytes: 0,
        status: "closed".into(),
    }
}

fn retry() -> Retry {
    Retry {
        session: 9,
        exchange: 1,
        after_us: 7,
        server: None,
        tag: None,
        status: None,
    }
}

/// Writes entries as workers do.
fn write(numbering: &Numbering, sheet: &mut Sheet, session: u64) -> u64 {
    let id = numbering.take();
    sheet.write(entry(id, "p", session, 0), numbering.gone());
    id
}

fn ids(listing: &Listing) -> Vec<u64> {
    listing.entries.iter().map(|e| e.id).collect()
}

#[test]
fn the_newest_are_kept_and_the_rest_is_counted() {
    let numbering = Numbering::new(3);
    let (mut ledger, mut one, mut two) = (Ledger::default(), Sheet::default(), Sheet::default());
    for n in 0..5 {
        write(&numbering, if n % 2 == 0 { &mut one } else { &mut two }, n);
    }
    ledger.absorb(&mut one);
    ledger.absorb(&mut two);
    ledger.settle(&numbering);
    let listing = ledger.list(&Query::default(), &numbering);
    assert_eq!(ids(&listing), [3, 4, 5]);
    assert_eq!(
        (listing.recorded, listing.dropped, listing.overflowed),
        (5, 2, true)
    );
    assert_eq!((listing.next, listing.more), (5, false));
}

#[test]
fn a_sheet_that_nobody_collects_stays_bounded() {
    let numbering = Numbering::new(100);
    let mut sheet = Sheet::default();
    let far = write(&numbering, &mut Sheet::default(), 0);
    for n in 0..100_000 {
        let id = write(&numbering, &mut sheet, n);
        // Of its own, and of one that another worker wrote.
        let gone = numbering.gone();
        sheet.change(id, Change::Fingerprint(n), gone);
        sheet.change(far.max(gone), Change::Fingerprint(n), gone);
        sheet.change(gone + 1, Change::Fingerprint(n), gone);
    }
    assert_eq!(sheet.entries.len(), 100);
    assert!(sheet.changes.len() < 4096, "{}", sheet.changes.len());
}

#[test]
fn what_is_learned_later_finds_its_entry_in_any_order_of_collecting() {
    let numbering = Numbering::new(10);
    let (mut ledger, mut writer, mut other) =
        (Ledger::default(), Sheet::default(), Sheet::default());
    ledger.absorb(&mut writer);
    let id = write(&numbering, &mut writer, 1);
    other.change(id, Change::Retried(retry()), numbering.gone());
    other.change(
        id,
        Change::RetryEnded(outcome(Saw::Completed, Told::Reply)),
        numbering.gone(),
    );
    // The writer was asked before it wrote.
    ledger.absorb(&mut other);
    ledger.settle(&numbering);
    assert!(ledger.is_empty());
    writer.change(
        id,
        Change::Closed(outcome(Saw::Completed, Told::Nothing)),
        numbering.gone(),
    );
    ledger.absorb(&mut writer);
    ledger.settle(&numbering);
    let listing = ledger.list(
        &Query {
            duplicates: true,
            ..Query::default()
        },
        &numbering,
    );
    let [found] = &listing.entries[..] else {
        panic!("{listing:?}");
    };
    assert!(!found.open && found.is_duplicated());
    assert_eq!(found.retry.as_ref().unwrap().session, 9);
}

#[test]
fn only_what_was_done_untold_and_done_again_is_a_duplicate() {
    for server in [Saw::Nothing, Saw::Request, Saw::Completed] {
        for told in [Told::Reply, Told::Injected, Told::Nothing, Told::Partial] {
            for again in [None, Some(Saw::Request), Some(Saw::Completed)] {
                let mut entry = entry(1, "p", 0, 0);
                entry.change(Change::Closed(outcome(server, told)));
                if let Some(again) = again {
                    entry.change(Change::Retried(retry()));
                    entry.change(Change::RetryEnded(outcome(again, Told::Reply)));
                }
                let expected = server == Saw::Completed
                    && matches!(told, Told::Nothing | Told::Partial)
                    && again == Some(Saw::Completed);
                assert_eq!(entry.is_duplicated(), expected, "{entry:?}");
            }
        }
    }
}

#[test]
fn pages_are_cut_by_number_and_sorted_by_place() {
    let numbering = Numbering::new(100);
    let (mut ledger, mut sheet) = (Ledger::default(), Sheet::default());
    for session in [3, 1, 2, 0] {
        write(&numbering, &mut sheet, session);
    }
    ledger.absorb(&mut sheet);
    ledger.settle(&numbering);
    let page = |since, limit| {
        let query = Query {
            since,
            limit: Some(limit),
            ..Query::default()
        };
        let listing = ledger.list(&query, &numbering);
        (ids(&listing), listing.next, listing.more)
    };
    assert_eq!(page(0, 3), (vec![2, 3, 1], 3, true));
    assert_eq!(page(3, 3), (vec![4], 4, false));
    assert_eq!(page(4, 3), (vec![], 4, false));
    assert_eq!(page(0, 4), (vec![4, 2, 3, 1], 4, false));
    assert!(page(u64::MAX, 4).0.is_empty());
    let none = Query {
        proxy: Some("q".into()),
        ..Query::default()
    };
    assert_eq!(ledger.list(&none, &numbering).entries, []);
    let some = Query {
        proxy: Some("p".into()),
        fault: Some("lost".into()),
        operation: Some("incr".into()),
        ..Query::default()
    };
    assert_eq!(ledger.list(&some, &numbering).entries.len(), 4);
}

#[test]
fn the_canonical_form_holds_nothing_that_time_determines() {
    let numbering = Numbering::new(100);
    let (mut ledger, mut sheet) = (Ledger::default(), Sheet::default());
    let id = write(&numbering, &mut sheet, 2);
    let before = {
        ledger.absorb(&mut sheet);
        ledger.settle(&numbering);
        serde_json::to_string(&ledger.canonical(&Query::default(), &numbering)).unwrap()
    };
    let gone = numbering.gone();
    sheet.change(id, Change::Fingerprint(1), gone);
    sheet.change(
        id,
        Change::Closed(outcome(Saw::Request, Told::Nothing)),
        gone,
    );
    sheet.change(id, Change::Retried(retry()), gone);
    ledger.absorb(&mut sheet);
    ledger.settle(&numbering);
    let after = ledger.canonical(&Query::default(), &numbering);
    assert_eq!(serde_json::to_string(&after).unwrap(), before);
    assert_eq!(
        before,
        r#"{"overflowed":false,"entries":[{"proxy":"p","session":2,"exchange":0,"operation":"INCR","faults":[{"name":"lost","action":"lose_reply"}],"delays_us":{"request":0,"reply":250,"floor":0}}]}"#
    );
}

fn fingerprint(key: &RandomState, protocol: Protocol, pieces: &[&[u8]]) -> u64 {
    let mut print = Fingerprint::new(key, protocol);
    for piece in pieces {
        print.feed(piece);
    }
    print.finish()
}

proptest! {
    #[test]
    fn a_fingerprint_does_not_depend_on_where_the_stream_is_cut(
        mut body in proptest::collection::vec(any::<u8>(), 0..200),
        cuts in proptest::collection::vec(0_usize..400, 0..5),
        http in any::<bool>(),
    ) {
        let key = RandomState::new();
        let protocol = if http { Protocol::Http } else { Protocol::Redis };
        let mut request = b"POST /a HTTP/1.1\r\nHost: h\r\nTraceparent: 1\r\n\r\n".to_vec();
        request.append(&mut body);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % request.len()).collect();
        cuts.extend([0, request.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &request[w[0]..w[1]]).collect();
        prop_assert_eq!(
            fingerprint(&key, protocol, &pieces),
            fingerprint(&key, protocol, &[&request])
        );
    }

    #[test]
    fn a_tag_does_not_depend_on_where_the_stream_is_cut(cuts in proptest::collection::vec(0_usize..400, 0..6)) {
        let row = b"D\0\0\0\x0b\0\x01\0\0\0\x01C".as_slice();
        let reply = [row, b"C\0\0\0\x0fINSERT 0 1\0", row, b"C\0\0\0\x0bCOMMIT\0", b"Z\0\0\0\x05I"].concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % reply.len()).collect();
        cuts.extend([0, reply.len()]);
        cuts.sort_unstable();
        let mut reader = TagReader::new(Protocol::Postgres);
        for w in cuts.windows(2) {
            reader.feed(&reply[w[0]..w[1]]);
        }
        prop_assert_eq!(reader.finish(), Some(Cow::Borrowed("COMMIT")));
    }
}

#[test]
fn a_fingerprint_sees_what_was_asked_and_not_how_it_was_traced() {
    let key = RandomState::new();
    let http = |text: &str| fingerprint(&key, Protocol::Http, &[text.as_bytes()]);
    let first = http("POST /a HTTP/1.1\r\nTraceparent: 1\r\n\r\nbody");
    assert_eq!(
        first,
        http("POST /a HTTP/1.1\r\nTraceparent: 22\r\nX-Retry: 1\r\n\r\nbody")
    );
    for other in [
        "POST /b HTTP/1.1\r\nTraceparent: 1\r\n\r\nbody",
        "POST /a HTTP/1.1\r\nTraceparent: 1\r\n\r\nBody",
        "PUT /a HTTP/1.1\r\nTraceparent: 1\r\n\r\nbody",
    ] {
        assert_ne!(first, http(other), "{other}");
    }
    let another = RandomState::new();
    assert_ne!(
        fingerprint(&another, Protocol::Redis, &[b"PING\r\n"]),
        fingerprint(&key, Protocol::Redis, &[b"PING\r\n"])
    );
}

#[test]
fn of_a_long_request_the_length_counts_too() {
    let key = RandomState::new();
    let long = vec![b'x'; 64 * 1024];
    let print = |more: &[u8]| fingerprint(&key, Protocol::Redis, &[&long, more]);
    assert_eq!(print(b"ab"), print(b"cd"));
    assert_ne!(print(b"ab"), print(b"abc"));
}

#[test]
fn tags_are_words_of_the_server_and_never_payload() {
    let tag = |protocol, reply: &[u8]| {
        let mut reader = TagReader::new(protocol);
        reader.feed(reply);
        reader.finish()
    };
    for (reply, expected) in [
        ("+OK\r\n", Some("OK")),
        ("+QUEUED\r\n", Some("QUEUED")),
        ("+secret\r\n", Some("status")),
        (":42\r\n", Some("integer")),
        ("$-1\r\n", Some("null")),
        ("_\r\n", Some("null")),
        ("$6\r\nsecret\r\n", Some("string")),
        ("*-1\r\n", Some("null")),
        ("*0\r\n", Some("array")),
        ("%0\r\n", Some("map")),
        ("-ERR secret\r\n", None),
        ("", None),
    ] {
        let found = tag(Protocol::Redis, reply.as_bytes());
        assert_eq!(found.as_deref(), expected, "{reply:?}");
    }
    let odd = tag(Protocol::Postgres, b"C\0\0\0\x0bsecret\0");
    assert_eq!(odd, None);
    assert_eq!(tag(Protocol::Http, b"HTTP/1.1 200 OK\r\n"), None);
}

#[test]
fn an_entry_takes_about_what_the_example_file_says() {
    let of_lists = size_of::<Touch>() + 16;
    let bytes = size_of::<Entry>() + of_lists;
    assert!(bytes <= 500, "{bytes}");
}
