//! What the Redis decoder costs: a request and its reply, in one piece and in small ones.

use std::hint::black_box;

use brownout::protocol::Located;
use brownout::protocol::redis::Decoder;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn bulk(length: usize) -> Vec<u8> {
    let mut bytes = format!("${length}\r\n").into_bytes();
    bytes.resize(bytes.len() + length, b'x');
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// One exchange, `depth` of them in a piece.
fn exchange(criterion: &mut Criterion, name: &str, (request, reply): (&[u8], &[u8]), depth: usize) {
    let requests = request.repeat(depth);
    let replies = reply.repeat(depth);
    let mut group = criterion.benchmark_group("exchange");
    group.throughput(Throughput::Elements(depth as u64));
    group.bench_function(BenchmarkId::new(name, depth), |bencher| {
        let mut decoder = Decoder::new();
        let mut out: Vec<Located> = Vec::with_capacity(8 * depth);
        bencher.iter(|| {
            decoder.request(black_box(&requests), &mut out);
            decoder.reply(black_box(&replies), &mut out);
            black_box(&out);
            out.clear();
        });
    });
    group.finish();
}

/// The same in pieces of 7 bytes: the slow way.
fn pieces(criterion: &mut Criterion, name: &str, request: &[u8], reply: &[u8]) {
    let mut group = criterion.benchmark_group("pieces");
    group.throughput(Throughput::Bytes((request.len() + reply.len()) as u64));
    group.bench_function(name, |bencher| {
        let mut decoder = Decoder::new();
        let mut out: Vec<Located> = Vec::with_capacity(64);
        bencher.iter(|| {
            for piece in black_box(request).chunks(7) {
                decoder.request(piece, &mut out);
            }
            for piece in black_box(reply).chunks(7) {
                decoder.reply(piece, &mut out);
            }
            black_box(&out);
            out.clear();
        });
    });
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let get = command(&[b"GET", b"key:000000000042"]);
    let set = command(&[b"SET", b"key:000000000042", b"xxx"]);
    let status = b"+OK\r\n";
    for depth in [1, 16] {
        exchange(criterion, "GET", (&get, &bulk(3)), depth);
        exchange(criterion, "SET", (&set, status), depth);
    }
    exchange(criterion, "PING", (&command(&[b"PING"]), b"+PONG\r\n"), 1);
    exchange(
        criterion,
        "CLIENT ID",
        (&command(&[b"CLIENT", b"ID"]), b":42\r\n"),
        1,
    );
    exchange(
        criterion,
        "error",
        (&get, b"-WRONGTYPE Operation against a key\r\n"),
        1,
    );
    let mut list = b"*100\r\n".to_vec();
    list.extend_from_slice(&bulk(10).repeat(100));
    exchange(
        criterion,
        "LRANGE of 100",
        (&command(&[b"LRANGE", b"list", b"0", b"99"]), &list),
        1,
    );
    let kilobyte = vec![b'x'; 1024];
    exchange(
        criterion,
        "PUBLISH of 1 KiB",
        (&command(&[b"PUBLISH", b"news", &kilobyte]), b":1\r\n"),
        1,
    );
    exchange(criterion, "GET of 64 KiB", (&get, &bulk(64 * 1024)), 1);
    pieces(criterion, "SET", &set, status);
}

/// The halves apart: the targets are 25 ns a request and 10 ns a reply.
fn halves(criterion: &mut Criterion) {
    const DEPTH: usize = 1024;
    let get = command(&[b"GET", b"key:000000000042"]).repeat(DEPTH);
    let replies = b"+OK\r\n".repeat(DEPTH);
    let mut group = criterion.benchmark_group("half");
    group.throughput(Throughput::Elements(DEPTH as u64));
    group.bench_function("requests", |bencher| {
        let mut out: Vec<Located> = Vec::with_capacity(4 * DEPTH);
        bencher.iter_batched_ref(
            Decoder::new,
            |decoder| {
                decoder.request(black_box(&get), &mut out);
                black_box(&out);
                out.clear();
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.bench_function("replies", |bencher| {
        let mut out: Vec<Located> = Vec::with_capacity(4 * DEPTH);
        bencher.iter_batched_ref(
            || {
                let mut decoder = Decoder::new();
                decoder.request(&get, &mut Vec::new());
                decoder
            },
            |decoder| {
                decoder.reply(black_box(&replies), &mut out);
                black_box(&out);
                out.clear();
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, all, halves);
criterion_main!(benches);
