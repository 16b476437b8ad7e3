//! The first packets and the handshake.

use super::super::hash;
use super::*;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

#[test]
fn encryption_refused_goes_on_and_accepted_ends_it() {
    let start = startup("user\0app\0");
    let hello = [b(b'R', [0; 4]), ready("I")].concat();
    let refused = Tape::default()
        .client(GSSENC_REQUEST)
        .server("N")
        .client(SSL_REQUEST)
        .server("N")
        .client(&start)
        .server(&hello);
    assert_eq!(refused.story(), ["STARTUP handshake ok"]);
    let unanswered = Tape::default().client([&SSL_REQUEST[..], &start].concat());
    let unanswered = unanswered.server([b"N", &hello[..]].concat());
    assert_eq!(unanswered.story(), ["STARTUP handshake ok"]);

    for (request, answer) in [(SSL_REQUEST, "S"), (GSSENC_REQUEST, "G")] {
        let tape = Tape::default()
            .client(request)
            .server(answer)
            .client([0x16, 3, 1]);
        assert_eq!(tape.story(), ["lost: encrypted"]);
    }
    let direct = Tape::default().client(SSL_REQUEST).client([0x16, 3, 1]);
    assert_eq!(direct.story(), ["lost: encrypted"]);
    let full = Tape::default().client(SSL_REQUEST).server(fatal("53300"));
    assert_eq!(full.story(), [] as [&str; 0]);
}

#[test]
fn the_handshake_is_one_exchange_with_secrets_read_past() {
    let tape = Tape::default()
        .client([&[0, 0, 0, 9][..], &196_610_u32.to_be_bytes(), &[0]].concat())
        .server(
            [
                b(b'v', [0; 8]),
                b(b'N', "SNOTICE\0\0"),
                b(b'R', [0, 0, 0, 10, 0]),
            ]
            .concat(),
        )
        .client(f(b'p', "SCRAM-SHA-256\0\0\0\0\0"))
        .server(b(b'R', [0, 0, 0, 11]))
        .client(f(b'p', "secret"))
        .server(
            [
                b(b'R', [0; 4]),
                b(b'S', "a\0b\0"),
                b(b'K', [0, 0, 0, 7, 1, 2, 3, 4]),
                ready("I"),
            ]
            .concat(),
        );
    assert_eq!(tape.story(), ["backend key", "STARTUP handshake ok"]);
    let events = tape.events();
    let begin = events.iter().find(|e| e.3 == Event::RequestBegin).unwrap();
    assert_eq!(begin.1, 8, "behind the bytes that tell what it is");
    let key = hash::bytes(hash::EMPTY, &[1, 2, 3, 4]);
    assert!(
        events
            .iter()
            .any(|e| e.3 == Event::BackendKey { pid: 7, key })
    );

    let refused = Tape::default()
        .client(startup("user\0app\0"))
        .server(fatal("28P01"));
    assert_eq!(refused.story(), ["STARTUP handshake 28P01"]);
}

#[test]
fn a_cancel_request_finds_its_session() {
    for length in [4_u32, 32, 256] {
        let key: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let packet = [
            &(length + 12).to_be_bytes()[..],
            &80_877_102_u32.to_be_bytes(),
            &[0, 0, 1, 2],
            &key,
        ];
        let tape = Tape::default().client(packet.concat());
        assert_eq!(tape.story(), ["cancel", "CANCEL admin"]);
        let hash = hash::bytes(hash::EMPTY, &key);
        let cancel = Event::Cancel {
            pid: 258,
            key: hash,
        };
        assert!(tape.events().iter().any(|e| e.3 == cancel));
        let more = tape.client([0]);
        assert_eq!(more.story().last().unwrap(), "lost: malformed");
    }
}

#[test]
fn replication_is_given_up_once_the_handshake_is_over() {
    let hello = [b(b'R', [0; 4]), ready("I")].concat();
    for (parameters, lost) in [
        ("user\0a\0replication\0true\0", true),
        ("replication\0database\0user\0a\0", true),
        ("user\0a\0replication\0off\0", false),
        ("user\0replication\0application_name\0true\0", false),
        ("replicationist\0true\0", false),
    ] {
        let tape = Tape::default().client(startup(parameters)).server(&hello);
        let mut expected = vec!["STARTUP handshake ok"];
        expected.extend(lost.then_some("lost: replication"));
        assert_eq!(tape.story(), expected, "{parameters:?}");
        assert_eq!(tape.play(|| 1), tape.events());
    }
}

#[test]
fn what_the_server_gave_a_session_cancels_it() {
    let cancels = |length: u32| {
        let mut body = vec![0, 0, 1, 2];
        body.extend((0..length).map(|i| i as u8));
        let mut decoder = Decoder::new();
        let mut events = Vec::new();
        decoder.request(&startup("user\0app\0"), &mut events);
        for byte in [b(b'R', [0; 4]), b(b'K', body), ready("I")].concat() {
            decoder.reply(&[byte], &mut events);
        }
        let given = events.iter().find_map(|e| match e.event {
            Event::BackendKey { pid, key } => Some((pid, key)),
            _ => None,
        });
        let mut events = Vec::new();
        Decoder::new().request(&decoder.cancel_request()?, &mut events);
        let asked = events.iter().find_map(|e| match e.event {
            Event::Cancel { pid, key } => Some((pid, key)),
            _ => None,
        });
        Some(asked == given && asked.is_some())
    };
    for length in [4, 32, 256] {
        assert_eq!(cancels(length), Some(true), "{length}");
    }
    // A key that no protocol has, and none.
    assert_eq!([257, 0].map(cancels), [None; 2]);
    assert_eq!(Decoder::new().cancel_request(), None);
}
