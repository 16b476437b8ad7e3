"""Toxiproxy's clients, as they come from the registries, drive brownout without knowing it."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
from harness.process import eventually
from harness.proxy import ROOT, Brownout
from harness.servers import ADVICE, program

CLIENT = Path(__file__).parent / "node" / "toxiproxy.mjs"
MODULES = ROOT / "target" / "node"
RUST = ROOT / "tests" / "rust_clients"
BUILT = ROOT / "target" / "rust_clients"


@pytest.fixture
def server(monkeypatch):
    """A brownout as a Toxiproxy starts: nothing is configured."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    process = Brownout([], "--toxiproxy-config", "/dev/null")
    yield process
    process.stop()


def ask(address, command=b"PING\r\n", limit=10):
    """What Redis answers, and how long that takes."""
    host, _, port = address.rpartition(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=limit) as connection:
        connection.sendall(command)
        try:
            reply = connection.recv(100)
        except ConnectionResetError:
            reply = None
    return reply, time.monotonic() - began


# What each toxic does to a PING: attributes, the reply, and the least that it takes.
TOXICS = {
    "latency": ({"latency": 80, "jitter": 0}, b"+PONG\r\n", 0.08),
    "bandwidth": ({"rate": 1000}, b"+PONG\r\n", 0),
    "slow_close": ({"delay": 10}, b"+PONG\r\n", 0),
    "slicer": ({"average_size": 100, "size_variation": 10, "delay": 10}, b"+PONG\r\n", 0),
    "timeout": ({"timeout": 100}, b"", 0.1),
    "limit_data": ({"bytes": 3}, b"+PO", 0),
    "reset_peer": ({"timeout": 0}, None, 0),
}


def test_toxiproxy_python(server, redis_server):
    from toxiproxy import Toxiproxy
    from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

    client = Toxiproxy()
    host, _, port = server.admin.rpartition(":")
    client.update_api_consumer(host, int(port))
    assert client.running() and client.version() == b'{"version": "2.12.0"}\n'
    assert client.proxies() == {}
    proxy = client.create(upstream=redis_server.address, name="cache")
    assert proxy.enabled and proxy.upstream == redis_server.address
    with pytest.raises(ProxyExists):
        client.create(upstream=redis_server.address, name="cache")
    assert ask(proxy.listen)[0] == b"+PONG\r\n"
    with proxy.down(), pytest.raises(ConnectionRefusedError):
        ask(proxy.listen)
    assert ask(proxy.listen)[0] == b"+PONG\r\n"

    for kind, (attributes, expected, least) in TOXICS.items():
        proxy.add_toxic(type=kind, attributes=attributes)
        toxic = proxy.get_toxic(f"{kind}_downstream")
        assert (toxic.type, toxic.stream, toxic.toxicity) == (kind, "downstream", 1)
        assert toxic.attributes == attributes
        reply, took = ask(proxy.listen)
        assert (reply, took >= least) == (expected, True), (kind, reply, took)
        with pytest.raises(ProxyExists):
            proxy.add_toxic(type=kind, attributes=attributes)
        assert proxy.destroy_toxic(toxic.name)
        assert proxy.toxics() == {}
    with pytest.raises(InvalidToxic):
        proxy.add_toxic(type="gravity")
    with pytest.raises(NotFound):
        proxy.destroy_toxic("none")

    proxy.add_toxic(type="latency", attributes={"latency": 60_000})
    proxy.disable()
    assert client.reset()
    assert client.get_proxy("cache").enabled and proxy.toxics() == {}
    listed = client.populate([{"name": "second", "listen": "127.0.0.1:0", "upstream": redis_server.address}])
    assert [one.name for one in listed] == ["second"]
    client.destroy_all()
    assert client.proxies() == {}


def test_chaostoolkit(server, redis_server):
    from chaostoxi.proxy import actions as proxies
    from chaostoxi.proxy import probes
    from chaostoxi.toxic import actions as toxics

    host, _, port = server.admin.rpartition(":")
    where = {"configuration": {"toxiproxy_host": host, "toxiproxy_port": port}}
    assert proxies.create_proxy("cache", redis_server.host, redis_server.port, "127.0.0.1", **where)
    assert probes.proxy_exist("cache", **where)
    assert not probes.proxy_exist("other", **where)
    listen = probes.get_proxy_attribute("cache", "listen", **where)
    for create, arguments, expected, least in (
        (toxics.create_latency_toxic, {"latency": 80}, b"+PONG\r\n", 0.08),
        (toxics.create_bandwith_degradation_toxic, {"rate": 1000}, b"+PONG\r\n", 0),
        (toxics.create_slow_connection_close_toxic, {"delay": 10}, b"+PONG\r\n", 0),
        (toxics.create_timeout_toxic, {"timeout": 100}, b"", 0.1),
        (toxics.create_slicer_toxic, {"average_size": 100, "size_variation": 10, "delay": 10}, b"+PONG\r\n", 0),
        (toxics.create_limiter_toxic, {"bytes_limit": 3}, b"+PO", 0),
    ):
        assert create(for_proxy="cache", toxic_name="t", **arguments, **where)
        reply, took = ask(listen)
        assert (reply, took >= least) == (expected, True), (create.__name__, reply, took)
        assert toxics.delete_toxic(for_proxy="cache", toxic_name="t", **where)
    assert not toxics.delete_toxic(for_proxy="cache", toxic_name="t", **where)
    proxies.disable_proxy("cache", **where)
    with pytest.raises(ConnectionRefusedError):
        ask(listen)
    proxies.enable_proxy("cache", **where)
    assert ask(listen)[0] == b"+PONG\r\n"
    proxies.disable_proxy("cache", **where)
    assert proxies.reset(**where)
    assert ask(listen)[0] == b"+PONG\r\n"
    proxies.delete_proxy("cache", **where)
    assert not probes.proxy_exist("cache", **where)


def test_toxiproxy_node_client(server, redis_server):
    assert (MODULES / "node_modules" / "toxiproxy-node-client").is_dir(), f"{MODULES} lacks it; {ADVICE}"
    command = [program("node"), CLIENT, f"http://{server.admin}", redis_server.host, str(redis_server.port)]
    done = subprocess.run(command, cwd=MODULES, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert json.loads(told["version"])["version"].startswith("2.")
    assert told["toxics"] == sorted(TOXICS)
    assert told["replies"]["latency"] == told["replies"]["slicer"] == "+PONG\r\n"
    assert told["replies"]["limit_data"] == "+PO" and told["replies"]["timeout"] == ""
    assert told["late"] >= 80
    assert told["left"] == []


def rust(*arguments):
    """What tests/run built, brought up to date where somebody has changed it since."""
    command = [program("cargo"), *arguments, "--locked", "--quiet", "--manifest-path", RUST / "Cargo.toml", "--target-dir", BUILT]
    return [str(word) for word in command]


def test_toxiproxy_rust_and_noxious_client(server, redis_server):
    command = [*rust("run"), "--", server.admin, redis_server.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_own_tests_of_toxiproxy_rust(monkeypatch):
    """They know no other ports than these."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")

    def free():
        return not any(answers(port) for port in (8474, 2000, 2001)) or None

    eventually("ports 8474, 2000 and 2001 to be free", free, limit=60)
    process = Brownout([], "--toxiproxy-config", "/dev/null", admin="127.0.0.1:8474")
    command = [*rust("test", "--package", "toxiproxy_rust", "--test", "toxiproxy_rust"), "--", "--test-threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    process.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 passed" in done.stdout, done.stdout


def answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
