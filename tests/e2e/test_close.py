"""Half-close, FIN and RST pass through as what they are, both ways, after every byte that was due.

The bytes are no protocol's: a decoder gives up on them, and that must change nothing.
"""

import os
import threading
import time

import pytest
from harness.process import eventually
from harness.proxy import DIRECT, Brownout
from harness.sockets import RawServer, dial, read_exactly, read_to_end, reset
from harness.web import pattern

PROTOCOLS = ["tcp", "redis", "postgres", "http"]
DATA = pattern(300_000)


@pytest.fixture(scope="module")
def server():
    server = RawServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def process(server):
    if DIRECT:
        yield None
        return
    process = Brownout([(protocol, f"raw-{protocol}", server) for protocol in PROTOCOLS])
    yield process
    process.stop()


@pytest.fixture(params=["tcp"] if DIRECT else PROTOCOLS)
def pair(request, server, process):
    """(client's socket, server's socket) of one session."""
    client = dial(server if DIRECT else process.endpoint(f"raw-{request.param}"))
    upstream = server.accepted()
    yield client, upstream
    client.close()
    upstream.close()


def ends(s, how, data=b""):
    assert read_to_end(s) == (data, how)


def test_the_client_ends_its_half_first(pair):
    client, server = pair
    client.sendall(DATA)
    client.shutdown(1)
    ends(server, "fin", DATA)
    time.sleep(0.2)
    server.sendall(DATA)
    server.close()
    ends(client, "fin", DATA)


def test_the_server_ends_its_half_first(pair):
    client, server = pair
    server.sendall(DATA)
    server.shutdown(1)
    ends(client, "fin", DATA)
    time.sleep(0.2)
    client.sendall(DATA)
    client.close()
    ends(server, "fin", DATA)


def test_an_end_without_a_byte(pair):
    client, server = pair
    client.shutdown(1)
    ends(server, "fin")
    server.close()
    ends(client, "fin")


def test_both_end_at_once(pair):
    client, server = pair
    client.sendall(b"from the client")
    server.sendall(b"from the server")
    client.shutdown(1)
    server.shutdown(1)
    ends(client, "fin", b"from the server")
    ends(server, "fin", b"from the client")


@pytest.mark.parametrize("late", [0, 0.3], ids=["prompt-reader", "late-reader"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_arrives_as_a_reset_after_the_bytes(pair, side, size, late):
    sender, receiver = pair if side == "client" else reversed(pair)
    sender.sendall(b"first")
    assert read_exactly(receiver, 5) == b"first"
    sender.sendall(DATA[:size])
    reset(sender)
    time.sleep(late)
    ends(receiver, "rst", DATA[:size])


def test_closing_with_unread_bytes_resets(pair):
    client, server = pair
    client.sendall(b"never read")
    time.sleep(0.2)
    server.close()
    ends(client, "rst")


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_while_the_other_side_still_sends(pair, side):
    sender, other = pair if side == "client" else reversed(pair)
    failed = threading.Event()

    def flood():
        try:
            while True:
                other.sendall(DATA)
        except (ConnectionResetError, BrokenPipeError):
            failed.set()

    thread = threading.Thread(target=flood)
    thread.start()
    read_exactly(sender, 1 << 20)
    reset(sender)
    thread.join(10)
    assert failed.is_set()


def test_a_slow_reader_gets_every_byte_before_the_end(pair):
    client, server = pair
    data = pattern(8 << 20)
    thread = threading.Thread(target=lambda: (server.sendall(data), server.close()))
    thread.start()
    time.sleep(0.5)
    ends(client, "fin", data)
    thread.join()


@pytest.mark.proxy
def test_nothing_is_left_behind(process, server):
    """After all of this, the descriptors and the gauge of open sessions are back where they were."""

    def open_descriptors():
        return len(os.listdir(f"/proc/{process.pid}/fd"))

    before = open_descriptors()
    for n in range(100):
        client = dial(process.endpoint("raw-tcp"))
        upstream = server.accepted()
        client.sendall(b"x")
        upstream.recv(1)
        reset(client) if n % 2 else client.close()
        upstream.close()
    eventually("the descriptors to be given back", lambda: open_descriptors() <= before + 2 or None)
