"""The brownout binary under test, its admin endpoint, and what it counted.

With BROWNOUT_E2E_DIRECT=1 the same tests run straight against the servers: what fails there is the test or the server,
not the proxy.
"""

import contextlib
import http.client
import json
import os
import re
import time
from collections import Counter
from pathlib import Path

from .process import Process, eventually

DIRECT = os.environ.get("BROWNOUT_E2E_DIRECT") == "1"
ROOT = Path(__file__).resolve().parents[3]

_PROXY = re.compile(r"proxy (\S+) (\S+) listening on (\S+) -> (\S+)")
_ADMIN = re.compile(r"admin listening on (\S+)")


def binary():
    """The binary that BROWNOUT_BIN names, else what cargo built last."""
    named = os.environ.get("BROWNOUT_BIN")
    if named:
        return named
    built = [p for p in (ROOT / f"target/{kind}/brownout" for kind in ("debug", "release")) if p.exists()]
    if not built:
        raise RuntimeError("no brownout binary: cargo build, or name one in BROWNOUT_BIN")
    return str(max(built, key=lambda path: path.stat().st_mtime))


class Endpoint:
    """Where a test connects to: a proxy's listener, or the server itself in direct mode."""

    def __init__(self, name, host, port):
        self.name, self.host, self.port = name, host, port

    @property
    def address(self):
        return f"{self.host}:{self.port}"


class Brownout:
    """A running ``brownout run`` with one proxy for each of ``proxies``: (protocol, name, upstream server) triples."""

    def __init__(self, proxies, *arguments, profiles=None, admin="127.0.0.1:0", **options):
        command = [binary(), "run", "--admin", admin]
        for protocol, name, server in proxies:
            command += [f"--{protocol}", f"{name}@0={server.address}"]
        self.process = Process([*command, *arguments], cwd=profiles or ROOT, **options)
        try:
            self.admin = self.process.wait_for("the admin line", self._admin_line)
            self.process.wait_for("readiness", lambda: self.get("/readyz")[0] == 200 or None)
        except BaseException:
            self.process.end()
            raise

    def _admin_line(self):
        match = _ADMIN.search(self.process.stderr)
        return match and match[1]

    @property
    def stderr(self):
        return self.process.stderr

    @property
    def pid(self):
        return self.process.pid

    def endpoint(self, name):
        """The listener of a proxy, as the binary printed it."""

        def printed():
            for found, _protocol, listen, _upstream in _PROXY.findall(self.process.stderr):
                if found == name:
                    host, _, port = listen.rpartition(":")
                    return Endpoint(name, host.strip("[]"), int(port))
            return None

        return eventually(f"the listener line of {name}", printed)

    def stop(self):
        code = self.process.end()
        assert code == 0, f"brownout ended with {code} on SIGTERM:\n{self.stderr}"

    # --- admin endpoint ---

    def request(self, method, path, body=None, headers=()):
        """(status, text) of one request to the admin endpoint."""
        connection = http.client.HTTPConnection(self.admin, timeout=10)
        with contextlib.closing(connection):
            headers = dict(headers)
            if body is not None:
                headers.setdefault("Content-Type", "application/json")
                body = body if isinstance(body, (str, bytes)) else json.dumps(body)
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode("utf-8")

    def get(self, path):
        return self.request("GET", path)

    def get_json(self, path):
        status, text = self.get(path)
        assert status == 200, (path, status, text)
        return json.loads(text)

    @contextlib.contextmanager
    def fault(self, **spec):
        """A fault that is in force inside the block."""
        spec.setdefault("name", "e2e")
        status, text = self.request("POST", "/v1/faults", spec)
        assert status == 201, (spec, status, text)
        try:
            yield
        finally:
            status, text = self.request("DELETE", f"/v1/faults/{spec['name']}")
            assert status == 204, (status, text)

    @contextlib.contextmanager
    def profile(self, name, ttl="1m"):
        """A profile that is enabled inside the block."""
        status, text = self.request("POST", f"/v1/profiles/{name}/enable", {"ttl": ttl})
        assert status in (200, 201, 204), (name, status, text)
        try:
            yield
        finally:
            status, text = self.request("POST", f"/v1/profiles/{name}/disable")
            assert status in (200, 204), (name, status, text)

    def halt(self):
        status, text = self.request("POST", "/v1/halt")
        assert status in (200, 204), (status, text)

    # --- what it counted ---

    def operations(self, proxy):
        """The operations of a proxy as /v1/stats gives them."""
        for one in self.get_json("/v1/stats")["proxies"]:
            if one["name"] == proxy:
                return one["operations"]
        raise AssertionError(f"/v1/stats knows no proxy {proxy}")

    def counts(self, proxy, field="count", handshakes=True):
        """``field`` by operation, in lower case: names are compared as the protocol compares them."""
        counts = Counter()
        for one in self.operations(proxy):
            if handshakes or one["class"] != "handshake":
                counts[one["operation"].lower()] += one[field]
        return counts

    def metric(self, name, **labels):
        """Sum of the samples of one metric whose labels include ``labels``; a series appears with its first event."""
        _, text = self.get("/metrics")
        total = 0.0
        for line in text.splitlines():
            match = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == name:
                found = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
                if labels.items() <= found.items():
                    total += float(match[3])
        return total

    def tap_lost(self, proxy, reason):
        """Sessions on which the decoder gave up for that reason."""
        return self.metric("brownout_tap_lost_total", proxy=proxy, reason=reason)


class Counting:
    """What a proxy counted while a test ran. In direct mode there is nothing to compare, and nothing is.

    What sets a connection up is left out, unless ``handshakes`` is set: drivers differ in it from version to version.
    """

    def __init__(self, brownout, proxy, handshakes=False):
        self._brownout, self._proxy, self._handshakes = brownout, proxy, handshakes
        self._before = {} if DIRECT else {field: self._now(field) for field in ("count", "errors", "injected")}

    def _now(self, field):
        return self._brownout.counts(self._proxy, field, self._handshakes)

    def difference(self, field="count"):
        """What was added since, without the operations that did not move."""
        return +(self._now(field) - self._before[field])

    def expect(self, expected, ignore=(), errors=None):
        """Every operation was counted exactly once: the difference becomes ``expected`` and stays so.

        ``ignore`` names operations that the client sends by itself; ``errors`` is compared likewise.
        """
        if DIRECT:
            return
        wanted = {name.lower(): n for name, n in expected.items() if n}
        ignored = {name.lower() for name in ignore}

        def equal():
            got = {name: n for name, n in self.difference().items() if name not in ignored}
            assert got == wanted, f"counted {got}, expected {wanted}"
            if errors is not None:
                failed = {name: n for name, n in self.difference("errors").items() if name not in ignored}
                assert failed == {name.lower(): n for name, n in errors.items()}, f"errors {failed}, expected {errors}"
            return True

        eventually(f"the counts of {self._proxy}", equal, limit=5)
        time.sleep(0.05)
        equal()
