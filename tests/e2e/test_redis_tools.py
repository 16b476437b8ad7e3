"""redis-benchmark and redis-cli."""

import re
import socket
import subprocess

import pytest
from harness.servers import program


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark_is_counted_to_the_last_request(redis_at, redis_counts, pipeline):
    requests = 50_000
    output = run(
        *(program("redis-benchmark"), "-h", redis_at.host, "-p", redis_at.port),
        *("-c", 50, "-n", requests, "-P", pipeline, "-t", "set,get", "-q", "--precision", 3),
    )
    assert len(re.findall(r"requests per second", output)) == 2, output
    redis_counts.expect({"set": requests, "get": requests}, ignore=("config|get",))


def test_redis_cli(redis_at, redis_server):
    script = 'SET k "a b"\nGET k\nHSET h f 1 g 2\nHGETALL h\nLPUSH k x\nMULTI\nINCR n\nEXEC\n'
    outputs = []
    for at in (redis_server, redis_at):
        redis_server.command("FLUSHALL")
        for resp in ("-2", "-3"):
            outputs.append(run(program("redis-cli"), resp, "-h", at.host, "-p", at.port, input=script))
    assert outputs[:2] == outputs[2:]


def test_inline_commands(redis_at, redis_counts):
    """What a person types into telnet, and what many health checks send."""
    with socket.create_connection((redis_at.host, redis_at.port), timeout=10) as s, s.makefile("rb") as replies:
        s.sendall(b"PING\r\n\r\nset k 'a b'\r\n*0\r\nGET k\r\nPING\n")
        assert [replies.readline() for _ in range(2)] == [b"+PONG\r\n", b"+OK\r\n"]
        assert [replies.readline() for _ in range(3)] == [b"$3\r\n", b"a b\r\n", b"+PONG\r\n"]
    # An empty line, and an array of nothing, are requests without a reply.
    redis_counts.expect({"ping": 2, "set": 1, "get": 1, "empty": 2})


def test_a_request_in_single_bytes(redis_at, redis_counts):
    with socket.create_connection((redis_at.host, redis_at.port), timeout=10) as s, s.makefile("rb") as replies:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n":
            s.sendall(bytes([byte]))
        assert [replies.readline() for _ in range(3)] == [b"+OK\r\n", b"$5\r\n", b"value\r\n"]
    redis_counts.expect({"set": 1, "get": 1})
