//! What no peer should send: the decoder gives up once, at the right byte, and never panics.

use proptest::prelude::*;

use super::captures::{NAMES, load};
use super::*;
use crate::protocol::{Lost, MAX_OUTSTANDING};

/// Where and why the decoder gave up, shown in pieces of any size.
fn lost(tape: &Tape) -> Option<(From, u64, Lost)> {
    let find = |events: &[Absolute]| {
        events.iter().find_map(|&(from, at, _, event)| match event {
            Event::Lost(why) => Some((from, at, why)),
            _ => None,
        })
    };
    let whole = find(&tape.events());
    assert_eq!(find(&tape.play(|| 1)), whole);
    whole
}

fn first(bytes: impl AsRef<[u8]>) -> Option<(u64, Lost)> {
    lost(&Tape::default().client(bytes)).map(|(_, at, why)| (at, why))
}

#[test]
fn other_protocols_show_at_their_first_byte() {
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n",
        "*1\r\n$4\r\nPING\r\n",
        "PING\r\n",
        "\r\n",
    ] {
        assert_eq!(first(text), Some((0, Lost::WrongProtocol)), "{text:?}");
    }
    assert_eq!(first([0x16, 3, 1, 2, 0, 1]), Some((0, Lost::Encrypted)));
    assert_eq!(first([0xff; 8]), Some((0, Lost::Length)));
}

#[test]
fn first_packets_have_lengths_and_codes_of_their_own() {
    let packet = |length: u32, code: u32| [length.to_be_bytes(), code.to_be_bytes()].concat();
    for (length, code, why) in [
        (0, 196_608, Lost::Malformed),
        (7, 196_608, Lost::Malformed),
        (8, 196_608, Lost::Malformed),
        (9, 80_877_103, Lost::Malformed),
        (12, 80_877_102, Lost::Malformed),
        (269, 80_877_102, Lost::Malformed),
        (16, 80_877_105, Lost::Malformed),
        (20, 0x0002_0000, Lost::Malformed),
        (20, 0x0004_0000, Lost::Malformed),
        (10_005, 196_608, Lost::Length),
    ] {
        assert_eq!(
            first(packet(length, code)),
            Some((8, why)),
            "{length} {code}"
        );
    }
    assert_eq!(first(packet(10_004, 196_608)), None);
    assert_eq!(first([0, 1, 0, 0]), Some((1, Lost::Length)));
    assert_eq!(
        first([packet(8, 80_877_103)].concat().repeat(20)),
        Some((72, Lost::Malformed))
    );
}

#[test]
fn lengths_that_lie_are_refused_before_they_are_believed() {
    for (length, why) in [
        (0, Lost::Malformed),
        (3, Lost::Malformed),
        ((1 << 30) + 1, Lost::Length),
        (1 << 31, Lost::Length),
        (u32::MAX, Lost::Length),
    ] {
        let bytes = [&b"Q"[..], &length.to_be_bytes()].concat();
        let start = session().stream(From::Client).len() as u64;
        let expected = Some((From::Client, start + 5, why));
        assert_eq!(lost(&session().client(&bytes)), expected, "{length}");

        let bytes = [&b"T"[..], &length.to_be_bytes()].concat();
        let start = session().stream(From::Server).len() as u64;
        let expected = Some((From::Server, start + 5, why));
        let tape = session().client(query("select 1")).server(&bytes);
        assert_eq!(lost(&tape), expected, "{length}");
        // The same behind a row, where whole messages are stepped over.
        let row = b(b'D', "x");
        let lie = [&b"D"[..], &length.to_be_bytes()].concat();
        let expected = Some((From::Server, start + row.len() as u64 + 5, why));
        let tape = session()
            .client(query("select 1"))
            .server([row, lie].concat());
        assert_eq!(lost(&tape), expected, "{length}");
    }
}

#[test]
fn a_message_of_a_gigabyte_is_counted_not_stored() {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    decoder.request(&session().stream(From::Client), &mut out);
    decoder.request(
        &[&b"d"[..], &(1_u32 << 30).to_be_bytes()].concat(),
        &mut out,
    );
    out.clear();
    let chunk = vec![0; 1 << 20];
    for _ in 0..1023 {
        decoder.request(&chunk, &mut out);
    }
    decoder.request(&chunk[4..], &mut out);
    assert!(out.is_empty());
    decoder.request(&query("select 1"), &mut out);
    assert_eq!(out[0].event, Event::RequestBegin);
}

#[test]
fn unknown_types_are_malformed() {
    for kind in 0..=u8::MAX {
        let client = lost(&session().client(f(kind, [0; 8])));
        let known = b"QPBDECSHXFdcfp".contains(&kind);
        assert_eq!(client.is_none(), known, "{kind}");
        if !known {
            assert_eq!(client.unwrap().2, Lost::Malformed);
        }
        let server = lost(&session().server(b(kind, [0; 8])));
        match kind {
            b'N' | b'S' | b'A' => assert_eq!(server, None),
            _ if b"RvKZEDTCIsntd123GHWcV".contains(&kind) => {
                assert_eq!(server.unwrap().2, Lost::Unpaired);
            }
            _ => assert_eq!(server.unwrap().2, Lost::Malformed, "{kind}"),
        }
    }
}

#[test]
fn replies_that_nothing_asked_for_end_it() {
    let unpaired = |tape: &Tape| assert_eq!(lost(tape).map(|lost| lost.2), Some(Lost::Unpaired));
    unpaired(&session().server(ready("I")));
    unpaired(&session().client(query("select 1")).server(ready("I")));
    unpaired(&session().client(query("select 1")).server(b(b'1', "")));
    unpaired(&session().client(sync()).server(complete("SELECT 1")));
    unpaired(&session().client(execute("")).server(ready("I")));
    unpaired(
        &session()
            .client([parse("", "select 1"), sync()].concat())
            .server(complete("SELECT 1")),
    );
    unpaired(
        &session()
            .client(execute(""))
            .server([error("34000"), ready("I")].concat()),
    );
    unpaired(
        &session()
            .client([execute(""), sync()].concat())
            .server([error("34000"), complete("X")].concat()),
    );
    unpaired(&session().server(error("57014")));
    unpaired(&Tape::default().server(b(b'R', [0; 4])));
}

#[test]
fn ready_for_query_has_one_byte_of_three() {
    for body in ["", "X", "II", "\0"] {
        let tape = session().client(sync()).server(b(b'Z', body));
        assert_eq!(
            lost(&tape).map(|lost| lost.2),
            Some(Lost::Malformed),
            "{body:?}"
        );
    }
}

#[test]
fn messages_without_their_terminators_are_read_to_their_end() {
    let tape = session()
        .client(
            [
                f(b'Q', "select"),
                f(b'P', "name"),
                f(b'B', "p"),
                f(b'E', "p"),
                f(b'C', "S"),
                f(b'C', ""),
            ]
            .concat(),
        )
        .client(
            [
                f(b'P', "\0insert"),
                f(b'E', ""),
                f(b'D', ""),
                f(b'F', ""),
                sync(),
            ]
            .concat(),
        );
    let expected = [
        "SELECT read outstanding",
        "other admin outstanding",
        "other admin outstanding",
        "PREPARE admin outstanding",
        "FUNCTION admin outstanding",
    ];
    assert_eq!(after_handshake(&tape), expected);
    let tape = session()
        .client(query("x"))
        .server([b(b'E', "SERROR"), ready("I")].concat());
    assert_eq!(after_handshake(&tape), ["other admin other"]);
}

#[test]
fn one_entry_too_many_ends_it() {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    decoder.request(&session().stream(From::Client), &mut out);
    let syncs = sync().repeat(MAX_OUTSTANDING - 1);
    out.clear();
    decoder.request(&syncs, &mut out);
    assert_eq!(out, []);
    decoder.request(&sync(), &mut out);
    assert_eq!(
        out.last().map(|e| e.event),
        Some(Event::Lost(Lost::TooDeep))
    );
    out.clear();
    decoder.request(&sync(), &mut out);
    decoder.reply(&ready("I"), &mut out);
    assert_eq!(out, [], "silence after Lost");
}

proptest! {
    #[test]
    fn noise_never_panics_and_is_read_the_same_in_any_pieces(
        noise in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        typed in any::<bool>(),
    ) {
        let mut tape = if typed { session() } else { Tape::default() };
        for (client, bytes) in noise {
            tape = if client { tape.client(bytes) } else { tape.server(bytes) };
        }
        prop_assert_eq!(tape.play(|| 1), tape.events());
    }

    #[test]
    fn a_capture_with_wrong_bytes_never_panics(
        name in proptest::sample::select(&NAMES[..]),
        wrong in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut tape = load(name).remove(0);
        for (record, byte, value) in wrong {
            let record = &mut tape.0[record.index(load(name)[0].0.len())].1;
            let at = byte.index(record.len());
            record[at] = value;
        }
        prop_assert_eq!(tape.play(|| 1), tape.events());
    }
}
