"""The client's own percentiles beside those that brownout reports for the same requests."""

import contextlib
import csv
import io
import json
import re
import tempfile
from pathlib import Path

import work
from harness.process import eventually
from harness.servers import postgres_program

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@contextlib.contextmanager
def delayed(subject, proxy, operation, ms):
    """Replies to ``operation`` take ``ms`` more; 0: none does."""
    if not ms:
        yield
        return
    spec = {"name": "compare", "proxy": proxy, "action": "latency", "delay": f"{ms}ms", "match": {"operation": operation}}
    work.admin(subject, "POST", "/v1/faults", spec)
    try:
        yield
    finally:
        work.admin(subject, "DELETE", "/v1/faults/compare")


def reported(subject, proxy, operation, count):
    """Brownout's percentiles in microseconds, once it has counted as many exchanges as the client."""

    def complete():
        stats = json.loads(work.admin(subject, "GET", "/v1/stats"))
        (proxies,) = [one for one in stats["proxies"] if one["name"] == proxy]
        found = [one for one in proxies["operations"] if one["operation"] == operation and one["count"] >= count]
        return found[0] if found else None

    latency = eventually(f"{count} {operation}", complete)["client"]
    return {name: latency[f"{name}_us"] for name in SHARES}


def redis(subject, clients, requests):
    """redis-benchmark, which sends the next request as soon as it has read the last reply."""
    at = subject.at["redis"]
    text = work.run("redis-benchmark", "-h", at.host, "-p", at.port, "-c", clients, "-t", "get", "-n", requests, "--csv")
    (row,) = [row for row in csv.DictReader(io.StringIO(text)) if row["test"] == "GET"]
    return requests, {name: 1000 * float(row[f"{name}_latency_ms"]) for name in SHARES}


def postgres(subject, clients, seconds, rate):
    """pgbench at a rate; what a transaction waited for its client before it was sent is taken off."""
    at = subject.at["postgres"]
    with tempfile.TemporaryDirectory() as directory:
        work.run(
            *(postgres_program("pgbench"), "-n", "-S", "-M", "prepared", "-c", clients, "-T", seconds, f"--rate={rate}"),
            *("--log", f"--log-prefix={directory}/log", "-h", at.host, "-p", at.port, "-U", "postgres", "postgres"),
        )
        lines = [line.split() for log in Path(directory).iterdir() for line in log.read_text().splitlines()]
    times = [int(line[2]) - int(line[6]) for line in lines]
    return len(times), {name: work.percentile(times, share) for name, share in SHARES.items()}


WRK_REPORT = """
done = function(summary, latency)
  for _, p in ipairs({50, 95, 99}) do io.write(string.format("p%d=%d\\n", p, latency:percentile(p))) end
  io.write(string.format("requests=%d\\n", summary.requests))
end
"""


def http(subject, clients, seconds):
    """wrk, which sends the next request as soon as it has read the last reply."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK_REPORT)
        script.flush()
        url = f"http://{subject.at['http']}/small"
        text = work.run("wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", script.name, url)
    figures = dict(re.findall(r"^(\w+)=(\d+)$", text, re.MULTILINE))
    return int(figures["requests"]), {name: int(figures[name]) for name in SHARES}


def a_third_of_capacity(subject, clients, ms, seconds):
    """Without a delay, a quarter of what the server does alone, which is about a third of what it does through a proxy; with
    one, half of what so many clients can ask for."""
    if ms:
        return postgres(subject, clients, seconds, 1000 * clients // (2 * ms))
    at = subject.upstreams["postgres"]
    text = work.run(
        *(postgres_program("pgbench"), "-n", "-S", "-M", "prepared", "-c", clients, "-T", 2),
        *("-h", at.host, "-p", at.port, "-U", "postgres", "postgres"),
    )
    return postgres(subject, clients, seconds, int(float(re.search(r"tps = ([\d.]+)", text)[1]) / 4))


# Title, proxy, operation, and how to drive it with so many milliseconds injected. ``scale`` shortens a quick run.
LOADS = [
    ("redis-benchmark, 1 client", "redis", "GET", lambda s, ms, scale: redis(s, 1, (1000 if ms else 20_000) // scale)),
    ("pgbench, 1 client, 500/s", "postgres", "SELECT", lambda s, ms, scale: postgres(s, 1, 10 // scale, 100 if ms else 500)),
    ("wrk, 1 connection", "http", None, lambda s, ms, scale: http(s, 1, 5 // scale)),
    ("pgbench, 50 clients, a third of capacity", "postgres", "SELECT", lambda s, ms, scale: a_third_of_capacity(s, 50, ms, 10 // scale)),
    ("redis-benchmark, 50 clients, saturated", "redis", "GET", lambda s, ms, scale: redis(s, 50, 100_000 // scale)),
]


def compare(subject, load, ms, scale):
    """One load, once: the client's figures and ours."""
    _, proxy, operation, drive = load
    with delayed(subject, proxy, operation or "*", ms):
        count, own = drive(subject, ms, scale)
    ours = reported(subject, proxy, operation or "GET /small", count)
    return {f"own_{name}_us": own[name] for name in SHARES} | {f"brownout_{name}_us": ours[name] for name in SHARES}


def rows(results, median):
    """For each load and percentile: the client's, ours, how far apart, and whether within 5 % or 50 us."""
    for name, runs in results.items():
        for share in SHARES:
            own, ours = (median(runs["brownout"], f"{who}_{share}_us") for who in ("own", "brownout"))
            apart = ours - own
            near = abs(apart) <= max(50, 0.05 * own)
            yield [name, share, f"{own:.0f}", f"{ours:.0f}", f"{apart:+.0f}", f"{100 * apart / own:+.1f} %", "yes" if near else "no"]
