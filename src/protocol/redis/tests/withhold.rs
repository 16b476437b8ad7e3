//! Requests that were shown, but that the server never gets.

use super::words;
use crate::protocol::redis::Decoder;
use crate::protocol::{Event, Located, Lost};

/// A decoder that was shown requests, and what it says of replies.
struct Shown(Decoder, Vec<Located>);

impl Shown {
    fn new(lines: &[&str]) -> Self {
        let mut shown = Self(Decoder::new(), Vec::new());
        shown.requests(lines);
        shown
    }

    fn requests(&mut self, lines: &[&str]) {
        for line in lines {
            self.0.request(&words(line), &mut self.1);
        }
    }

    /// Exchanges that these replies end, and why it gave up, if it did.
    fn replies(&mut self, bytes: &[u8]) -> (Vec<u64>, Option<Lost>) {
        self.1.clear();
        self.0.reply(bytes, &mut self.1);
        let ended = |located: Located| match located.event {
            Event::ReplyEnd { .. } => Some(located.exchange),
            _ => None,
        };
        let lost = self.1.iter().find_map(|located| match located.event {
            Event::Lost(why) => Some(why),
            _ => None,
        });
        let parts = self.1.iter().copied().flat_map(Located::parts);
        (parts.filter_map(ended).collect(), lost)
    }
}

#[test]
fn any_request_of_a_pipeline_can_be_withheld() {
    let mut shown = Shown::new(&["GET a", "SET a b", "GET c", "EVAL x 0"]);
    shown.0.withhold(1);
    shown.0.withhold(3);
    assert_eq!(shown.replies(b"$-1\r\n$-1\r\n"), (vec![0, 2], None));
    shown.requests(&["PING"]);
    assert_eq!(shown.replies(b"+PONG\r\n"), (vec![4], None));
}

#[test]
fn whether_a_request_is_answered_is_known_before_its_end() {
    let mut shown = Shown::new(&["GET a"]);
    let asked = [
        ("SET key value", true),
        ("CLIENT REPLY OFF", false),
        ("SET key value", false),
    ];
    for (exchange, (text, answered)) in (1..).zip(asked) {
        let request = words(text);
        let (head, tail) = request.split_at(request.len() - 1);
        shown.0.request(head, &mut shown.1);
        assert_eq!(
            shown.0.answers(exchange),
            answered,
            "{text}, its end missing"
        );
        shown.0.request(tail, &mut shown.1);
        assert_eq!(shown.0.answers(exchange), answered, "{text}");
    }
}

#[test]
fn a_request_can_be_withheld_before_its_end() {
    let mut shown = Shown::new(&["GET a"]);
    let request = words("SET key value");
    let (head, tail) = request.split_at(20);
    shown.0.request(head, &mut shown.1);
    shown.0.withhold(1);
    shown.0.request(tail, &mut shown.1);
    shown.requests(&["GET b"]);
    assert_eq!(shown.replies(b"$-1\r\n$-1\r\n"), (vec![0, 2], None));
}

#[test]
fn what_a_withheld_request_would_have_changed_is_undone() {
    for line in ["CLIENT REPLY OFF", "CLIENT REPLY SKIP"] {
        let mut shown = Shown::new(&[line]);
        shown.0.withhold(0);
        shown.requests(&["GET a", "GET b"]);
        assert_eq!(shown.replies(b"$-1\r\n$-1\r\n"), (vec![1, 2], None));
    }
    // The next request that the server gets is the one it skips.
    let mut shown = Shown::new(&["CLIENT REPLY SKIP", "GET a"]);
    shown.0.withhold(1);
    shown.requests(&["GET b", "GET c"]);
    assert_eq!(shown.replies(b"$-1\r\n"), (vec![3], None));

    let mut shown = Shown::new(&["CLIENT REPLY OFF", "CLIENT REPLY ON"]);
    shown.0.withhold(1);
    shown.requests(&["GET b", "CLIENT REPLY ON"]);
    assert_eq!(shown.replies(b"+OK\r\n"), (vec![3], None));

    let mut shown = Shown::new(&["MULTI"]);
    shown.0.withhold(0);
    shown.1.clear();
    shown.requests(&["PUBLISH a b"]);
    let published = |located: &Located| matches!(located.event, Event::Published(_));
    assert!(shown.1.iter().any(published));
}

#[test]
fn what_would_have_changed_nothing_is_withheld_without_harm() {
    for line in ["RESET", "CLIENT REPLY ON"] {
        let mut shown = Shown::new(&["GET a", line, "GET b"]);
        assert!(shown.0.can_withhold(1), "{line}");
        shown.0.withhold(1);
        assert_eq!(
            shown.replies(b"$-1\r\n$-1\r\n"),
            (vec![0, 2], None),
            "{line}"
        );
    }
}

#[test]
fn what_cannot_be_undone_ends_it() {
    for lines in [
        ["CLIENT REPLY OFF", "GET a", "GET b"],
        ["CLIENT REPLY SKIP", "GET a", "GET b"],
        ["CLIENT REPLY ON", "CLIENT REPLY OFF", "GET a"],
    ] {
        let mut shown = Shown::new(&lines);
        assert!(!shown.0.can_withhold(0), "{lines:?}");
        shown.0.withhold(0);
        assert_eq!(
            shown.replies(b"$-1\r\n"),
            (vec![], Some(Lost::Unpaired)),
            "{lines:?}"
        );
        assert_eq!(shown.replies(b"$-1\r\n"), (vec![], None));
    }
}

#[test]
fn a_transaction_is_withheld_without_harm_to_the_others() {
    let mut shown = Shown::new(&["MULTI", "SET a b", "EXEC", "GET a"]);
    shown.0.withhold(0);
    let (ended, lost) = shown.replies(b"+OK\r\n-ERR EXEC without MULTI\r\n$1\r\nb\r\n");
    assert_eq!((ended, lost), (vec![1, 2, 3], None));
}

#[test]
fn a_discard_in_the_place_of_exec_rolls_back() {
    let mut shown = Shown::new(&["MULTI", "SET a b", "EXEC"]);
    shown.replies(b"+OK\r\n+QUEUED\r\n+OK\r\n");
    let change = |located: &Located| match located.event {
        Event::Transaction(change) => Some(change),
        _ => None,
    };
    let changes: Vec<_> = shown.1.iter().filter_map(change).collect();
    assert_eq!(
        changes,
        [
            crate::protocol::Transaction::Begin,
            crate::protocol::Transaction::Rollback
        ]
    );
}
