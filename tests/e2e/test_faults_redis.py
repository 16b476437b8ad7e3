"""Every action on Redis traffic, as redis-py meets it: felt where it matches, nowhere else, gone after its end."""

import statistics
import contextlib
import itertools
import socket
import threading
import time

import pytest
import redis
from harness.process import eventually
from harness.proxy import Brownout
from redis.backoff import NoBackoff
from redis.retry import Retry

pytestmark = pytest.mark.proxy


def connect(at, timeout=5, **options):
    # No retries: each failure is to be seen.
    return redis.Redis(at.host, at.port, socket_timeout=timeout, retry=Retry(NoBackoff(), 0), **options)


@pytest.fixture
def at(disturbed):
    return disturbed.endpoint("redis")


@pytest.fixture
def r(at, redis_server):
    with connect(at) as client:
        client.set("key", "value")
        yield client


def took(call):
    """(result, seconds) of a call."""
    began = time.monotonic()
    result = call()
    return result, time.monotonic() - began


def dial(at):
    s = socket.create_connection((at.host, at.port), timeout=5)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


@pytest.mark.parametrize("side", ["request", "reply"])
def test_latency_is_added_to_what_matches_and_to_nothing_else(disturbed, r, side):
    with disturbed.fault(proxy="redis", action="latency", delay="100ms", on=side, match={"operation": "GET"}):
        for _ in range(3):
            value, seconds = took(lambda: r.get("key"))
            assert value == b"value" and 0.1 <= seconds < 0.2
        _, seconds = took(lambda: r.set("other", 1))
        assert seconds < 0.09
    _, seconds = took(lambda: r.get("key"))
    assert seconds < 0.09
    injected = disturbed.counts("redis", "injected")
    assert (injected["get"], injected["set"]) == (3, 0)


def test_injected_time_is_kept_apart(disturbed, r):
    with disturbed.fault(proxy="redis", action="latency", delay="200ms", match={"operation": "GET"}):
        for _ in range(5):
            r.get("key")
    (get,) = [one for one in disturbed.operations("redis") if one["operation"].lower() == "get"]
    assert get["client"]["p50_us"] >= 200_000
    assert get["upstream"]["p99_us"] < 150_000


@pytest.mark.parametrize(
    ("delay", "least", "most"),
    [
        ({"distribution": "uniform", "min": "20ms", "max": "60ms"}, 0.02, 0.06),
        ({"distribution": "normal", "mean": "40ms", "stddev": "2ms"}, 0.025, 0.06),
        ({"distribution": "lognormal", "p50": "30ms", "p99": "60ms"}, 0.005, 0.2),
        ({"distribution": "pareto", "scale": "20ms", "shape": 3.0}, 0.02, 0.5),
    ],
    ids=lambda value: value["distribution"] if isinstance(value, dict) else "",
)
def test_latency_from_a_distribution(disturbed, r, delay, least, most):
    with disturbed.fault(proxy="redis", action="latency", delay=delay, match={"operation": "GET"}, seed=7):
        seconds = [took(lambda: r.get("key"))[1] for _ in range(20)]
    # Never early; late by what a busy machine takes, which the median does not see.
    assert least <= min(seconds) and statistics.median(seconds) < most + 0.05
    assert len({round(s, 3) for s in seconds}) > 3, "drawn, not fixed"


def test_pipelined_delays_run_side_by_side_and_keep_the_order(disturbed, r):
    for n in range(50):
        r.set(f"key:{n}", n)
    with disturbed.fault(proxy="redis", action="latency", delay="100ms", match={"operation": "GET"}):
        pipe = r.pipeline(transaction=False)
        for n in range(50):
            pipe.get(f"key:{n}").exists(f"key:{n}")
        values, seconds = took(pipe.execute)
    assert values[::2] == [b"%d" % n for n in range(50)] and values[1::2] == [1] * 50
    assert 0.1 <= seconds < 0.3


def test_keys_are_matched_by_glob(disturbed, r):
    with disturbed.fault(proxy="redis", action="latency", delay="100ms", match={"key": "user:*"}):
        assert took(lambda: r.get("user:1"))[1] >= 0.1
        assert took(lambda: r.set("user:1", "x"))[1] >= 0.1
        assert took(lambda: r.get("module:1"))[1] < 0.09


def test_clients_are_matched_by_address(disturbed, r):
    with disturbed.fault(proxy="redis", action="latency", delay="100ms", match={"client": "10.0.0.0/8"}):
        assert took(lambda: r.get("key"))[1] < 0.09
    with disturbed.fault(proxy="redis", action="latency", delay="100ms", match={"client": "127.0.0.0/8"}):
        assert took(lambda: r.get("key"))[1] >= 0.1


def test_stall_keeps_the_connection_and_passes_nothing(disturbed, at, redis_server):
    with dial(at) as s:
        with disturbed.fault(proxy="redis", action="stall", match={"operation": "SET"}):
            s.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
            s.settimeout(0.5)
            with pytest.raises(TimeoutError):
                s.recv(100)
            with connect(at) as other:
                assert other.ping(), "other sessions live on"
            assert redis_server.command("EXISTS", "k") == ":0\r\n"
        s.settimeout(5)
        assert s.recv(100) == b"+OK\r\n", "what was held is released, in order"


def test_timeout_stalls_then_closes(disturbed, r):
    with disturbed.fault(proxy="redis", action="timeout", close_after="300ms", match={"operation": "GET"}):
        began = time.monotonic()
        with pytest.raises(redis.ConnectionError):
            r.get("key")
        assert 0.3 <= time.monotonic() - began < 1
    assert r.get("key") == b"value"


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(("when", "server_saw"), [("before", False), ("after", True)])
def test_disconnect_around_the_request(disturbed, at, redis_server, how, when, server_saw):
    with dial(at) as s:
        s.sendall(b"PING\r\n")
        assert s.recv(100) == b"+PONG\r\n"
        with disturbed.fault(proxy="redis", action="disconnect", how=how, when=when, match={"operation": "SET"}):
            s.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
            assert ending(s) == (b"", how)
            if server_saw:
                eventually("the SET to arrive", lambda: redis_server.command("EXISTS", "k") == ":1\r\n" or None)
            else:
                time.sleep(0.1)
                assert redis_server.command("EXISTS", "k") == ":0\r\n"


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("part", [{"bytes": 1234}, {"share": 0.5}], ids=["bytes", "share"])
def test_disconnect_inside_the_reply_leaves_an_exact_prefix(disturbed, at, redis_server, how, part):
    value = "0123456789abcdef" * 1000
    redis_server.command("SET", "long", value)
    reply = f"${len(value)}\r\n{value}\r\n".encode()
    cut = part.get("bytes") or len(reply) // 2
    with dial(at) as s:
        with disturbed.fault(proxy="redis", action="disconnect", how=how, when="inside", match={"operation": "GET"}, **part):
            s.sendall(b"*2\r\n$3\r\nGET\r\n$4\r\nlong\r\n")
            got, end = ending(s)
    assert end == how and got == reply[: len(got)]
    assert abs(len(got) - cut) <= 1


def ending(s):
    """What still comes, and whether the end is a FIN or a reset."""
    got = b""
    try:
        while piece := s.recv(1 << 16):
            got += piece
        return got, "fin"
    except ConnectionResetError:
        return got, "rst"


def test_refuse(disturbed, at):
    with connect(at) as before:
        assert before.ping()
        with disturbed.fault(proxy="redis", action="refuse", how="closed"):
            with pytest.raises(ConnectionRefusedError):
                eventually_refused(at)
            assert before.ping(), "open sessions are kept by default"
        eventually("the listener to be back", lambda: dial(at).close() or True)
        with disturbed.fault(proxy="redis", action="refuse", how="reset"):
            with contextlib.suppress(ConnectionResetError), dial(at) as s:
                s.sendall(b"PING\r\n")
                assert ending(s) == (b"", "rst")
        with disturbed.fault(proxy="redis", action="refuse", how="silent"), dial(at) as s:
            s.sendall(b"PING\r\n")
            s.settimeout(0.5)
            with pytest.raises(TimeoutError):
                s.recv(10)
        with disturbed.fault(proxy="redis", action="refuse", how="reset", existing="cut"):
            with pytest.raises(redis.ConnectionError):
                time.sleep(0.1)
                before.ping()
    with connect(at) as after:
        assert after.ping()


def eventually_refused(at):
    """Connects until that fails: the answer to POST may come a moment before the listener is closed."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        dial(at).close()
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"preset": "LOADING"}, redis.exceptions.BusyLoadingError),
        ({"preset": "READONLY"}, redis.exceptions.ReadOnlyError),
        ({"preset": "OOM"}, redis.exceptions.OutOfMemoryError),
        ({"code": "MYOWN", "message": "error of the test"}, redis.exceptions.ResponseError),
    ],
    ids=["loading", "readonly", "oom", "own"],
)
def test_error_is_the_native_one_and_the_server_never_sees_the_command(disturbed, r, redis_server, spec, error):
    with disturbed.fault(proxy="redis", action="error", match={"operation": "SET"}, **spec):
        with pytest.raises(error) as raised:
            r.set("refused", 1)
        assert spec.get("message", "") in str(raised.value)
        assert r.get("key") == b"value"
    assert redis_server.command("EXISTS", "refused") == ":0\r\n"
    assert r.set("refused", 1)


def test_errors_take_their_place_in_a_pipeline(disturbed, r):
    with disturbed.fault(proxy="redis", action="error", preset="OOM", match={"operation": "SET"}, every=3):
        pipe = r.pipeline(transaction=False)
        for n in range(30):
            pipe.set(f"key:{n}", n).get("key")
        results = pipe.execute(raise_on_error=False)
    failed = [n for n, result in enumerate(results[::2]) if isinstance(result, redis.ResponseError)]
    assert len(failed) == 10 and {b - a for a, b in itertools.pairwise(failed)} == {3}
    assert results[1::2] == [b"value"] * 30, "no reply is paired with the wrong request"


@pytest.mark.parametrize(
    ("gates", "hits"),
    [
        ({"first": 4}, [0, 1, 2, 3]),
        ({"after": 15}, list(range(15, 20))),
        ({"after": 5, "first": 2}, [5, 6]),
        ({"probability": 0.0}, []),
        ({"probability": 1.0}, list(range(20))),
    ],
    ids=str,
)
def test_gates(disturbed, r, gates, hits):
    with disturbed.fault(proxy="redis", action="error", preset="OOM", match={"operation": "SET"}, **gates):
        assert failing(r, 20) == hits


def failing(r, times):
    hit = []
    for n in range(times):
        try:
            r.set("gate", n)
        except redis.ResponseError:
            hit.append(n)
    return hit


def test_the_same_seed_gives_the_same_faults(proxies):
    def run(seed):
        process = Brownout(proxies)
        try:
            with connect(process.endpoint("redis")) as r:
                with process.fault(
                    proxy="redis", action="error", preset="OOM", match={"operation": "SET"}, probability=0.3, seed=seed
                ):
                    return failing(r, 100)
        finally:
            process.stop()

    first = run(42)
    assert 10 < len(first) < 60
    assert run(42) == first and run(43) != first


def test_a_schedule_starts_and_ends(disturbed, r):
    schedule = {"start": "300ms", "duration": "400ms"}
    with disturbed.fault(proxy="redis", action="error", preset="OOM", match={"operation": "SET"}, schedule=schedule):
        assert failing(r, 1) == []
        time.sleep(0.45)
        assert failing(r, 1) == [0]
        time.sleep(0.5)
        assert failing(r, 1) == []


def test_a_time_to_live_ends_a_forgotten_fault(disturbed, r):
    spec = {"name": "forgotten", "proxy": "redis", "action": "error", "preset": "OOM", "ttl": "1s"}
    assert disturbed.request("POST", "/v1/faults", spec)[0] == 201
    assert failing(r, 1) == [0]
    time.sleep(1.2)
    assert failing(r, 1) == []


def test_halt_ends_everything_and_releases_what_is_held(disturbed, r):
    spec = {"proxy": "redis", "action": "latency", "delay": "30s", "match": {"operation": "GET"}}
    for name in ("one", "two"):
        assert disturbed.request("POST", "/v1/faults", {**spec, "name": name})[0] == 201
    got = []
    waiting = threading.Thread(target=lambda: got.append(r.get("key")))
    waiting.start()
    time.sleep(0.3)
    assert not got
    began = time.monotonic()
    disturbed.halt()
    waiting.join(5)
    assert got == [b"value"] and time.monotonic() - began < 0.5


def test_faults_toggled_under_load_lose_nothing(disturbed, at):
    """Bytes held while a fault is switched on and off: every reply arrives, in order, unchanged."""
    stop = threading.Event()
    failures = []

    def work(who):
        with connect(at, timeout=30) as client:
            n = 0
            while not stop.is_set():
                pipe = client.pipeline(transaction=False)
                for _ in range(20):
                    n += 1
                    pipe.set(f"{who}", n).get(f"{who}")
                if pipe.execute()[1::2] != [b"%d" % k for k in range(n - 19, n + 1)]:
                    failures.append((who, n))

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for n in range(60):
        delay = "5ms" if n % 2 else {"distribution": "uniform", "min": "0ms", "max": "20ms"}
        with disturbed.fault(proxy="redis", action="latency", delay=delay, on=("request", "reply")[n % 3 == 0]):
            time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not failures


def test_a_fault_that_cannot_be_understood_is_refused(disturbed, r):
    for spec in (
        {"name": "x", "proxy": "redis", "action": "latencyy", "delay": "5ms"},
        {"name": "x", "proxy": "redis", "action": "latency", "delay": "5 parsecs"},
        {"name": "x", "proxy": "redis", "action": "error", "preset": "OOM", "probability": 2},
        {"name": "x", "proxy": "redis", "action": "error", "preset": "OOM", "ttl": "13h"},
    ):
        status, text = disturbed.request("POST", "/v1/faults", spec)
        assert status in (400, 422) and text, (spec, status, text)
    assert failing(r, 1) == []
