//! Sessions by hand, one for each rule.

use super::{Way, check, decode_whole, session, summary};
use crate::protocol::Event;

#[test]
fn commands_and_replies_pair_in_order() {
    check(
        "> get a
         > SET a b
         > CONFIG GET x
         > config nosuch
         > NOSUCH
         < $1|x|+OK|*0|-ERR unknown subcommand|-NOVEL what|",
        &[
            "0 GET read ok 20/7",
            "1 SET write ok 27/5",
            "2 config|get admin ok 32/4",
            "3 CONFIG admin ERR 28/25",
            "4 other admin other 16/13",
        ],
    );
}

#[test]
fn nil_nested_and_resp3_replies_are_one_reply_each() {
    check(
        "> GET a
         > GET b
         > GET c
         > GET d
         > GET e
         > GET f
         > GET g
         > GET h
         < $-1|*-1|_|*2|*1|$1|a|*0|%1|+k|~2|:1|,1.5|=7|txt:abc|(123|!7|BUSY no|",
        &[
            "0 GET read ok 20/5",
            "1 GET read ok 20/5",
            "2 GET read ok 20/3",
            "3 GET read ok 20/19",
            "4 GET read ok 20/22",
            "5 GET read ok 20/13",
            "6 GET read ok 20/6",
            "7 GET read BUSY 20/13",
        ],
    );
}

#[test]
fn attributes_belong_to_the_reply_and_are_no_element() {
    let mut pieces = session("> GET a\n> GET b\n> GET c\n< #t|");
    pieces.push((
        Way::Reply,
        b"|1\r\n+ttl\r\n*1\r\n|1\r\n+x\r\n+y\r\n:5\r\n$1\r\nx\r\n*2\r\n|1\r\n+k\r\n*0\r\n+a\r\n+b\r\n"
            .to_vec(),
    ));
    assert_eq!(
        summary(&decode_whole(&pieces)),
        [
            "0 GET read ok 20/4",
            "1 GET read ok 20/37",
            "2 GET read ok 20/24",
        ]
    );
}

#[test]
fn what_is_empty_is_an_exchange_without_a_reply() {
    check(
        ">> |*0|*-5|   |PING|
         < +PONG|",
        &[
            "0 empty ping silent",
            "1 empty ping silent",
            "2 empty ping silent",
            "3 empty ping silent",
            "4 PING ping ok 6/7",
        ],
    );
}

#[test]
fn inline_commands_are_commands() {
    check(
        ">> config 'get' \"max*\"|set a b|xread block 0 streams a 0|subscribe a b|
         < *0|+OK|*-1|*3|$9|subscribe|$1|a|:1|*3|$9|subscribe|$1|b|:2|",
        &[
            "0 config|get admin ok 21/4",
            "1 SET write ok 9/5",
            "2 XREAD blocking ok 27/5",
            "3 SUBSCRIBE pubsub ok 15/60",
        ],
    );
    check(">> GET \"a|", &["?", "lost malformed"]);
}

#[test]
fn blocking_depends_on_the_options_of_stream_reads() {
    check(
        "> XREAD COUNT 1 BLOCK 5 STREAMS s 0
         > XREAD COUNT 1 STREAMS block 0
         > XREADGROUP GROUP block streams NOACK STREAMS s >
         > XREADGROUP GROUP g c block 0 streams s >
         > XREAD
         > BLPOP a 0
         > WAIT 1 0",
        &[
            "0 XREAD blocking",
            "1 XREAD read",
            "2 XREADGROUP write",
            "3 XREADGROUP blocking",
            "4 XREAD read",
            "5 BLPOP blocking",
            "6 WAIT blocking",
        ],
    );
}

#[test]
fn subscriptions_answer_once_a_channel_and_messages_belong_to_none() {
    check(
        "> SUBSCRIBE a b
         < *3|$9|subscribe|$1|a|:1|
         < *3|$9|subscribe|$1|b|:2|
         < *3|$7|message|$1|a|$2|hi|
         > PSUBSCRIBE n*
         > PING
         < *3|$7|message|$1|b|$0||
         < *3|$10|psubscribe|$2|n*|:3|
         < *4|$8|pmessage|$2|n*|$2|na|$2|hi|
         < *2|$4|pong|$0||
         > UNSUBSCRIBE
         > GET x
         > PUNSUBSCRIBE
         > PUNSUBSCRIBE
         > GET x
         < *3|$11|unsubscribe|$1|a|:2|*3|$11|unsubscribe|$1|b|:1|
         < -ERR Can't execute 'get'|
         < *3|$12|punsubscribe|$2|n*|:0|*3|$12|punsubscribe|$-1|:0|
         < *1|$7|message|",
        &[
            "0 SUBSCRIBE pubsub ok 33/60",
            "delivered 7276",
            "push 32",
            "1 PSUBSCRIBE pubsub ok 29/12",
            "2 PING ping ok 14/6",
            "delivered 42c8",
            "push 13",
            "delivered e9e5",
            "push 24",
            "3 UNSUBSCRIBE pubsub ok 22/44",
            "4 GET read ERR 20/26",
            "5 PUNSUBSCRIBE pubsub ok 23/12",
            "6 PUNSUBSCRIBE pubsub ok 23/32",
            "7 GET read ok 20/17",
        ],
    );
}

#[test]
fn resp3_pushes_come_between_any_replies() {
    check(
        "> HELLO 3
         < %1|+proto|:3|
         > SUBSCRIBE a
         > LRANGE l 0 9
         > UNSUBSCRIBE a b
         > SSUBSCRIBE s
         < >2|$10|invalidate|*1|$1|k|
         < >3|$9|subscribe|$1|a|:1|
         < >3|$7|message|$1|a|$1|x|
         < *1|$7|message|
         < >3|$7|message|$1|a|$1|y|
         < >3|$11|unsubscribe|$1|a|:0|
         < >3|$11|unsubscribe|$1|b|:0|
         < >3|$12|sunsubscribe|$1|z|:0|
         < >3|$10|ssubscribe|$1|s|:1|
         < >2|$10|invalidate|_|",
        &[
            "0 HELLO handshake ok 22/16",
            "1 SUBSCRIBE pubsub ok 26/11",
            "2 LRANGE read ok 37/17",
            "3 UNSUBSCRIBE pubsub ok 36/44",
            "4 SSUBSCRIBE pubsub ok 28/11",
            "push 11",
            "delivered f293",
            "push 31",
            "delivered 9cd7",
            "push 14",
            "push 11",
            "push 24",
        ],
    );
}

#[test]
fn a_subscribed_resp3_session_may_ask_anything() {
    check(
        "> HELLO 3
         < %0|
         > SUBSCRIBE a
         < >3|$9|subscribe|$1|a|:1|
         > LRANGE l 0 9
         > PING
         < *3|$7|message|$1|a|$1|x|
         < +PONG|
         > HELLO 2
         < *0|
         < *3|$7|message|$1|a|$1|x|",
        &[
            "0 HELLO handshake ok 22/4",
            "1 SUBSCRIBE pubsub ok 26/11",
            "2 LRANGE read ok 37/31",
            "3 PING ping ok 14/7",
            "4 HELLO handshake ok 22/4",
            "delivered f293",
            "push 31",
        ],
    );
}

#[test]
fn a_message_has_the_hash_of_its_publication() {
    let pieces = session(
        "> SUBSCRIBE news
         < *3|$9|subscribe|$4|news|:1|
         < *3|$7|message|$4|news|$11|hello world|
         < *4|$8|pmessage|$2|n*|$4|news|$11|hello world|
         < *3|$8|smessage|$4|news|$11|hello world|
         < *3|$7|message|$4|news|*1|$1|k|",
    );
    let delivered: Vec<_> = hashes(&pieces);
    let mut publication = session("> SET a b");
    publication.push((
        Way::Request,
        super::command(&[b"publish", b"news", b"hello world"]),
    ));
    publication.push((
        Way::Request,
        super::command(&[b"SPUBLISH", b"news", b"hello world"]),
    ));
    let published = hashes(&publication);
    assert_eq!(published.len(), 2);
    assert_eq!(delivered.len(), 3);
    assert!(
        published
            .iter()
            .chain(&delivered)
            .all(|hash| *hash == published[0])
    );
}

fn hashes(pieces: &super::Session) -> Vec<u64> {
    decode_whole(pieces)
        .into_iter()
        .filter_map(|(_, _, _, event)| match event {
            Event::Published(hash) | Event::Delivered(hash) => Some(hash),
            _ => None,
        })
        .collect()
}

#[test]
fn what_is_queued_is_not_published() {
    check(
        "> PUBLISH a
         > MULTI
         > PUBLISH a b
         > DISCARD
         > PUBLISH a b",
        &[
            "0 PUBLISH pubsub",
            "1 MULTI transaction",
            "2 PUBLISH pubsub",
            "3 DISCARD transaction",
            "4 PUBLISH pubsub",
            "published 0b9a",
        ],
    );
}

#[test]
fn transactions_are_told_by_their_replies() {
    check(
        "> MULTI
         > SET a b
         > MULTI
         > LPUSH a b
         > EXEC
         < +OK|+QUEUED|-ERR MULTI calls can not be nested|+QUEUED|*2|+OK|-WRONGTYPE no|
         > WATCH a
         > MULTI
         > EXEC
         < +OK|+OK|*-1|
         > MULTI
         > NOSUCH
         > EXEC
         < +OK|-ERR unknown|-EXECABORT Transaction discarded|
         > MULTI
         > DISCARD
         < +OK|+OK|
         > MULTI
         > RESET
         < +OK|+RESET|
         > EXEC
         < -ERR EXEC without MULTI|",
        &[
            "0 MULTI transaction ok 15/5",
            "1 SET write ok 27/9",
            "2 MULTI transaction ERR 15/36",
            "3 LPUSH write ok 29/9",
            "4 EXEC transaction errors=1 ok 14/24",
            "begin",
            "commit",
            "5 WATCH transaction ok 22/5",
            "6 MULTI transaction ok 15/5",
            "7 EXEC transaction ok 14/5",
            "begin",
            "rollback",
            "8 MULTI transaction ok 15/5",
            "9 other admin ERR 16/14",
            "10 EXEC transaction EXECABORT 14/34",
            "begin",
            "failed",
            "rollback",
            "11 MULTI transaction ok 15/5",
            "12 DISCARD transaction ok 17/5",
            "begin",
            "rollback",
            "13 MULTI transaction ok 15/5",
            "14 RESET handshake ok 15/8",
            "begin",
            "rollback",
            "15 EXEC transaction ERR 14/25",
        ],
    );
}

#[test]
fn only_the_errors_of_commands_count_inside_exec() {
    check(
        "> EXEC
         > GET a
         < *4|*2|-ERR deep|*1|-ERR deeper|-ERR a|!5|ERR b|*0|+OK|",
        &["0 EXEC transaction errors=2 ok 14/59", "1 GET read ok 20/5"],
    );
}

#[test]
fn pushes_may_stand_inside_exec() {
    check(
        "> HELLO 3
         < %0|
         > MULTI
         > EXEC
         > GET a
         < +OK|*2|>3|$7|message|$1|a|$1|x|:1|-ERR no|+OK|",
        &[
            "0 HELLO handshake ok 22/4",
            "1 MULTI transaction ok 15/5",
            "2 EXEC transaction errors=1 ok 14/48",
            "3 GET read ok 20/5",
            "begin",
            "delivered f293",
            "push 31",
            "commit",
        ],
    );
}

#[test]
fn client_reply_keeps_replies_back() {
    check(
        "> CLIENT REPLY OFF
         > GET a
         > CLIENT REPLY SKIP
         > CLIENT REPLY BAD
         > client reply on
         > CLIENT REPLY SKIP
         >> |
         > GET b
         > CLIENT REPLY skip
         > CLIENT REPLY SKIP
         > GET c
         > GET d
         > CLIENT REPLY SKIP
         > RESET
         > GET e
         > CLIENT REPLY OFF
         > RESET
         > CLIENT REPLY off now
         > CLIENT REPLY
         < +OK|$1|b|$1|d|$1|e|+RESET|-ERR args|-ERR args|",
        &[
            "0 client|reply admin silent",
            "1 GET read silent",
            "2 client|reply admin silent",
            "3 client|reply admin silent",
            "4 client|reply admin ok 35/5",
            "5 client|reply admin silent",
            "6 empty ping silent",
            "7 GET read ok 20/7",
            "8 client|reply admin silent",
            "9 client|reply admin silent",
            "10 GET read silent",
            "11 GET read ok 20/7",
            "12 client|reply admin silent",
            "13 RESET handshake silent",
            "14 GET read ok 20/7",
            "15 client|reply admin silent",
            "16 RESET handshake ok 15/8",
            "17 client|reply admin ERR 45/11",
            "18 client|reply admin ERR 27/11",
        ],
    );
}

#[test]
fn a_silent_reset_takes_effect_in_its_place() {
    check(
        "> HELLO 3
         < %0|
         > SUBSCRIBE a
         < >3|$9|subscribe|$1|a|:1|
         > HELLO 2
         < *0|
         > HELLO 3
         > CLIENT REPLY SKIP
         > RESET
         > LRANGE l 0 9
         < %0|*1|$7|message|",
        &[
            "0 HELLO handshake ok 22/4",
            "1 SUBSCRIBE pubsub ok 26/11",
            "2 HELLO handshake ok 22/4",
            "3 HELLO handshake ok 22/4",
            "4 client|reply admin silent",
            "5 RESET handshake silent",
            "6 LRANGE read ok 37/17",
        ],
    );
    let mut pieces = session("> CLIENT REPLY SKIP\n> RESET\n> GET a");
    pieces.push((Way::Reply, b"|0\r\n+a\r\n".to_vec()));
    assert_eq!(summary(&decode_whole(&pieces))[2], "2 GET read ok 20/8");
}

#[test]
fn only_both_bytes_end_a_line() {
    let text = "a status that is longer than the fast way looks";
    for line in [
        "+a\nb".to_owned(),
        "+a\rb\r".to_owned(),
        format!("+{text}\n{text}"),
        format!("-ERR {text}\r{text}"),
    ] {
        let mut pieces = session("> GET a\n> GET b");
        pieces.push((Way::Reply, format!("{line}\r\n:1\r\n").into_bytes()));
        let lines = summary(&decode_whole(&pieces));
        assert!(
            lines[0].ends_with(&format!("/{}", line.len() + 2)),
            "{lines:?}"
        );
        assert_eq!(lines[1], "1 GET read ok 20/4");
    }
}

#[test]
fn the_decoder_is_small() {
    assert!(size_of::<crate::protocol::redis::Decoder>() <= 200);
}
