//! The redis-protocol crate as the judge of where a frame ends.

use bytes::BytesMut;
use proptest::prelude::*;
use redis_protocol::resp2::types::Resp2Frame;
use redis_protocol::resp2::{decode as decode2, encode as encode2, types as types2};
use redis_protocol::resp3::types::Resp3Frame;
use redis_protocol::resp3::{decode as decode3, encode as encode3, types as types3};

use super::{Session, Way, decode, words};
use crate::protocol::Event;

fn frame2() -> impl Strategy<Value = types2::OwnedFrame> {
    use types2::OwnedFrame;
    let leaf = prop_oneof![
        "[ -~]{0,40}".prop_map(|text| OwnedFrame::SimpleString(text.into_bytes())),
        "[A-Z]{1,12} [ -~]{0,20}".prop_map(OwnedFrame::Error),
        any::<i64>().prop_map(OwnedFrame::Integer),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(OwnedFrame::BulkString),
        Just(OwnedFrame::Null),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop::collection::vec(inner, 0..8).prop_map(OwnedFrame::Array)
    })
}

fn frame3() -> impl Strategy<Value = types3::OwnedFrame> {
    use types3::OwnedFrame;
    // The crate keeps sets and keys of maps in hash tables, and hashes scalars only.
    let member = || {
        "[ -~]{0,40}".prop_map(|text| OwnedFrame::SimpleString {
            data: text.into_bytes(),
            attributes: None,
        })
    };
    let text = || prop::collection::vec(any::<u8>(), 0..200);
    let leaf = prop_oneof![
        text().prop_map(|data| OwnedFrame::BlobString {
            data,
            attributes: None
        }),
        text().prop_map(|data| OwnedFrame::BlobError {
            data,
            attributes: None
        }),
        "[ -~]{0,40}".prop_map(|text| OwnedFrame::SimpleString {
            data: text.into_bytes(),
            attributes: None
        }),
        "[A-Z]{1,12} [ -~]{0,20}".prop_map(|data| OwnedFrame::SimpleError {
            data,
            attributes: None
        }),
        any::<i64>().prop_map(|data| OwnedFrame::Number {
            data,
            attributes: None
        }),
        any::<bool>().prop_map(|data| OwnedFrame::Boolean {
            data,
            attributes: None
        }),
        (-1e9..1e9).prop_map(|data| OwnedFrame::Double {
            data,
            attributes: None
        }),
        "-?[1-9][0-9]{0,40}".prop_map(|text| OwnedFrame::BigNumber {
            data: text.into_bytes(),
            attributes: None
        }),
        text().prop_map(|data| OwnedFrame::VerbatimString {
            data,
            format: types3::VerbatimStringFormat::Text,
            attributes: None
        }),
        Just(OwnedFrame::Null),
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|data| OwnedFrame::Array {
                data,
                attributes: None
            }),
            prop::collection::vec(member(), 0..8).prop_map(|data| OwnedFrame::Set {
                data: data.into_iter().collect(),
                attributes: None
            }),
            prop::collection::vec((member(), inner), 0..8).prop_map(|data| OwnedFrame::Map {
                data: data.into_iter().collect(),
                attributes: None
            }),
        ]
    })
}

/// Where our decoder sees the replies end, when as many GETs were sent.
fn ends(count: usize, replies: &[u8], mut cut: impl FnMut(usize) -> usize) -> Vec<usize> {
    let session: Session = vec![
        (Way::Request, words("GET a").repeat(count)),
        (Way::Reply, replies.to_vec()),
    ];
    decode(&session, &mut cut)
        .into_iter()
        .filter_map(|(way, at, _, event)| match event {
            Event::ReplyEnd { .. } => Some(at),
            Event::Lost(why) => panic!("{why} at {way:?} {at}"),
            _ => None,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn resp2_frames_end_where_the_oracle_says(
        frames in prop::collection::vec(frame2(), 1..8),
        cut in 1..50_usize,
    ) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            let mut room = vec![0; frame.encode_len(false)];
            encode2::encode(&mut room, frame, false).unwrap();
            bytes.extend_from_slice(&room);
        }
        let mut expected = Vec::new();
        let mut at = 0;
        while let Some((_, length)) = decode2::decode_range(&bytes[at..]).unwrap() {
            at += length;
            expected.push(at);
        }
        prop_assert_eq!(expected.len(), frames.len());
        prop_assert_eq!(&ends(frames.len(), &bytes, |length| length), &expected);
        prop_assert_eq!(&ends(frames.len(), &bytes, |_| cut), &expected);
    }

    #[test]
    fn resp3_frames_end_where_the_oracle_says(
        frames in prop::collection::vec(frame3(), 1..8),
        cut in 1..50_usize,
    ) {
        let mut bytes = Vec::new();
        for frame in &frames {
            let mut room = vec![0; frame.encode_len(false)];
            encode3::complete::encode(&mut room, frame, false).unwrap();
            bytes.extend_from_slice(&room);
        }
        let mut expected = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (_, length) = decode3::complete::decode_range(&bytes[at..]).unwrap().unwrap();
            at += length;
            expected.push(at);
        }
        prop_assert_eq!(expected.len(), frames.len());
        prop_assert_eq!(&ends(frames.len(), &bytes, |length| length), &expected);
        prop_assert_eq!(&ends(frames.len(), &bytes, |_| cut), &expected);
    }

    #[test]
    fn commands_end_where_the_oracle_says(
        commands in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..12),
            1..8,
        ),
        cut in 1..50_usize,
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for words in &commands {
            let mut all: Vec<&[u8]> = vec![b"NOSUCH"];
            all.extend(words.iter().map(Vec::as_slice));
            let one = super::command(&all);
            let (_, length) = decode2::decode_range(&one).unwrap().unwrap();
            bytes.extend_from_slice(&one);
            expected.push(expected.last().unwrap_or(&0) + length);
        }
        for cut in [cut, bytes.len()] {
            let seen = decode(&vec![(Way::Request, bytes.clone())], |_| cut);
            let ends: Vec<_> = seen
                .into_iter()
                .filter(|seen| seen.3 == Event::RequestEnd)
                .map(|seen| seen.1)
                .collect();
            prop_assert_eq!(&ends, &expected);
        }
    }
}
