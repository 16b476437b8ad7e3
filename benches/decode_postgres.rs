//! What the Postgres decoder costs per exchange, and per row of a reply.

use std::hint::black_box;

use brownout::protocol::postgres::Decoder;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short body");
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// A decoder past its handshake.
fn session() -> Decoder {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    let parameters = b"\0\x03\0\0user\0app\0\0";
    let length = u32::try_from(parameters.len() + 4).expect("a short body");
    decoder.request(&[&length.to_be_bytes()[..], parameters].concat(), &mut out);
    let hello = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    decoder.reply(&hello, &mut out);
    decoder
}

/// Shows a request and its reply again and again.
fn exchange(c: &mut Criterion, name: &str, decoder: &mut Decoder, request: &[u8], reply: &[u8]) {
    let mut group = c.benchmark_group("decode_postgres");
    group.throughput(Throughput::Bytes((request.len() + reply.len()) as u64));
    let mut out = Vec::with_capacity(64);
    group.bench_function(name, |b| {
        b.iter(|| {
            out.clear();
            decoder.request(black_box(request), &mut out);
            decoder.reply(black_box(reply), &mut out);
            black_box(&out);
        });
    });
    group.finish();
}

fn decode(c: &mut Criterion) {
    let row = message(b'D', b"\0\x01\0\0\0\x0842424242");
    let columns = message(
        b'T',
        b"\0\x01abalance\0\0\0\x40\x0c\0\x03\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
    );
    let complete = message(b'C', b"SELECT 1\0");
    let ready = message(b'Z', b"I");
    let select = b"SELECT abalance FROM pgbench_accounts WHERE aid = 42;\0";

    let request = message(b'Q', select);
    let reply = [&columns[..], &row, &complete, &ready].concat();
    exchange(c, "simple_select", &mut session(), &request, &reply);

    let text = b"WITH a AS (SELECT id FROM t WHERE name = 'x' ORDER BY id LIMIT 10) SELECT * FROM a JOIN u USING (id)\0";
    exchange(
        c,
        "simple_with",
        &mut session(),
        &message(b'Q', text),
        &reply,
    );

    let mut decoder = session();
    let mut out = Vec::new();
    let prepare = message(b'P', &[b"P_0\0", &select[..], b"\0\0"].concat());
    decoder.request(&[&prepare[..], &message(b'S', b"")].concat(), &mut out);
    decoder.reply(&[&message(b'1', b"")[..], &ready].concat(), &mut out);
    let request = [
        message(b'B', b"\0P_0\0\0\0\0\x01\0\0\0\x0242\0\0"),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ]
    .concat();
    let bound = [&message(b'2', b"")[..], &columns].concat();
    let reply = [&bound[..], &row, &complete, &ready].concat();
    exchange(c, "prepared_select", &mut decoder, &request, &reply);

    let reply = [&bound[..], &row.repeat(1000), &complete, &ready].concat();
    exchange(
        c,
        "prepared_select_1000_rows",
        &mut decoder,
        &request,
        &reply,
    );

    let reply = [
        &bound[..],
        &message(b'D', &vec![7; 1 << 20]),
        &complete,
        &ready,
    ]
    .concat();
    exchange(
        c,
        "prepared_select_1_mib_row",
        &mut decoder,
        &request,
        &reply,
    );
}

criterion_group!(benches, decode);
criterion_main!(benches);
