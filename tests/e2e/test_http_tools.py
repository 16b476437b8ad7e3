"""curl and wrk, Python's own client, and raw requests: keep-alive, bodies of every framing, interim replies."""

import http.client
import re
import socket
import subprocess

import pytest
from harness.proxy import DIRECT, eventually
from harness.servers import program
from harness.web import pattern


@pytest.fixture
def both(web_at, web_server):
    """Runs curl with the same arguments on the server and through the proxy: same exit code, headers and body."""

    def run(*arguments, paths=("/hello",), stdin=None):
        outcomes = []
        for at in (web_server, web_at):
            urls = [f"http://{at.address}{path}" for path in paths]
            command = [program("curl"), "-sS", "-i", "--max-time", "60", *arguments, *urls]
            done = subprocess.run(command, input=stdin, capture_output=True, timeout=90)
            outcomes.append((done.returncode, done.stdout, re.sub(rb"\d{4,5}", b"PORT", done.stderr)))
        assert outcomes[0] == outcomes[1]
        return outcomes[1]

    return run


CASES = {
    "keep-alive": dict(paths=["/hello"] * 10),
    "head": dict(arguments=["-I"], paths=["/bytes/100000", "/hello", "/chunked/3"]),
    "http-1.0": dict(arguments=["--http1.0"], paths=["/hello", "/bytes/5000"]),
    "no-content": dict(paths=["/status/204", "/hello", "/status/304", "/hello"]),
    "not-found": dict(paths=["/nowhere", "/status/500", "/hello"]),
    "chunked-reply": dict(paths=["/chunked/100", "/hello"]),
    "large-reply": dict(paths=[f"/bytes/{32 << 20}"]),
    "until-close": dict(paths=["/until-close/100000", "/hello"]),
    "interim-reply": dict(paths=["/hints", "/hello"]),
    "delete": dict(arguments=["-X", "DELETE"], paths=["/items/1"]),
    "upload": dict(arguments=["--data-binary", "@-"], paths=["/echo"], stdin=pattern(1 << 20)),
    "chunked-upload": dict(
        arguments=["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"], paths=["/echo"], stdin=pattern(1 << 20)
    ),
    "expect-100-continue": dict(
        arguments=["-H", "Expect: 100-continue", "--data-binary", "@-"], paths=["/echo", "/echo"], stdin=pattern(100_000)
    ),
    "chunked-both-ways": dict(
        arguments=["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"], paths=["/echo-chunked"], stdin=pattern(300_000)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_curl(both, case):
    code, out, err = both(*case.get("arguments", ()), paths=case["paths"], stdin=case.get("stdin"))
    assert code == 0, err
    assert out.count(b"HTTP/1.") >= len(case["paths"])


def test_curl_is_counted_once_a_request(web_at, web_counts):
    urls = [f"http://{web_at.address}{path}" for path in ("/hello", "/hello", "/items/17", "/items/4711", "/status/503")]
    subprocess.run([program("curl"), "-sS", *urls], check=True, capture_output=True)
    subprocess.run([program("curl"), "-sSI", *urls[:1]], check=True, capture_output=True)
    subprocess.run([program("curl"), "-sS", "-d", "x", f"http://{web_at.address}/echo"], check=True, capture_output=True)
    web_counts.expect(
        {"get /hello": 2, "get /items/{id}": 2, "get /status/{id}": 1, "head /hello": 1, "post /echo": 1},
        errors={"get /status/{id}": 1},
    )


def test_a_reply_before_the_body_was_sent(web_at, web_server):
    """413 while the body is still arriving: the client reads it, in the proxy's way or not."""
    for at in (web_server, web_at):
        with socket.create_connection((at.host, at.port), timeout=10) as s:
            s.sendall(b"POST /early HTTP/1.1\r\nHost: e2e\r\nContent-Length: 100000000\r\n\r\nthe beginning")
            assert s.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


def test_pipelined_requests_are_answered_in_order(web_at, web_counts):
    with socket.create_connection((web_at.host, web_at.port), timeout=10) as s:
        paths = [f"/items/{n}" for n in range(100)]
        s.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: e2e\r\n\r\n" % path.encode() for path in paths))
        got = b""
        while got.count(b"item ") < 100 or not got.endswith(b"item 99\n"):
            piece = s.recv(1 << 16)
            assert piece, got
            got += piece
    assert re.findall(rb"item (\d+)\n", got) == [b"%d" % n for n in range(100)]
    web_counts.expect({"get /items/{id}": 100})


def test_a_request_in_single_bytes(web_at, web_counts):
    with socket.create_connection((web_at.host, web_at.port), timeout=10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST /echo HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
            s.sendall(bytes([byte]))
        reply = http.client.HTTPResponse(s)
        reply.begin()
        assert reply.status == 200 and reply.read() == b"abc"
    web_counts.expect({"post /echo": 1})


def test_query_strings_are_no_operations(web_at, web_counts, brownout):
    connection = http.client.HTTPConnection(web_at.address, timeout=10)
    for n in range(50):
        connection.request("GET", f"/hello?token=canary-{n}", headers={"Authorization": "Bearer canary-header"})
        assert connection.getresponse().read() == b"hello\n"
    connection.close()
    web_counts.expect({"get /hello": 50})
    if not DIRECT:
        for place in (brownout.stderr, *(brownout.get(path)[1] for path in ("/v1/stats", "/v1/proxies", "/metrics"))):
            assert "canary" not in place


def test_wrk(web_at, web_counts):
    """Every request that wrk completed was counted, and none that it did not send."""
    connections = 20
    command = [program("wrk"), "-t1", f"-c{connections}", "-d3s", f"http://{web_at.address}/hello"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    completed = int(re.search(r"(\d+) requests in", done.stdout)[1])
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
    assert completed > 100
    if DIRECT:
        return

    def counted():
        # At the end of its time wrk drops what is under way: at most one request a connection.
        got = web_counts.difference()["get /hello"]
        assert completed <= got <= completed + connections, (completed, got)
        return True

    eventually("the counts of wrk", counted, limit=5)
