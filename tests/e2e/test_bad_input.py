"""What goes wrong in practice, and what brownout says and does about it."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import redis
from harness.process import Process, eventually, free_port
from harness.proxy import ROOT, Brownout, Endpoint, binary
from harness.sockets import dial, read_to_end

pytestmark = pytest.mark.proxy


def run(*arguments, **options):
    options.setdefault("timeout", 20)
    options.setdefault("cwd", ROOT)
    done = subprocess.run([binary(), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    assert "panicked" not in done.stderr, done.stderr
    return done


@pytest.fixture
def directory():
    path = Path(tempfile.mkdtemp(prefix="brownout-e2e-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


# --- starting ---


def test_a_port_that_is_taken(redis_server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("run", "--admin", "127.0.0.1:0", "--redis", f"{port}={redis_server.address}")
    assert done.returncode == 4, done.stderr
    assert f"127.0.0.1:{port}" in done.stderr and "in use" in done.stderr


def test_an_admin_port_that_is_taken(redis_server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("run", "--admin", f"127.0.0.1:{port}", "--redis", f"0={redis_server.address}")
    assert done.returncode == 4, done.stderr
    assert f"127.0.0.1:{port}" in done.stderr and "in use" in done.stderr


def test_an_upstream_that_is_down_at_the_start_is_no_error():
    class Absent:
        address = f"127.0.0.1:{free_port()}"

    process = Brownout([("redis", "redis", Absent)])
    try:
        at = process.endpoint("redis")
        # The end may come before connecting has returned.
        with contextlib.suppress(ConnectionResetError), dial(at) as s:
            assert read_to_end(s)[0] == b"", "the client gets an end, not a wait"
        # The same address comes up later: the next session finds it.
        upstream = Process([shutil.which("redis-server"), "--port", Absent.address.split(":")[1], "--save", ""])
        try:

            def answers():
                with dial(at) as s:
                    s.sendall(b"PING\r\n")
                    return s.recv(100) == b"+PONG\r\n" or None

            eventually("an answer through the proxy", answers)
        finally:
            upstream.end()
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [("run --redis nonsense", "nonsense"), ("run --redis 99999=localhost:1", "99999"), ("rnu", "rnu")],
)
def test_arguments_that_make_no_sense(arguments, named):
    done = run(*arguments.split())
    assert done.returncode == 2 and named in done.stderr
    assert done.stdout == ""


def test_nothing_to_do(directory):
    done = run("run", "--admin", "127.0.0.1:0", cwd=directory)
    assert done.returncode == 2 and "--redis" in done.stderr


# --- configuration ---

GOOD = """\
[admin]
listen = "127.0.0.1:0"

[[proxy]]
name = "redis"
protocol = "redis"
listen = "127.0.0.1:0"
upstream = "{upstream}"
"""

BAD = {
    "a misspelt key": (GOOD.replace("upstream =", "upstraem ="), 8, "upstraem", "upstream"),
    "a misspelt value": (GOOD.replace('protocol = "redis"', 'protocol = "redsi"'), 6, "redsi", "redis"),
    "a wrong type": (GOOD.replace('listen = "127.0.0.1:0"\nup', "listen = true\nup"), 7, "listen", ""),
    "an address without a port": (GOOD.replace('"{upstream}"', '"localhost"'), 8, "localhost", "port"),
    "no TOML": (GOOD.replace("[[proxy]]", "[[proxy"), 4, "", ""),
    "two of one name": (GOOD + GOOD[GOOD.index("[[proxy]]") :], 10, "redis", ""),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_configuration_with(directory, command, case):
    text, line, *words = case
    file = directory / "brownout.toml"
    file.write_text(text.replace("{upstream}", "127.0.0.1:6379"))
    done = run("run", "-c", file) if command == "run" else run("check", file)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert re.search(rf"brownout\.toml:{line}:\d+", said), said
    assert all(word in said for word in words), said


def test_a_configuration_that_is_not_there(directory):
    done = run("run", "-c", directory / "absent.toml")
    assert done.returncode == 2 and "absent.toml" in done.stderr


def test_a_configuration_that_cannot_be_read(directory):
    done = run("run", "-c", directory)
    assert done.returncode == 2 and str(directory) in done.stderr


def test_the_files_that_come_with_it_are_good():
    files = [ROOT / "brownout.example.toml", ROOT / "deploy/brownout.toml", *sorted((ROOT / "profiles").glob("*.toml"))]
    done = run("check", *files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["config", "profile"])
def test_the_schema_is_json(kind):
    done = run("schema", kind)
    assert done.returncode == 0 and "properties" in json.loads(done.stdout)


def test_a_broken_file_at_reload_leaves_the_old_one_in_force(directory, redis_server):
    file = directory / "brownout.toml"
    good = GOOD.replace("{upstream}", redis_server.address)
    file.write_text(good)
    process = Process([binary(), "run", "-c", file])
    try:
        listen = process.wait_for("the listener", lambda: re.search(r"proxy redis redis listening on \S+:(\d+)", process.stderr))
        with dial(Endpoint("redis", "127.0.0.1", int(listen[1]))) as s:
            file.write_text(good.replace("protocol =", "protcool ="))
            process.child.send_signal(signal.SIGHUP)
            process.wait_for("the complaint", lambda: re.search(r"brownout\.toml:6:\d+", process.stderr))
            assert "protcool" in process.stderr
            s.sendall(b"PING\r\n")
            assert s.recv(100) == b"+PONG\r\n", "the session lives on"
        with dial(Endpoint("redis", "127.0.0.1", int(listen[1]))) as s:
            s.sendall(b"PING\r\n")
            assert s.recv(100) == b"+PONG\r\n", "and so does the proxy"
    finally:
        assert process.end() == 0


# --- bytes that are not the protocol ---

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))
HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: redis\r\n\r\n"


# What is sent, and the reason of the loss: "" for any, None where the decoder may follow as Redis itself does.
ON_REDIS = {
    "tls": (TLS_HELLO, "wrong_protocol"),
    "http": (HTTP_REQUEST, "wrong_protocol"),
    "array-length": (b"*2000000000\r\n$3\r\nGET\r\n", None),
    "bulk-length": (b"*2\r\n$9223372036854775807\r\n", ""),
    "negative": (b"*1\r\n$-5\r\n", ""),
    "not-bulk": (b"*1\r\n:3\r\n", ""),
    "nested": (b"*1\r\n" * 10_000, ""),
    "random": (random.Random(1).randbytes(4096), None),
}


@pytest.mark.parametrize(("sent", "reason"), ON_REDIS.values(), ids=ON_REDIS)
def test_on_a_redis_port(brownout, redis_at, redis_server, sent, reason):
    """Redis answers them as it does, the client sees exactly that, and the decoder says that it gave up."""

    def lost():
        return brownout.metric("brownout_tap_lost_total", proxy="redis", **({"reason": reason} if reason else {}))

    def answer(at):
        with dial(at) as s:
            s.sendall(sent)
            time.sleep(0.2)
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_WR)
            return read_to_end(s)

    before = lost()
    direct, proxied = answer(redis_server), answer(redis_at)
    assert proxied == direct
    if reason is not None:
        eventually("the loss to be counted", lambda: lost() == before + 1 or None)
    with redis.Redis(redis_at.host, redis_at.port) as r:
        assert r.ping(), "other sessions are decoded as before"


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\0\0\0",
        b"\0\0\0\x03",
        b"\x7f\xff\xff\xff\0\x03\0\0",
        b"\xff\xff\xff\xff\0\x03\0\0",
        HTTP_REQUEST,
        TLS_HELLO,
        b"\0\0\0\x08\x12\x34\x56\x78",
    ],
    ids=["zero", "three", "two-gigabytes", "negative", "http", "tls", "unknown-version"],
)
def test_on_a_postgres_port(brownout, postgres_at, postgres_server, sent):
    def answer(at):
        with dial(at) as s:
            s.sendall(sent)
            time.sleep(0.2)
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_WR)
            return read_to_end(s)

    assert answer(postgres_at) == answer(postgres_server)
    brownout.get_json("/v1/stats")


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        TLS_HELLO,
    ],
    ids=["binary", "version", "two-lengths", "long-length", "tls"],
)
def test_on_a_web_port(brownout, web_at, web_server, sent):
    def answer(at):
        with dial(at) as s:
            s.sendall(sent)
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_WR)
            return read_to_end(s)[0]

    assert answer(web_at) == answer(web_server)
    brownout.get_json("/v1/stats")


def test_lengths_that_lie_cost_no_memory(brownout, redis_at):
    def resident():
        text = Path(f"/proc/{brownout.pid}/smaps_rollup").read_text()
        return int(re.search(r"Rss:\s+(\d+) kB", text)[1])

    before = resident()
    held = []
    for _ in range(200):
        s = dial(redis_at)
        s.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n" + b"x" * 1000)
        held.append(s)
    time.sleep(0.3)
    grown = resident() - before
    for s in held:
        s.close()
    assert grown < 16 * 1024, f"{grown} KiB for 200 sessions"


# --- its surroundings ---


def test_a_closed_stdout_is_no_panic(brownout):
    for arguments in (["stats", "--admin", f"http://{brownout.admin}"], ["--help"], ["schema", "config"]):
        command = " ".join([binary(), *arguments])
        done = subprocess.run(["sh", "-c", f"{command} | true"], capture_output=True, text=True, timeout=20)
        assert "panicked" not in done.stderr, done.stderr
        done = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, text=True, timeout=20)
        assert "panicked" not in done.stderr, done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_a_full_stdout_is_said(brownout):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [binary(), "stats", "--admin", f"http://{brownout.admin}"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20
        )
    assert "panicked" not in done.stderr
    assert done.returncode != 0 and "space" in done.stderr


def test_it_serves_on_without_stdout_and_stderr(redis_server):
    port = free_port()
    command = f"exec {binary()} run --admin 127.0.0.1:0 --redis {port}={redis_server.address} >&- 2>&-"
    child = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL, cwd=ROOT)
    try:

        def answers():
            with dial(Endpoint("redis", "127.0.0.1", port)) as s:
                s.sendall(b"PING\r\n")
                return s.recv(100) == b"+PONG\r\n" or None

        eventually("an answer", answers)
        child.terminate()
        assert child.wait(10) == 0
    finally:
        child.kill()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a small file system of one's own needs root on Linux")
def test_a_full_disk_under_hlog(redis_server, directory):
    port = free_port()
    script = (
        f"mount -t tmpfs -o size=16k none {directory} && "
        f"exec {binary()} run --admin 127.0.0.1:0 --hlog {directory} --redis {port}={redis_server.address}"
    )
    process = Process(["unshare", "-m", "sh", "-c", script], cwd=ROOT)
    try:
        with redis.Redis("127.0.0.1", port) as r:
            eventually("an answer", lambda: _pings(r))
            for n in range(3000):
                r.set("key", n)
                if n % 1000 == 0:
                    time.sleep(1.1)  # a line an interval is what fills it
            assert r.get("key") == b"2999", "traffic goes on"
    finally:
        assert process.end() == 0
    assert "panicked" not in process.stderr


def _pings(r):
    try:
        return r.ping()
    except redis.ConnectionError:
        return None


def test_a_proxy_before_itself():
    port = free_port()

    class Itself:
        address = f"127.0.0.1:{port}"

    done = Process([binary(), "run", "--admin", "127.0.0.1:0", "--tcp", f"loop@{port}={Itself.address}"], cwd=ROOT)
    try:
        time.sleep(0.3)
        if done.child.poll() is None:
            with dial(Endpoint("loop", "127.0.0.1", port)) as s:
                s.settimeout(5)
                assert read_to_end(s)[0] == b""
            eventually("the reason", lambda: "own" in done.stderr or None)
        else:
            assert done.child.returncode == 2 and Itself.address in done.stderr
    finally:
        done.end()


# --- ending ---


def test_sigterm_lets_replies_under_way_arrive(proxies):
    process = Brownout(proxies)
    at = process.endpoint("web")
    with dial(at) as s:
        s.sendall(b"GET /slow?ms=800 HTTP/1.1\r\nHost: e2e\r\n\r\n")
        time.sleep(0.2)
        codes = []
        stopper = threading.Thread(target=lambda: codes.append(process.process.end()))
        stopper.start()
        time.sleep(0.2)
        with pytest.raises(OSError):
            dial(at).recv(1)
            raise OSError("accepted, and closed at once")
        got = b""
        while not got.endswith(b"at last\n"):
            piece = s.recv(1 << 16)
            assert piece, got
            got += piece
    stopper.join(20)
    assert codes == [0], process.stderr


def test_a_kill_leaves_no_fault_behind(redis_server):
    port = free_port()
    for _ in range(3):
        process = Brownout([], "--redis", f"redis@{port}={redis_server.address}")
        with redis.Redis("127.0.0.1", port, socket_timeout=5) as r:
            assert r.set("key", 1), "no fault of the killed process is in force"
        fault = {"name": "x", "proxy": "redis", "action": "error", "preset": "OOM"}
        status, text = process.request("POST", "/v1/faults", fault)
        assert status == 201, text
        process.process.end(signal.SIGKILL)


# --- the admin endpoint ---


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "statuses"),
    [
        ("GET", "/v1/stats", None, {"Host": "evil.example"}, {403, 421}),
        ("GET", "/v1/stats", None, {"Origin": "http://evil.example"}, {403}),
        ("POST", "/v1/halt", None, {"Origin": "null"}, {403}),
        ("GET", "/v1/stats", None, {"Sec-Fetch-Site": "cross-site"}, {403}),
        ("POST", "/v1/faults", "{}", {"Content-Type": "text/plain"}, {415}),
        ("POST", "/v1/faults", "{" * 10, {}, {400, 422}),
        ("POST", "/v1/faults", " " * (1 << 20), {}, {400, 413}),
        ("GET", "/nowhere", None, {}, {404}),
        ("PUT", "/v1/stats", None, {}, {404, 405}),
        ("OPTIONS", "/v1/faults", None, {"Origin": "http://evil.example"}, {403}),
    ],
)
def test_the_admin_endpoint_refuses(brownout, method, path, body, headers, statuses):
    status, text = brownout.request(method, path, body, headers)
    assert status in statuses, (status, text)
    assert brownout.get("/readyz")[0] == 200


def test_the_admin_endpoint_outlives_clients_that_never_finish(brownout, redis_at):
    host, port = brownout.admin.split(":")
    held = []
    # As many as it takes: a cap on connections leaves the others waiting.
    with contextlib.suppress(TimeoutError):
        for _ in range(200):
            s = socket.create_connection((host, int(port)), timeout=0.5)
            s.sendall(b"GET /v1/stats HTTP/1.1\r\nHo")
            held.append(s)
    try:
        with redis.Redis(redis_at.host, redis_at.port, socket_timeout=2) as r:
            assert r.ping()
        # Deadlines on headers end them, at the latest after some seconds.
        eventually("the admin endpoint to answer", lambda: brownout.get("/readyz")[0] == 200 or None, limit=30)
    finally:
        for s in held:
            s.close()
