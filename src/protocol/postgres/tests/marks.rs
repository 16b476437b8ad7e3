//! What only some faults look for: where batches end and COPY data begin, and what the server holds back.

use super::*;

fn started() -> Decoder {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    decoder.request(&session().stream(From::Client), &mut out);
    decoder.reply(&session().stream(From::Server), &mut out);
    decoder
}

#[test]
fn ends_of_batches_and_copy_data_are_told_where_asked_for() {
    let batch = [
        parse("", "copy t from stdin"),
        bind("", ""),
        execute(""),
        sync(),
    ]
    .concat();
    let data = [f(b'd', "1\n"), f(b'd', "2\n"), f(b'c', "")].concat();
    let asked = [&batch[..], &data, &sync()].concat();
    let end = batch.len() + data.len() - 5;
    let marks = [
        (batch.len(), Event::BatchEnd),
        (batch.len(), Event::CopyData),
        (end, Event::CopyData),
        (asked.len(), Event::BatchEnd),
    ];
    for (mark, expected) in [(false, &[][..]), (true, &marks)] {
        let mut decoder = started();
        decoder.mark_batches(mark);
        let mut out = Vec::new();
        decoder.request(&asked, &mut out);
        let is_mark = |e: &&Located| matches!(e.event, Event::BatchEnd | Event::CopyData);
        let marked = out.iter().filter(is_mark).map(|e| (e.at, e.event));
        assert_eq!(marked.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn replies_are_held_back_between_two_statements_of_a_batch() {
    let statement = || [parse("", "select 1"), bind("", ""), execute("")].concat();
    for (before, held) in [
        (statement(), true),
        ([statement(), f(b'C', "Sx\0")].concat(), true),
        ([statement(), sync()].concat(), false),
        (query("select 1"), false),
        (Vec::new(), false),
    ] {
        let mut decoder = started();
        let mut out = Vec::new();
        decoder.request(&[before, statement()].concat(), &mut out);
        let newest = out.last().unwrap().exchange;
        assert_eq!(decoder.holds_back_before(newest), held);
    }
}

#[test]
fn a_flush_asks_for_what_precedes_it_and_a_sync_ends_it() {
    let mut decoder = started();
    let mut out = Vec::new();
    let statement = [parse("", "select 1"), bind("", ""), execute("")].concat();
    decoder.request(&statement, &mut out);
    assert!(!decoder.is_flushed(1) && !decoder.owes_ready());
    decoder.request(&[f(b'H', ""), statement].concat(), &mut out);
    assert!(decoder.is_flushed(1) && !decoder.is_flushed(2));
    decoder.request(&sync(), &mut out);
    assert!(decoder.owes_ready());
}
