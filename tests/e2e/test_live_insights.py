"""What `/v1/insights` says while something goes on: hangs, connections from before, and which proxy is the service's own API."""

import contextlib
import http.client
import json
import threading
import time

import pytest
import redis
from harness.process import eventually
from harness.proxy import Brownout

pytestmark = pytest.mark.proxy

# Records of a recording under way that are kept at hand.
RING = 1 << 18


def dependency(told, name):
    (found,) = (d for d in told["dependencies"] if d["proxy"] == name)
    return found


def line(told, name, subject):
    return next((one["said"] for one in dependency(told, name)["lines"] if one["subject"] == subject), None)


def watch(process):
    status, text = process.request("POST", "/v1/recording")
    assert (status, json.loads(text)) == (201, {"recording": "memory"})


def test_a_hang_shows_while_it_lasts(disturbed):
    watch(disturbed)
    at = disturbed.endpoint("redis")
    client = redis.Redis(at.host, at.port, protocol=2, socket_timeout=None)
    for n in range(20):
        client.get(f"live:{n}")
    with disturbed.fault(name="hang", proxy="redis", action="stall", match={"operation": "GET"}):
        waiting = threading.Thread(target=client.get, args=("live:hangs",), daemon=True)
        waiting.start()

        def hung():
            said = line(disturbed.get_json("/v1/insights"), "redis", "timeout")
            if said is None or not said.startswith("none that was reached: requests hung for "):
                return None
            return int(said.split()[-2])

        first = eventually("the hang to be said", hung, limit=60)
        later = eventually("it to have grown", lambda: (ms := hung()) is not None and ms >= first + 1_000 and ms or None, limit=60)
        assert waiting.is_alive() and later > 1_000
        assert line(disturbed.get_json("/v1/insights"), "redis", "noticed").startswith("nothing that the service did")
    # What was held goes on when the fault ends.
    waiting.join(30)
    assert not waiting.is_alive()
    client.close()


def test_connections_from_before_are_counted_and_not_seen(disturbed):
    at = disturbed.endpoint("redis")
    before = [redis.Redis(at.host, at.port, protocol=2) for _ in range(3)]
    for client in before:
        client.ping()
    watch(disturbed)
    told = disturbed.get_json("/v1/insights")
    assert (told["recording"], told["unseen_sessions"]) == ("memory", 3)
    after = redis.Redis(at.host, at.port, protocol=2)
    after.ping()
    before.pop().close()

    def counted():
        told = disturbed.get_json("/v1/insights")
        return told["records"] > 1 and told["unseen_sessions"] == 2 or None

    eventually("one of them to be gone, and the newcomer not to count", counted, limit=30)
    for client in [*before, after]:
        client.close()
    eventually("all to be gone", lambda: disturbed.get_json("/v1/insights")["unseen_sessions"] == 0 or None, limit=30)


def ask(endpoint, path="/"):
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read()


@pytest.fixture
def two(redis_server, web_server):
    process = Brownout([("redis", "redis", redis_server), ("http", "web", web_server), ("http", "other", web_server)])
    yield process
    process.stop()


def test_which_proxy_is_the_services_own_api_can_be_said(two):
    # It is checked whether or not something is recorded.
    assert two.get_json("/v1/insights?api=web")["recording"] == "off"
    watch(two)
    ask(two.endpoint("web"))
    told = two.get_json("/v1/insights")
    assert told["api"] is None, "two could be it"
    assert {d["proxy"] for d in told["dependencies"]} == {"redis", "web", "other"}
    for name, others in (("web", {"redis", "other"}), ("other", {"redis", "web"})):
        told = two.get_json(f"/v1/insights?api={name}")
        assert told["api"] == told["insights"]["api"] == name
        assert {d["proxy"] for d in told["dependencies"]} == others
    assert two.get_json("/v1/insights")["api"] is None, "each question has its answer"


def test_the_only_http_proxy_is_taken_for_it(disturbed):
    watch(disturbed)
    assert disturbed.get_json("/v1/insights")["api"] == "web"


def refused(process, name):
    status, text = process.request("GET", f"/v1/insights?api={name}")
    assert status == 422, text
    problem = json.loads(text)
    (field,) = problem["errors"]
    assert field["field"] == "api"
    return problem["detail"]


def test_an_api_that_is_no_proxy_is_refused(two, web_server):
    assert refused(two, "wbe") == "api: there is no proxy `wbe`; there are: other, redis, web"
    assert "no proxy ``" in refused(two, "")
    watch(two)
    assert "no proxy `wbe`" in refused(two, "wbe")
    # A proxy of which the recording has nothing.
    late = {"name": "late", "protocol": "http", "listen": "127.0.0.1:0", "upstream": web_server.address}
    status, text = two.request("POST", "/v1/proxies", late)
    assert status == 201, text
    assert "came after the recording began" in refused(two, "late")
    status, _ = two.request("DELETE", "/v1/recording")
    assert status == 204
    watch(two)
    assert two.get_json("/v1/insights?api=late")["api"] == "late"


def test_whoever_halts_does_not_wait_for_a_reading(disturbed):
    """As many records as are kept at hand take seconds to read; the endpoint and the data path go on meanwhile."""
    watch(disturbed)
    at = disturbed.endpoint("redis")
    client = redis.Redis(at.host, at.port, protocol=2)
    with disturbed.fault(name="wrong", proxy="redis", action="error", code="ERR", message="no", match={"operation": "GET"}, first=20):
        for n in range(RING // 2_000 + 1):
            pipe = client.pipeline(transaction=False)
            for m in range(2_000):
                pipe.get(f"ring:{n}:{m}")
            pipe.execute(raise_on_error=False)
    reading = {}

    def read():
        connection = http.client.HTTPConnection(disturbed.admin, timeout=120)
        with contextlib.closing(connection):
            begun = time.monotonic()
            connection.request("GET", "/v1/insights")
            reading["told"] = json.loads(connection.getresponse().read())
            reading["took"] = time.monotonic() - begun

    reader = threading.Thread(target=read)
    reader.start()
    halted, waited = 0, []
    while reader.is_alive():
        disturbed.halt()
        halted += 1
        begun = time.monotonic()
        client.ping()
        waited.append(time.monotonic() - begun)
    reader.join()
    told, took = reading["told"], reading["took"]
    print(f"{told['records']} records read in {took:.2f} s; {halted} halts meanwhile; median PING {sorted(waited)[len(waited) // 2] * 1e3:.2f} ms,"
          f" longest {max(waited) * 1e3:.1f} ms")
    assert told["cut"] and RING * 0.9 <= told["records"] <= RING + 100
    # With nobody to wait for, one after the other.
    assert took < 0.5 or halted >= 3, (took, halted)
    client.close()
