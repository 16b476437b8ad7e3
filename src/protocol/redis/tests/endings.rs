//! Where the decoder stops following a session, and what it is told by then.

use super::{Way, check, decode_whole, summary};

#[test]
fn what_cannot_be_followed_is_given_up_after_its_bytes() {
    check(
        "> MONITOR
         > GET a
         < -NOPERM no|$1|a|
         > MONITOR
         < +OK|+1700000000.1 [0 127.0.0.1:1] \"GET\"|",
        &[
            "0 MONITOR admin NOPERM 17/12",
            "1 GET read ok 20/7",
            "2 MONITOR admin ok 17/5",
            "lost monitor",
        ],
    );
    check(
        "> SYNC\n< -NOAUTH x|\n> SYNC\n< |$5|",
        &[
            "0 SYNC admin NOAUTH 14/11",
            "1 SYNC admin",
            "lost replication",
        ],
    );
    check(
        "> PSYNC ? -1\n< +FULLRESYNC x|",
        &["0 PSYNC admin", "lost replication"],
    );
    check(
        "> REPLCONF ACK 1\n> GET a",
        &["0 REPLCONF admin", "lost replication"],
    );
    check("> GET a\n< $?|", &["0 GET read", "lost malformed"]);
    check("> GET a\n< *?|", &["0 GET read", "lost malformed"]);
    check(
        "> MULTI\n> SUBSCRIBE a\n< +OK|+QUEUED|",
        &[
            "0 MULTI transaction ok 15/5",
            "1 SUBSCRIBE pubsub ok 26/9",
            "begin",
            "lost unpaired",
        ],
    );
    check(
        "> MULTI\n> CLIENT REPLY OFF",
        &[
            "0 MULTI transaction",
            "1 client|reply admin silent",
            "lost unpaired",
        ],
    );
    check(
        "> CLIENT REPLY OFF\n> SUBSCRIBE a",
        &[
            "0 client|reply admin silent",
            "1 SUBSCRIBE pubsub silent",
            "lost unpaired",
        ],
    );
}

#[test]
fn replies_that_no_request_asked_for_end_it() {
    check(
        "> GET a\n< $1|x|+OK|",
        &["0 GET read ok 20/7", "lost unpaired"],
    );
    check("> MULTI\n< :1|", &["0 MULTI transaction", "lost unpaired"]);
    check(
        "> SUBSCRIBE a\n< $1|x|",
        &["0 SUBSCRIBE pubsub", "lost unpaired"],
    );
    check(
        "> SUBSCRIBE a\n< *3|$9|subscribe|$1|a|:1|*2|$5|hello|$0||",
        &["0 SUBSCRIBE pubsub ok 26/30", "lost unpaired"],
    );
    for nothing in ["*0|", "*-1|", "*1|:1|"] {
        check(
            &format!("> SUBSCRIBE a\n< *3|$9|subscribe|$1|a|:1|\n< {nothing}"),
            &["0 SUBSCRIBE pubsub ok 26/30", "lost unpaired"],
        );
    }
    check(
        "> CLIENT REPLY SKIP\n> HELLO 3",
        &[
            "0 client|reply admin silent",
            "1 HELLO handshake silent",
            "lost unpaired",
        ],
    );
    check(
        "> SUBSCRIBE a\n< *3|$10|psubscribe|$1|a|:1|",
        &["0 SUBSCRIBE pubsub", "lost unpaired"],
    );
}

#[test]
fn a_refusal_at_accept_belongs_to_no_request() {
    check(
        "< -ERR max number of clients reached|\n> GET a",
        &["push 36", "0 GET read"],
    );
}

#[test]
fn another_protocol_is_told_at_once() {
    for (bytes, expected) in [
        (&b"\x16\x03\x01\x02\x00"[..], &["lost wrong_protocol"][..]),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", &["lost wrong_protocol"]),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            &["?", "lost wrong_protocol"],
        ),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &["?", "lost wrong_protocol"],
        ),
    ] {
        let pieces = vec![(Way::Request, bytes.to_vec())];
        assert_eq!(summary(&decode_whole(&pieces)), expected, "{bytes:?}");
    }
    check(
        "> PING\n< HTTP/1.1 400 Bad Request|",
        &["0 PING ping", "lost wrong_protocol"],
    );
    check(
        "> PING\n< +PONG|HTTP",
        &["0 PING ping ok 14/7", "lost malformed"],
    );
}

#[test]
fn http_is_told_by_the_first_line_only() {
    check(">> PING|GET / HTTP/1.1|", &["0 PING ping", "1 GET read"]);
}
