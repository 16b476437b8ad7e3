"""What is measured. Each work returns a dict of named figures for one subject and one run of it."""

import contextlib
import http.client
import json
import re
import socket
import statistics
import subprocess
import time

from harness.process import eventually
from harness.servers import postgres_program
from harness.sockets import dial
from subjects import Web


class Cost:
    """CPU time of a subject over a block, divided by what was done in it."""

    def __init__(self, subject):
        self.subject = subject

    def __enter__(self):
        self.before, self.began = self.subject.cpu_seconds(), time.monotonic()
        return self

    def __exit__(self, *_):
        self.cpu, self.seconds = self.subject.cpu_seconds() - self.before, time.monotonic() - self.began

    def per(self, count):
        return 1e6 * self.cpu / count if self.subject.process else None


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def redis_get(subject, requests, pipeline):
    at = subject.at["redis"]
    with Cost(subject) as cost:
        rows = run(
            "redis-benchmark", "-h", at.host, "-p", at.port, "-c", 50, "-P", pipeline, "-t", "get", "-n", requests, "--csv"
        )
    rate = float(re.search(r'"GET","([\d.]+)"', rows)[1])
    return {"rate": rate, "cpu_us": cost.per(requests)}


def postgres_select(subject, seconds):
    at = subject.at["postgres"]
    with Cost(subject) as cost:
        text = run(
            *(postgres_program("pgbench"), "-n", "-S", "-M", "prepared", "-c", 16, "-T", seconds),
            *("-h", at.host, "-p", at.port, "-U", "postgres", "postgres"),
        )
    transactions = int(re.search(r"actually processed: (\d+)", text)[1])
    return {"rate": transactions / seconds, "cpu_us": cost.per(transactions)}


def http_small(subject, seconds):
    with Cost(subject) as cost:
        text = run("wrk", "-t1", "-c50", f"-d{seconds}s", f"http://{subject.at['http']}/small")
    requests = int(re.search(r"(\d+) requests in", text)[1])
    return {"rate": requests / seconds, "cpu_us": cost.per(requests)}


def bulk(subject, rounds):
    """Two connections that download 1 GiB each, ``rounds`` times."""
    url = f"http://{subject.at['http']}/large"
    with Cost(subject) as cost:
        clients = [subprocess.Popen(["curl", "-sf", *["-o", "/dev/null", url] * rounds]) for _ in range(2)]
        if any([client.wait() for client in clients]):
            raise RuntimeError(f"curl {url} failed through {subject.name}")
    volume = 2 * rounds * Web.LARGE
    return {"gb_per_s": volume / 1e9 / cost.seconds, "cpu_s_per_gb": cost.cpu / (volume / 1e9) if subject.process else None}


def settle(subject):
    """A few sessions come and go, so that what a process sets up once is not counted as the sessions' own."""
    time.sleep(0.5)
    for kind, request in (("redis", b"*1\r\n$4\r\nPING\r\n"), ("http", b"GET /small HTTP/1.0\r\n\r\n")) * 10:
        with dial(subject.at[kind]) as s:
            s.sendall(request)
            s.recv(1 << 16)
    time.sleep(0.5)


def idle_sessions(subject, sessions):
    """Resident memory for each of many Redis sessions that have had one exchange and now wait."""
    settle(subject)
    before = subject.resident_kib()
    held = []
    with contextlib.ExitStack() as stack:
        for _ in range(sessions):
            s = stack.enter_context(dial(subject.at["redis"]))
            s.sendall(b"*1\r\n$4\r\nPING\r\n")
            held.append(s)
            if len(held) % 100 == 0:
                for one in held[-100:]:
                    one.recv(16)
        time.sleep(1)
        return {"kib": (subject.resident_kib() - before) / sessions}


def stalled_readers(subject, readers=10):
    """Resident memory for each client that asks for 1 GiB and does not read it."""
    settle(subject)
    before = subject.resident_kib()
    with contextlib.ExitStack() as stack:
        for _ in range(readers):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            s.connect((subject.at["http"].host, subject.at["http"].port))
            s.sendall(b"GET /large HTTP/1.1\r\nHost: compare\r\n\r\n")
        time.sleep(2)
        return {"kib": (subject.resident_kib() - before) / readers}


# --- brownout alone ---


def admin(subject, method, path, body=None):
    connection = http.client.HTTPConnection(subject.admin, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {text.decode()}")
        return text


@contextlib.contextmanager
def latency(subject, delay):
    spec = {"name": "compare", "proxy": "redis", "action": "latency", "delay": delay, "match": {"operation": "GET"}}
    admin(subject, "POST", "/v1/faults", spec)
    try:
        yield
    finally:
        admin(subject, "DELETE", "/v1/faults/compare")


def round_trips(subject, count):
    """Milliseconds of each of ``count`` GETs, one after another on one connection."""
    times = []
    with dial(subject.at["redis"]) as s:
        for _ in range(count):
            began = time.perf_counter_ns()
            s.sendall(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")
            s.recv(64)
            times.append((time.perf_counter_ns() - began) / 1e6)
    return times


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def lateness(subject, asked_ms, count):
    """How much later than asked a delayed reply comes; what the way itself takes at the median is taken off."""
    way = statistics.median(round_trips(subject, 500))
    with latency(subject, f"{asked_ms}ms"):
        late = [t - asked_ms - way for t in round_trips(subject, count)]
    return {"p50_ms": percentile(late, 0.5), "p99_ms": percentile(late, 0.99), "max_ms": max(late)}
