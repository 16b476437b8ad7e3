"""Fixtures: servers once a run, one proxy process for the tests that disturb nothing, a fresh one for those that do."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.proxy import DIRECT, Brownout, Counting, Endpoint  # noqa: E402
from harness.servers import Nginx, Postgres, Redis, Web  # noqa: E402

needs_proxy = pytest.mark.skipif(DIRECT, reason="asks the proxy, and this run goes straight to the servers")


def pytest_configure(config):
    config.addinivalue_line("markers", "proxy: asks the proxy itself; skipped in direct mode")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("proxy"):
            item.add_marker(needs_proxy)


def _server(kind):
    server = kind()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server():
    yield from _server(Redis)


@pytest.fixture(scope="session")
def postgres_server():
    yield from _server(Postgres)


@pytest.fixture(scope="session")
def web_server():
    yield from _server(Web)


@pytest.fixture(scope="session")
def nginx_server():
    yield from _server(Nginx)


@pytest.fixture(scope="session")
def proxies(redis_server, postgres_server, web_server):
    return [
        ("redis", "redis", redis_server),
        ("postgres", "postgres", postgres_server),
        ("http", "web", web_server),
    ]


@pytest.fixture(scope="module")
def brownout(proxies):
    """The proxy process of one test module, without faults."""
    if DIRECT:
        yield None
        return
    process = Brownout(proxies)
    yield process
    process.stop()


@pytest.fixture
def disturbed(proxies):
    """A proxy process of one test alone, which may switch on what it likes."""
    if DIRECT:
        pytest.skip("faults need the proxy")
    process = Brownout(proxies)
    yield process
    process.stop()


def _endpoint(brownout, name, server):
    return Endpoint(name, server.host, server.port) if DIRECT else brownout.endpoint(name)


@pytest.fixture(scope="module")
def redis_at(brownout, redis_server):
    return _endpoint(brownout, "redis", redis_server)


@pytest.fixture(scope="module")
def postgres_at(brownout, postgres_server):
    return _endpoint(brownout, "postgres", postgres_server)


@pytest.fixture(scope="module")
def web_at(brownout, web_server):
    return _endpoint(brownout, "web", web_server)


@pytest.fixture
def redis_counts(brownout):
    return Counting(brownout, "redis")


@pytest.fixture
def postgres_counts(brownout):
    return Counting(brownout, "postgres")


@pytest.fixture
def web_counts(brownout):
    return Counting(brownout, "web")


@pytest.fixture(autouse=True)
def empty_redis(request):
    """Redis tests begin with an empty database."""
    if "redis_server" in request.fixturenames:
        request.getfixturevalue("redis_server").command("FLUSHALL")
