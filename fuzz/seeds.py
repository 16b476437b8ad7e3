#!/usr/bin/env python3
"""First inputs of the fuzz targets: recorded sessions, shipped profiles, and shapes that broke other decoders.

    fuzz/seeds.py FOLDER    writes FOLDER/redis, FOLDER/postgres, ...
"""

import json
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
PIECE = 2048


def tape(records, seed=7):
    """A session as `src/fuzzing/tape.rs` reads it."""
    out = bytearray([seed])
    for way, data in records:
        for at in range(0, len(data), PIECE):
            part = data[at : at + PIECE]
            out += way + struct.pack("<H", len(part)) + part
    return bytes(out)


def redis():
    for path in sorted((FIXTURES / "redis").glob("*.capture")):
        data, at, records = path.read_bytes(), 0, []
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at + 1)
            records.append((data[at : at + 1], data[at + 5 : at + 5 + length]))
            at += 5 + length
        yield tape(records)
    hostile = [
        b"*2000000000\r\n",
        b"*-1\r\n$-1\r\n",
        b"*1\r\n$9223372036854775807\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b'"\\xff\\x0a" GET\r\n',
        b"set k \"a\\x0\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ]
    get = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
    for request in hostile:
        yield tape([(b">", request), (b"<", b"+OK\r\n")])
    for reply in [b"*1\r\n" * 400, b"*2000000000\r\n", b"$9223372036854775807\r\n", b"$-2\r\n", b"%-1\r\n", b"$?\r\n;4\r\n"]:
        yield tape([(b">", get * 3), (b"<", reply)])


def postgres():
    for path in sorted((FIXTURES / "postgres").glob("*.bin")):
        data, at, connections = path.read_bytes(), 0, {}
        while at < len(data):
            mark = data[at]
            (length,) = struct.unpack_from(">I", data, at + 1)
            way = b"<" if mark & 0x80 else b">"
            connections.setdefault(mark & 0x7F, []).append((way, data[at + 5 : at + 5 + length]))
            at += 5 + length
        for records in connections.values():
            yield tape(records)
    startup = struct.pack(">II", 23, 196608) + b"user\0test\0\0" + b"\0\0\0\0"
    ready = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
    for message in [
        b"Q\0\0\0\0",
        b"Q\0\0\0\x03",
        b"Q\x7f\xff\xff\xff",
        b"Q\x80\0\0\0",
        b"Q\0\0\0\x0eSELECT 1\0",
        b"P\0\0\0\x08\0\0\xff\xff",
    ]:
        yield tape([(b">", startup), (b"<", ready), (b">", message), (b"<", b"E\0\0\0\x05\0")])
    for opening in [b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30", b"\x7f\xff\xff\xff", b"\0\0\0\x03", b"GET / HTTP/1.1\r\n\r\n"]:
        yield tape([(b">", opening), (b"<", b"N"), (b">", startup), (b"<", ready)])


def http1():
    for path in sorted((FIXTURES / "http1").glob("*.jsonl")):
        records = []
        for line in path.read_text().splitlines():
            ((side, data),) = json.loads(line).items()
            if data is not None:
                records.append((b">" if side == "client" else b"<", data.encode("latin-1")))
        yield tape(records)
    post = b"POST / HTTP/1.1\r\nHost: a\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    for rest in [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: 18446744073709551616\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    ]:
        yield tape([(b">", post + rest), (b"<", b"HTTP/1.1 100 Continue\r\n\r\n" + ok)])


def sql():
    statements = [
        b"select * from only \"S\".\"a\"\"b\" as t, lateral x.y where a = 'it''s' and b = E'it\\'s' and c = 1.5e-3",
        b"with recursive a (n) as (select $$a$$ union all select $q$ $$ $q$) select * from a join b using (id)",
        b"/* a /* b */ c */ insert into t (a) values (-1), (+.5), (0x1F) -- d\n on conflict do nothing; select 2",
        b"update t set a = b'101', c = X'1F', d = U&'d\\0061' uescape '!' where e::text like 'x%'",
        b"copy (select a from t) to stdout with (format csv, delimiter '|')",
        b"merge into t using s on t.a = s.a when matched then delete",
        b"do $do$ begin perform $1; end $do$",
        b"select 'a'\n  'b', \"\xc3\xa9\", a$b$, $1, \xff",
        b"delete from a.b.c where d in (1, 2, 3) returning *",
        b"select '",
        b"select \"",
        b"select $a$ $b$",
    ]
    for number, statement in enumerate(statements):
        yield bytes([number]) + statement


def config():
    for path in sorted(ROOT.glob("profiles/**/*.toml")):
        yield path.read_bytes()
    yield (ROOT / "brownout.example.toml").read_bytes()
    yield b'[[fault]]\naction = "latency"\ndelay = { distribution = "normal", mean = "1ms", stddev = "-1ms" }\n'
    yield b'[[fault]]\naction = "error"\npreset = "40001"\nprobability = 1.5\nmatch = { sql = "(" }\n'
    yield b'[[proxy]]\nname = "r"\nprotocol = "redis"\nlisten = "[::1]:99999"\nupstream = "a:1"\n'
    yield b"\xef\xbb\xbf[admin]\nlisten = 1\n"


def admin():
    def ask(method, path, body=b"", *more):
        lines = [b"%s %s HTTP/1.1" % (method, path), b"Host: 127.0.0.1:8474", *more]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    for fault in [
        b'{"action":"latency","delay":"5ms","proxy":"redis"}',
        b'{"action":"latency","delay":{"distribution":"lognormal","p50":"5ms","p99":"40ms"},"on":"reply","ttl":"1h"}',
        b'{"action":"error","preset":"OOM","proxy":"redis","probability":0.5,"match":{"key":"a*"}}',
        b'{"action":"error","code":"40001","proxy":"postgres","match":{"operation":"COMMIT"},"every":3}',
        b'{"action":"error","status":503,"headers":{"Retry-After":"1"},"body":"x","proxy":"http"}',
        b'{"action":"disconnect","how":"rst","when":"inside","share":0.5}',
        b'{"action":"refuse","how":"closed"}',
        b'{"action":"throttle","rate":1000,"proxy":"tcp"}',
        b'{"action":"capacity","in_service":1,"queue":2,"service":"1ms","proxy":"http"}',
        b'{"action":"stall","schedule":{"start":"1s","duration":"2s","repeat":"5s","ramp":"1s"}}',
        b'{"action":"lose_reply","then":"disconnect","proxy":"postgres"}',
    ]:
        yield ask(b"POST", b"/v1/faults", fault)
    yield ask(b"GET", b"/v1/stats?window=10s")
    yield ask(b"GET", b"/metrics")
    yield ask(b"GET", b"/v1/profiles")
    yield ask(b"POST", b"/v1/profiles/a%2Fb/enable", b'{"ttl":"5m","seed":1}')
    yield ask(b"POST", b"/v1/halt")
    yield ask(b"OPTIONS", b"/v1/faults", b"", b"Origin: http://evil.example")
    yield ask(b"GET", b"/v1/events")
    yield ask(b"GET", b"/proxies")
    yield ask(b"POST", b"/proxies/redis/toxics", b'{"type":"latency","attributes":{"latency":100,"jitter":10}}')
    yield ask(
        b"POST",
        b"/proxies/redis/toxics",
        b'{"type":"latency","stream":"upstream","toxicity":0.5,"attributes":{"latency":18446744073709551615,"jitter":1}}',
    )
    yield ask(b"DELETE", b"/proxies/redis/toxics/latency_downstream")


def injector():
    """A protocol, a cut, and steps: see `src/fuzzing/injector.rs`. Sessions as above, with faults between their records."""
    for protocol, name in enumerate([redis, postgres, http1]):
        for number, session in enumerate(name()):
            steps, at, count = bytearray([protocol, number % 256]), 1, 0
            while at + 3 <= len(session) and len(steps) < 3000:
                way = session[at] & 2
                (length,) = struct.unpack_from("<H", session, at + 1)
                if count % 3 == 0:
                    steps += bytes([4, (number + count) % 256])
                if count % 4 == 3:
                    steps += bytes([6, number % 8])
                steps += bytes([0 if way else 1]) + struct.pack("<H", length) + session[at + 3 : at + 3 + length]
                at += 3 + length
                count += 1
            yield bytes(steps)


def main():
    for target in [redis, postgres, http1, sql, config, admin, injector]:
        folder = Path(sys.argv[1]) / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target()):
            (folder / f"seed-{number:03}").write_bytes(seed)


if __name__ == "__main__":
    main()
