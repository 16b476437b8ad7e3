"""The profiles that come with brownout, switched on and off over the admin endpoint, as real clients meet them."""

import http.client
import json
import math
import statistics
import time

import psycopg
import pytest
import redis
from harness.process import eventually
from redis.backoff import NoBackoff
from redis.retry import Retry

pytestmark = pytest.mark.proxy

EXPECTED = (
    "redis-slow redis-down redis-flapping redis-errors postgres-slow postgres-down postgres-errors "
    "api-errors api-slow network-bad"
).split()


class Clients:
    """One short exchange with each upstream, on a connection of its own."""

    def __init__(self, disturbed):
        self.at = {name: disturbed.endpoint(name) for name in ("redis", "postgres", "web")}

    def redis(self):
        at = self.at["redis"]
        with redis.Redis(at.host, at.port, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as r:
            r.set("profile", 1)
            r.get("profile")

    def postgres(self):
        at = self.at["postgres"]
        conninfo = f"host={at.host} port={at.port} user=postgres dbname=postgres sslmode=disable connect_timeout=2"
        with psycopg.connect(conninfo, autocommit=True) as c:
            cursor = psycopg.ClientCursor(c)
            cursor.execute("create temp table t (n int)")
            cursor.execute("insert into t values (1)")
            cursor.execute("select * from t")

    def web(self):
        connection = http.client.HTTPConnection(self.at["web"].address, timeout=2)
        try:
            connection.request("GET", "/hello")
            reply = connection.getresponse()
            reply.read()
            if reply.status >= 500:
                raise OSError(f"status {reply.status}")
        finally:
            connection.close()

    def seconds(self, name):
        """How long the exchange took; for ever, if it failed."""
        began = time.monotonic()
        try:
            getattr(self, name)()
        except (redis.RedisError, psycopg.Error, OSError, http.client.HTTPException):
            return math.inf
        return time.monotonic() - began

    def felt(self, name, tries):
        """Whether one of so many tries failed or was slow."""
        return any(self.seconds(name) > SLOW for _ in range(tries))

    def well(self, name):
        """Whether none of some tries failed and they were fast in general; one may have hit a busy moment of the machine."""
        seconds = [self.seconds(name) for _ in range(7)]
        return max(seconds) < math.inf and statistics.median(seconds) < SLOW


SLOW = 0.1


@pytest.fixture
def clients(disturbed, redis_server):
    clients = Clients(disturbed)
    assert all(clients.well(name) for name in clients.at)
    return clients


def test_the_ten_profiles_are_there(disturbed):
    listed = json.dumps(disturbed.get_json("/v1/profiles"))
    assert all(f'"{name}"' in listed for name in EXPECTED)


# What feels it, within how many tries: a share of exchanges takes more of them. postgres-slow ramps up over 10 s.
FELT = {
    "redis-slow": ("redis", 60),
    "redis-down": ("redis", 20),
    "redis-flapping": ("redis", 20),
    "redis-errors": ("redis", 200),
    "postgres-slow": ("postgres", 200),
    "postgres-down": ("postgres", 20),
    "postgres-errors": ("postgres", 400),
    "api-errors": ("web", 300),
    "api-slow": ("web", 20),
}


@pytest.mark.parametrize("profile", FELT)
def test_a_profile_is_felt_by_its_upstream_alone_and_gone_afterwards(disturbed, clients, profile):
    name, tries = FELT[profile]
    with disturbed.profile(profile):
        assert clients.felt(name, tries), f"{profile} was not felt in {tries} tries"
        for other in {"redis", "postgres", "web"} - {name}:
            assert clients.well(other), f"{profile} touches {other}"
    eventually(f"{name} to be well again", lambda: clients.well(name) or None)


def test_network_bad_touches_every_proxy(disturbed, clients):
    with disturbed.profile("network-bad"):
        for name in ("redis", "postgres", "web"):
            clients.felt(name, 5)
    for proxy in ("redis", "postgres", "web"):
        assert sum(disturbed.counts(proxy, "injected").values()) > 0
    for name in ("redis", "postgres", "web"):
        eventually(f"{name} to be well again", lambda name=name: clients.well(name) or None)


def test_an_unknown_profile_is_not_found(disturbed):
    status, text = disturbed.request("POST", "/v1/profiles/redis-slwo/enable", {"ttl": "1m"})
    assert status == 404 and "redis-slow" in text, "the nearest name is offered"
