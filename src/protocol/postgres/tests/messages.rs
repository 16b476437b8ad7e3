//! Messages of our own making: pgwire reads them back, and the decoder takes them for what they are.

use bytes::BytesMut;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage};

use super::super::inject::{error_and_ready, error_response, execute_missing_portal, last_message};
use super::*;

fn typed() -> DecodeContext {
    let mut context = DecodeContext::default();
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    context
}

fn fields(message: PgWireBackendMessage) -> Vec<(u8, String)> {
    match message {
        PgWireBackendMessage::ErrorResponse(error) => error.fields,
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn an_error_has_its_fields() {
    for (is_fatal, severity) in [(false, "ERROR"), (true, "FATAL")] {
        let mut bytes = BytesMut::from(&error_response("40001", "try again", is_fatal)[..]);
        let message = PgWireBackendMessage::decode(&mut bytes, &typed())
            .unwrap()
            .unwrap();
        let fields = fields(message);
        let field = |kind| fields.iter().find(|f| f.0 == kind).unwrap().1.as_str();
        assert_eq!(
            (field(b'S'), field(b'V'), field(b'C')),
            (severity, severity, "40001")
        );
        assert_eq!(field(b'M'), "try again");
        assert!(field(b'D').contains("brownout"));
        assert!(bytes.is_empty());
    }
}

#[test]
fn an_error_answers_a_query() {
    for (sqlstate, fatal) in [("40001", false), ("57P01", true), ("53300", true)] {
        let answer = if fatal {
            error_response(sqlstate, "text", true)
        } else {
            error_and_ready(sqlstate, "text", b'I')
        };
        let tape = session().client(query("select 1")).server(answer);
        assert_eq!(after_handshake(&tape), [format!("SELECT read {sqlstate}")]);
    }
}

#[test]
fn ready_says_the_status() {
    for (status, expected) in [
        (b'I', TransactionStatus::Idle),
        (b'T', TransactionStatus::Transaction),
        (b'E', TransactionStatus::Error),
        (b'?', TransactionStatus::Idle),
    ] {
        let mut bytes = BytesMut::from(&error_and_ready("57014", "", status)[..]);
        let _ = PgWireBackendMessage::decode(&mut bytes, &typed())
            .unwrap()
            .unwrap();
        match PgWireBackendMessage::decode(&mut bytes, &typed())
            .unwrap()
            .unwrap()
        {
            PgWireBackendMessage::ReadyForQuery(ready) => assert_eq!(ready.status, expected),
            other => panic!("not ready: {other:?}"),
        }
    }
}

#[test]
fn a_text_that_cannot_be_sent_is_cut_and_the_frame_stays_whole() {
    for text in ["a\0b".to_owned(), "é".repeat(100_000)] {
        let tape = session()
            .client(query("x"))
            .server(error_and_ready("4\0", &text, b'I'));
        assert_eq!(after_handshake(&tape), ["other admin other"]);
        assert!(error_response("40001", &text, false).len() < 9000);
    }
}

#[test]
fn the_missing_portal_s_execute_is_one() {
    let mut bytes = BytesMut::from(&execute_missing_portal()[..]);
    match PgWireFrontendMessage::decode(&mut bytes, &typed())
        .unwrap()
        .unwrap()
    {
        PgWireFrontendMessage::Execute(execute) => {
            assert_eq!(execute.name.as_deref(), Some("brownout_none"));
        }
        other => panic!("not an Execute: {other:?}"),
    }
    assert!(bytes.is_empty());
}

#[test]
fn the_last_message_of_a_group_is_found() {
    let group = [parse("", "select 1"), bind("", ""), execute("")].concat();
    let at = last_message(&group).unwrap();
    assert_eq!(&group[at..], execute(""));
    assert_eq!(last_message(&execute("")), Some(0));
    assert_eq!(last_message(&[]), None);
    assert_eq!(last_message(&group[..group.len() - 1]), None);
    assert_eq!(last_message(&[b'E', 0, 0, 0, 3]), None);
    assert_eq!(last_message(&[b'E', 0xff, 0xff, 0xff, 0xff]), None);
}
