//! Cost of decoding HTTP/1: each figure is one exchange, request and reply, or one direction of it.

use std::hint::black_box;

use brownout::protocol::{Catalog, Decoder, Located, Protocol};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const WRK: &[u8] = b"GET /small HTTP/1.1\r\nHost: 127.0.0.1:38085\r\n\r\n";
const CURL: &[u8] = b"GET /items/17?full=1 HTTP/1.1\r\nHost: 127.0.0.1:38085\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
const POST: &[u8] = b"POST /items HTTP/1.1\r\nHost: api:8000\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n\
    Connection: keep-alive\r\nUser-Agent: python-httpx/0.28\r\nContent-Length: 20\r\nContent-Type: application/json\r\n\r\n\
    {\"name\": \"a\", \"n\": 1}";
const NGINX: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\nsmall\n";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: uvicorn\r\n\
    Transfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n7\r\nsecond \r\n1\r\n0\r\n0\r\n\r\n";

/// A session of an HTTP proxy with two routes.
fn decoder() -> Decoder {
    let routes = ["/items/{id}".to_owned(), "/items".to_owned()];
    Decoder::new(&Catalog::new(Protocol::Http, &routes))
}

fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http1/exchange");
    for (name, request, reply) in [
        ("wrk_nginx", WRK, NGINX),
        ("curl_nginx", CURL, NGINX),
        ("httpx_chunked", POST, CHUNKED),
    ] {
        let (mut decoder, mut events) = (decoder(), Vec::with_capacity(16));
        group.throughput(Throughput::Bytes((request.len() + reply.len()) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                events.clear();
                decoder.request(black_box(request), &mut events);
                decoder.reply(black_box(reply), &mut events);
                assert_eq!(events.len(), 5);
            });
        });
    }
    group.finish();
}

/// One direction alone, a thousand in a row: the other direction is caught up outside of the measurement.
fn directions(criterion: &mut Criterion) {
    const ROW: u64 = 1000;
    let mut group = criterion.benchmark_group("http1/thousand");
    group.throughput(Throughput::Elements(ROW));
    for (name, request) in [("request_wrk", WRK), ("request_curl", CURL)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || (decoder(), Vec::with_capacity(16)),
                |(decoder, events)| {
                    for _ in 0..ROW {
                        events.clear();
                        decoder.request(black_box(request), events);
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.bench_function("reply_nginx", |bencher| {
        let waiting = || {
            let (mut decoder, mut events): (_, Vec<Located>) = (decoder(), Vec::with_capacity(16));
            for _ in 0..ROW {
                decoder.request(WRK, &mut events);
                events.clear();
            }
            (decoder, events)
        };
        bencher.iter_batched_ref(
            waiting,
            |(decoder, events)| {
                for _ in 0..ROW {
                    events.clear();
                    decoder.reply(black_box(NGINX), events);
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Bodies that are counted past.
fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http1/body");
    let piece = vec![b'x'; 65536];
    let mut chunks = Vec::new();
    for _ in 0..16 {
        chunks.extend_from_slice(b"1000\r\n");
        chunks.extend_from_slice(&piece[..4096]);
        chunks.extend_from_slice(b"\r\n");
    }
    for (name, header, bytes) in [
        ("fixed", "Content-Length: 18446744073709551615", &piece),
        ("chunks_of_4096", "Transfer-Encoding: chunked", &chunks),
    ] {
        let (mut decoder, mut events) = (decoder(), Vec::new());
        decoder.request(
            format!("POST / HTTP/1.1\r\n{header}\r\n\r\n").as_bytes(),
            &mut events,
        );
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| decoder.request(black_box(bytes), &mut events));
        });
        assert_eq!(events.len(), 2, "still in the body");
    }
    group.finish();
}

/// Paths that are not in the session's cache: every one must be looked up.
fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http1/route");
    for (name, prefix) in [("configured", "/items"), ("learned", "/v1/orders")] {
        let requests: Vec<_> = (0..1024)
            .map(|n| format!("GET {prefix}/{n} HTTP/1.1\r\n\r\n").into_bytes())
            .collect();
        let mut requests = requests.iter().cycle();
        let (mut decoder, mut events) = (decoder(), Vec::with_capacity(16));
        let reply = b"HTTP/1.1 204\r\n\r\n";
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                events.clear();
                decoder.request(requests.next().map_or(b"", Vec::as_slice), &mut events);
                decoder.reply(reply, &mut events);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, exchanges, directions, bodies, routes);
criterion_main!(benches);
