"""Random bytes in random pieces with random pauses, both ways at once: what arrives is what was sent."""

import hashlib
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.proxy import DIRECT, Brownout
from harness.sockets import RawServer, dial

PROTOCOLS = ["tcp", "redis", "postgres", "http"]


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


def send(s, seed, total, digest):
    """Random bytes in pieces of 1 B to 256 KiB, small ones more often; some with a pause behind; a half-close at the end."""
    dice = random.Random(seed)
    while total:
        piece = dice.randbytes(min(total, int(2 ** dice.uniform(0, 18))))
        digest.update(piece)
        s.sendall(piece)
        total -= len(piece)
        if dice.random() < 0.05:
            time.sleep(dice.uniform(0, 0.01))
    s.shutdown(socket.SHUT_WR)


def receive(s, seed, digest):
    """Reads to the end in pieces of random size, with pauses."""
    dice = random.Random(seed)
    count = 0
    while piece := s.recv(int(2 ** dice.uniform(0, 18))):
        digest.update(piece)
        count += len(piece)
        if dice.random() < 0.01:
            time.sleep(dice.uniform(0, 0.01))
    return count


def exchange(client, server, seed, total):
    """Streams both ways at once; the four digests."""
    digests = [hashlib.sha256() for _ in range(4)]
    threads = [
        threading.Thread(target=send, args=(client, seed, total, digests[0])),
        threading.Thread(target=receive, args=(server, seed + 1, digests[1])),
        threading.Thread(target=send, args=(server, seed + 2, total, digests[2])),
        threading.Thread(target=receive, args=(client, seed + 3, digests[3])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    client.close()
    server.close()
    return [digest.hexdigest() for digest in digests]


@pytest.mark.parametrize("protocol", ["tcp"] if DIRECT else PROTOCOLS)
def test_random_streams(process, server, protocol):
    """BROWNOUT_E2E_SEED repeats a failed run."""
    seed = int(os.environ.get("BROWNOUT_E2E_SEED") or random.randrange(1 << 32))
    for at_once in (1, 8):
        pairs = []
        for _ in range(at_once):
            client = dial(server if DIRECT else process.endpoint(f"raw-{protocol}"))
            pairs.append((client, server.accepted()))
        seeds = [seed + 4 * number for number in range(at_once)]
        with ThreadPoolExecutor(at_once) as pool:
            results = list(pool.map(exchange, *zip(*pairs, strict=True), seeds, [(4 << 20) // at_once] * at_once))
        for number, (up_sent, up_got, down_sent, down_got) in enumerate(results):
            assert (up_sent, down_sent) == (up_got, down_got), f"stream {number} with seed {seed}"


@pytest.mark.proxy
def test_random_streams_while_faults_come_and_go(process, server):
    """Latency holds bytes, its end releases them: nothing is lost, doubled or out of order."""
    seed = int(os.environ.get("BROWNOUT_E2E_SEED") or random.randrange(1 << 32))
    client = dial(process.endpoint("raw-tcp"))
    pair = (client, server.accepted())
    results = []
    thread = threading.Thread(target=lambda: results.append(exchange(*pair, seed, 8 << 20)))
    thread.start()
    dice = random.Random(seed)
    while thread.is_alive():
        delay = f"{dice.randrange(1, 20)}ms"
        with process.fault(proxy="raw-tcp", action="latency", delay=delay, on=dice.choice(["request", "reply"])):
            time.sleep(dice.uniform(0, 0.03))
    ((up_sent, up_got, down_sent, down_got),) = results
    assert (up_sent, down_sent) == (up_got, down_got), f"seed {seed}"
