"""The services to judge (tests/services) before and behind brownout, with callers and a fault."""

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

from .process import Process, free_port
from .proxy import ROOT, Brownout, binary
from .servers import ADVICE, program


class App:
    """A service in a directory of tests/services, and how its variants are built."""

    def __init__(self, directory):
        self.directory = ROOT / "tests" / "services" / directory
        self.variants = tomllib.loads((self.directory / "variants.toml").read_text())

    def truth(self, variant):
        """How the variant is built."""
        return self.variants["well"] | self.variants[variant]


class FastApi(App):
    """In Python, by uvicorn."""

    def start(self, environment, port, workers):
        command = [sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", port, "--no-access-log"]
        options = ["--workers", workers, "--timeout-graceful-shutdown", 1]
        environment |= {"PYTHONUNBUFFERED": "1"}
        return Process([*command, *options], cwd=self.directory, env=environment, stdout=subprocess.PIPE)


class Node(App):
    """In Node, whose packages tests/run has put beside those of the tests."""

    modules = ROOT / "target" / "node_app"

    def start(self, environment, port, workers):
        assert workers == 1, "it has no workers"
        assert (self.modules / "node_modules").is_dir(), f"{self.modules} holds no packages; {ADVICE}"
        environment |= {"PORT": str(port)}
        return Process([program("node"), self.directory / "app.mjs"], cwd=self.modules, env=environment, stdout=subprocess.PIPE)


FASTAPI, NODE = FastApi("fastapi_app"), Node("node_app")


class Service:
    """A variant of a service, whose dependencies are these URLs."""

    def __init__(self, app, variant, redis_url, database_url, port, workers=1):
        environment = os.environ | {"VARIANT": variant, "REDIS_URL": redis_url, "DATABASE_URL": database_url}
        self.process = app.start(environment, port, workers)
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

    def said(self, what=None):
        """What it told of itself, in order: `at` (seconds since 1970), `what`, and more."""
        return [one for one in self._said if what in (None, one["what"])]

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


def observe(app, variant, fault, servers, folder, seconds=(2.6, 3, 6.2), rate=40, workers=1, writers=0, database=0):
    """Puts a variant behind brownout, disturbs it, and gives back what `brownout insight` says, and the service.

    `database`: of Redis, since others use the server, too. To what is said `started` is added: seconds since 1970.
    """
    port = free_port()

    class Upstream:
        address = f"127.0.0.1:{port}"

    redis_server, postgres_server = servers
    upstreams = [("redis", "redis", redis_server), ("postgres", "postgres", postgres_server), ("http", "api", Upstream)]
    process = Brownout(upstreams, "--record", str(folder))
    redis_at, postgres_at = process.endpoint("redis"), process.endpoint("postgres")
    service = Service(
        app,
        variant,
        f"redis://{redis_at.address}/{database}",
        f"postgresql://postgres@{postgres_at.address}/postgres",
        port,
        workers,
    )
    api = process.endpoint("api")
    callers = [Caller(api, "/modules", rate), Caller(api, "/health", rate)]
    callers += [Caller(api, "/modules", rate / 2, json.dumps({"name": variant})) for _ in range(writers)]
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
    with recording.open() as lines:
        started = json.loads(next(lines))["started_us"] / 1e6
    return json.loads(told.stdout) | {"started": started}, service, callers, ended


__all__ = ["FASTAPI", "NODE", "App", "Caller", "Service", "observe"]
