//! Decoders: any bytes, however cut, tell the same story, and a story that could be.

use super::tape::{self, Cuts, Records, Way};
use crate::protocol::{Catalog, Decoder, Event, Located, Protocol};

/// An event at its offset in its stream.
type Seen = (Way, u64, u64, Event);

/// What was told of an exchange.
#[derive(Clone, Copy, Default)]
struct Told {
    known: bool,
    sent: bool,
    replying: bool,
    replied: bool,
}

/// What is checked of every event as it comes.
#[derive(Default)]
struct Witness {
    exchanges: Vec<Told>,
    lost: bool,
    /// The server spoke before it was asked: what it says may have begun before the request that it ends.
    unasked: bool,
}

impl Witness {
    fn sees(&mut self, located: &Located) {
        assert!(!self.lost, "after giving up: {located:?}");
        let number = usize::try_from(located.exchange).expect("a number of this session");
        let told = self.exchanges.get_mut(number);
        match (located.event, told) {
            (Event::RequestBegin, _) => {
                assert_eq!(number, self.exchanges.len(), "numbers count up");
                self.exchanges.push(Told::default());
            }
            (Event::RequestKnown { .. }, Some(told)) => {
                assert!(!told.known && !told.sent, "known once: {located:?}");
                told.known = true;
            }
            (Event::RequestEnd, Some(told)) => {
                assert!(
                    told.known && !told.sent,
                    "known, and sent once: {located:?}"
                );
                told.sent = true;
            }
            (Event::ReplyBegin, Some(told)) => {
                assert!(!told.replying && !told.replied, "one reply: {located:?}");
                told.replying = true;
            }
            (Event::ReplyEnd { .. }, Some(told)) => {
                let begun = told.replying || self.unasked;
                assert!(begun && !told.replied, "begun: {located:?}");
                told.replied = true;
            }
            (
                Event::RequestKnown { .. }
                | Event::RequestEnd
                | Event::ReplyBegin
                | Event::ReplyEnd { .. },
                None,
            ) => panic!("of no request: {located:?}"),
            (Event::Lost(_), _) => self.lost = true,
            _ => {}
        }
    }
}

/// Decodes a tape, each record cut by `cut`.
fn play<'a>(
    protocol: Protocol,
    records: Records<'a>,
    mut cut: impl FnMut(&mut &'a [u8]) -> Option<&'a [u8]>,
) -> Vec<Seen> {
    let catalog = Catalog::new(protocol, &[]);
    let mut decoder = Decoder::new(&catalog);
    let first = records.clone().find(|(_, bytes)| !bytes.is_empty());
    let mut witness = Witness {
        unasked: first.is_some_and(|(way, _)| way == Way::Down),
        ..Witness::default()
    };
    let (mut seen, mut out, mut offsets) = (Vec::new(), Vec::new(), [0_u64; 2]);
    let mut tell = |way: Way, piece: usize, offset: u64, out: &mut Vec<Located>| {
        assert!(out.is_sorted_by_key(|e| e.at), "offsets go back: {out:?}");
        assert!(out.iter().all(|e| e.at <= piece), "beyond the piece");
        for located in out.drain(..) {
            witness.sees(&located);
            seen.push((
                way,
                offset + located.at as u64,
                located.exchange,
                located.event,
            ));
        }
    };
    for (way, mut rest) in records {
        while let Some(piece) = cut(&mut rest) {
            match way {
                Way::Up => decoder.request(piece, &mut out),
                Way::Down => decoder.reply(piece, &mut out),
            }
            let offset = &mut offsets[way as usize];
            tell(way, piece.len(), *offset, &mut out);
            *offset += piece.len() as u64;
        }
    }
    decoder.reply_eof(&mut out);
    tell(Way::Down, 0, offsets[Way::Down as usize], &mut out);
    seen
}

/// Where an interim reply of HTTP comes in pieces, `ReplyBegin` may stand at any place up to its status.
fn comparable(protocol: Protocol, mut seen: Vec<Seen>) -> Vec<Seen> {
    if protocol == Protocol::Http {
        seen.retain(|event| event.3 != Event::ReplyBegin);
    }
    seen
}

fn whole<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let piece = std::mem::take(rest);
    (!piece.is_empty()).then_some(piece)
}

fn check(protocol: Protocol, input: &[u8]) {
    let (seed, records) = tape::read(input);
    let told = comparable(protocol, play(protocol, records.clone(), whole));
    let mut cuts = Cuts::new(seed);
    let cut = play(protocol, records, |rest| cuts.cut(rest));
    assert_eq!(comparable(protocol, cut), told, "cut by {seed}");
}

/// Redis, both directions.
pub fn redis(input: &[u8]) {
    check(Protocol::Redis, input);
}

/// Postgres, frontend and backend.
pub fn postgres(input: &[u8]) {
    check(Protocol::Postgres, input);
}

/// HTTP/1, requests and replies.
pub fn http1(input: &[u8]) {
    check(Protocol::Http, input);
}
