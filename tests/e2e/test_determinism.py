"""The same seed, profile and order of requests give the same faults: the canonical ledger is equal, byte for byte, whatever
the number of workers and the timing. Clients here never retry, and number what they ask."""

import contextlib
import http.client
import random
import socket
import threading
import time

import psycopg
import pytest
from harness.proxy import Brownout

pytestmark = pytest.mark.proxy

PROFILE = """
description = "Some of everything that is drawn."

[[fault]]
name = "slow"
proxy = "*"
action = "latency"
delay = { distribution = "lognormal", p50 = "1ms", p99 = "8ms" }
probability = 0.6

[[fault]]
name = "late-replies"
proxy = "*"
action = "latency"
on = "reply"
delay = { distribution = "uniform", min = "100us", max = "2ms" }
probability = 0.3
scope = "session"

[[fault]]
name = "redis-errors"
proxy = "redis"
action = "error"
preset = "OOM"
match = { operation = "SET" }
probability = 0.3

[[fault]]
name = "postgres-errors"
proxy = "postgres"
action = "error"
preset = "serialization_failure"
match = { operation = "INSERT" }
probability = 0.3

[[fault]]
name = "web-errors"
proxy = "web"
action = "error"
status = 503
probability = 0.2

[[fault]]
name = "gone"
proxy = "*"
action = "disconnect"
when = "after"
match = { class = ["read", "write"] }
probability = 0.08

[[fault]]
name = "cut"
proxy = "*"
action = "disconnect"
when = "inside"
share = 0.5
match = { class = "read" }
probability = 0.08

[[fault]]
name = "lost"
proxy = "*"
action = "lose_reply"
match = { class = "write" }
probability = 0.08
"""


class Gone(Exception):
    """The session was cut: nothing more is asked on it."""


class RedisSession:
    def __init__(self, at):
        self.socket = socket.create_connection((at.host, at.port), timeout=10)
        self.replies = self.socket.makefile("rb")

    def ask(self, n):
        words = ["SET", f"key-{n}", "value"] if n % 2 else ["GET", f"key-{n}"]
        command = "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        try:
            self.socket.sendall(f"*{len(words)}\r\n{command}".encode())
            line = self.replies.readline()
            if line.startswith(b"$") and line != b"$-1\r\n":
                line = self.replies.readline()
        except OSError:
            raise Gone from None
        if not line.endswith(b"\r\n"):
            raise Gone

    def close(self):
        self.replies.close()
        self.socket.close()


class PostgresSession:
    def __init__(self, at):
        try:
            self.connection = psycopg.connect(
                f"postgresql://postgres@{at.address}/postgres?sslmode=disable", autocommit=True, connect_timeout=10
            )
        except psycopg.OperationalError:
            self.connection = None

    def ask(self, n):
        if self.connection is None:
            raise Gone
        sql = "insert into numbers values (1)" if n % 2 else "select 1 as n"
        with contextlib.suppress(psycopg.errors.SerializationFailure):
            try:
                psycopg.ClientCursor(self.connection).execute(sql)
            except psycopg.OperationalError as error:
                if not isinstance(error, psycopg.errors.SerializationFailure):
                    raise Gone from None
                raise

    def close(self):
        if self.connection is not None:
            self.connection.close()


class WebSession:
    def __init__(self, at):
        self.connection = http.client.HTTPConnection(at.address, timeout=10)
        self.connection.connect()
        self.reply = None

    def ask(self, n):
        self.connection.auto_open = 0
        try:
            if n % 2:
                self.connection.request("POST", "/echo", b"body")
            else:
                self.connection.request("GET", "/hello")
            self.reply = self.connection.getresponse()
            self.reply.read()
        except (OSError, http.client.HTTPException):
            raise Gone from None

    def close(self):
        if self.reply is not None:
            self.reply.close()
        self.connection.close()


KINDS = {"redis": RedisSession, "postgres": PostgresSession, "web": WebSession}
SESSIONS, REQUESTS = 5, 12


def canonical(proxies, folder, workers, seed, pause, together):
    """The canonical ledger of one run. ``together``: every session asks from a thread of its own."""
    brownout = Brownout(proxies, "--workers", str(workers), "--seed", str(seed), profiles=folder)
    try:
        with brownout.profile("mixed"):
            # Session ordinals are the order of accepting: one after the other.
            sessions = [kind(brownout.endpoint(name)) for _ in range(SESSIONS) for name, kind in KINDS.items()]

            def ask(session, n):
                pause()
                session.ask(n)

            def run(session):
                with contextlib.suppress(Gone):
                    for n in range(REQUESTS):
                        ask(session, n)

            if together:
                threads = [threading.Thread(target=run, args=[session]) for session in sessions]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
                    assert not thread.is_alive()
            else:
                alive = list(sessions)
                for n in range(REQUESTS):
                    for session in list(alive):
                        try:
                            ask(session, n)
                        except Gone:
                            alive.remove(session)
            status, text = brownout.get("/v1/ledger?form=canonical")
            assert status == 200
            for session in sessions:
                session.close()
        return text
    finally:
        brownout.stop()


@pytest.fixture
def folder(tmp_path, postgres_server):
    postgres_server.query("drop table if exists numbers; create table numbers (n int)")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mixed.toml").write_text(PROFILE)
    return tmp_path


def at_once():
    pass


def now_and_then():
    time.sleep(random.random() * 0.004)


def test_neither_workers_nor_timing_change_a_fault(proxies, folder):
    runs = [
        canonical(proxies, folder, workers, 7, pause, together)
        for workers, pause, together in [
            (1, at_once, False),
            (2, now_and_then, False),
            (2, at_once, True),
            (1, now_and_then, True),
        ]
    ]
    first = runs[0]
    for name in ("slow", "late-replies", "redis-errors", "postgres-errors", "web-errors", "gone", "cut", "lost"):
        assert f'"{name}"' in first, f"nothing was hit by {name}: {first}"
    for other in runs[1:]:
        assert other == first
    assert canonical(proxies, folder, 2, 8, at_once, False) != first
