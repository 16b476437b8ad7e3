"""The service to judge (tests/services/fastapi_app) before and behind brownout, with callers and a fault."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request

from .process import Process, eventually, free_port
from .proxy import ROOT, Brownout, binary

HERE = ROOT / "tests" / "services" / "fastapi_app"
VARIANTS = tomllib.loads((HERE / "variants.toml").read_text())


def truth(variant):
    """How the variant is built."""
    return VARIANTS["well"] | VARIANTS[variant]


class Service:
    """uvicorn with a variant of the service, whose dependencies are these URLs."""

    def __init__(self, variant, redis_url, database_url, port, workers=1):
        environment = os.environ | {"VARIANT": variant, "REDIS_URL": redis_url, "DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", port, "--no-access-log"]
        options = ["--workers", workers, "--timeout-graceful-shutdown", 1]
        self.process = Process([*command, *options], cwd=HERE, env=environment, stdout=subprocess.PIPE)
        self._said = []
        threading.Thread(target=self._listen, daemon=True).start()
        self.process.wait_for("the service", lambda: self._healthy(port), limit=30)

    @staticmethod
    def _healthy(port):
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            pass
        return True

    def _listen(self):
        for line in self.process.child.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                self._said.append(json.loads(line))

    def said(self, what):
        """What it told of itself, as (time, more)."""
        return [one for one in self._said if one["what"] == what]

    def stop(self):
        self.process.end()


class Caller(threading.Thread):
    """Asks one route, one request at a time, at most so often a second."""

    def __init__(self, at, path, rate, body=None):
        super().__init__(daemon=True)
        self.at, self.path, self.rate, self.body = at, path, rate, body
        self.ended = threading.Event()
        self.statuses = []

    def run(self):
        connection = None
        while not self.ended.is_set():
            due = time.monotonic() + 1 / self.rate
            try:
                connection = connection or http.client.HTTPConnection(self.at.host, self.at.port, timeout=10)
                method = "GET" if self.body is None else "POST"
                connection.request(method, self.path, self.body, {"Content-Type": "application/json"} if self.body else {})
                reply = connection.getresponse()
                reply.read()
                self.statuses.append(reply.status)
            except (OSError, http.client.HTTPException):
                self.statuses.append(0)
                connection = None
            self.ended.wait(max(0, due - time.monotonic()))


def observe(variant, fault, redis_server, postgres_server, folder, seconds=(2.6, 3, 6.2), rate=40, workers=1, write=False):
    """Puts a variant behind brownout, disturbs it, and gives back what `brownout insight` says, and the service."""
    port = free_port()

    class Upstream:
        address = f"127.0.0.1:{port}"

    upstreams = [("redis", "redis", redis_server), ("postgres", "postgres", postgres_server), ("http", "api", Upstream)]
    process = Brownout(upstreams, "--record", str(folder))
    redis_at, postgres_at = process.endpoint("redis"), process.endpoint("postgres")
    # Keys of its own: the others use this Redis, too.
    database = list(VARIANTS).index(variant) % 15
    service = Service(
        variant,
        f"redis://{redis_at.address}/{database}",
        f"postgresql://postgres@{postgres_at.address}/postgres",
        port,
        workers,
    )
    api = process.endpoint("api")
    callers = [Caller(api, "/modules", rate), Caller(api, "/health", rate)]
    if write:
        callers.append(Caller(api, "/modules", rate / 2, json.dumps({"name": variant})))
    for caller in callers:
        caller.start()
    time.sleep(seconds[0])
    with process.fault(**fault):
        time.sleep(seconds[1])
    ended = time.time()
    time.sleep(seconds[2])
    for caller in callers:
        caller.ended.set()
    for caller in callers:
        caller.join()
    service.stop()
    process.stop()
    (recording,) = folder.glob("*.jsonl")
    told = subprocess.run(
        [binary(), "insight", "--from", recording, "--workers", str(workers), "--output", "json"], capture_output=True, text=True
    )
    assert told.returncode in (0, 1), told.stderr
    return json.loads(told.stdout), service, callers, ended


__all__ = ["VARIANTS", "Caller", "Service", "eventually", "observe", "truth"]
