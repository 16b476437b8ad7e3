"""Every action on Postgres and HTTP traffic, as psycopg and Python's HTTP client meet it."""

import contextlib
import http.client
import time

import psycopg
import pytest

pytestmark = pytest.mark.proxy


@pytest.fixture
def connection(disturbed):
    at = disturbed.endpoint("postgres")
    with connect(at) as c:
        yield c


def connect(at):
    conninfo = f"host={at.host} port={at.port} user=postgres dbname=postgres sslmode=disable connect_timeout=3"
    return psycopg.connect(conninfo, autocommit=True)


class Web:
    """Requests to the web proxy, on one connection as long as it lives."""

    def __init__(self, at):
        self.connection = http.client.HTTPConnection(at.address, timeout=5)

    def __call__(self, path, method="GET", body=None):
        began = time.monotonic()
        self.connection.request(method, path, body)
        reply = self.connection.getresponse()
        return reply.status, reply.read(), dict(reply.getheaders()), time.monotonic() - began


@pytest.fixture
def web(disturbed):
    web = Web(disturbed.endpoint("web"))
    with contextlib.closing(web.connection):
        yield web


def timed(c, sql):
    began = time.monotonic()
    row = c.execute(sql).fetchone()
    return row, time.monotonic() - began


def test_postgres_latency(disturbed, connection, web):
    connection.execute("create temp table t (n int)")
    with disturbed.fault(proxy="postgres", action="latency", delay="100ms", match={"class": "read"}):
        row, seconds = timed(connection, "select 1")
        assert row == (1,) and 0.1 <= seconds < 0.3
        began = time.monotonic()
        connection.execute("insert into t values (1)")
        assert time.monotonic() - began < 0.09
        assert web("/hello")[3] < 0.09
    assert timed(connection, "select 1")[1] < 0.09


def test_postgres_latency_of_a_pipeline_runs_side_by_side(disturbed, connection):
    with disturbed.fault(proxy="postgres", action="latency", delay="100ms", match={"operation": "SELECT"}):
        began = time.monotonic()
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (n,)) for n in range(20)]
            rows = [cursor.fetchone()[0] for cursor in cursors]
        assert rows == list(range(20)) and time.monotonic() - began < 1


def test_postgres_error_outside_a_transaction(disturbed, connection):
    connection.execute("create temp table t (n int)")
    spec = dict(proxy="postgres", action="error", preset="serialization_failure", match={"operation": "INSERT"})
    with disturbed.fault(**spec):
        # Without parameters, psycopg uses the simple protocol only if told so: both are tried.
        for sql in ("insert into t values (1)", "insert into t values (2), (3)"):
            with pytest.raises(psycopg.errors.SerializationFailure):
                psycopg.ClientCursor(connection).execute(sql)
        assert timed(connection, "select count(*) from t")[0] == (0,), "the server never saw it"
    connection.execute("insert into t values (1)")
    assert timed(connection, "select count(*) from t")[0] == (1,)


def test_postgres_error_that_cannot_be_applied_is_counted_as_skipped(disturbed, connection):
    connection.execute("create temp table t (n int)")
    spec = dict(proxy="postgres", action="error", preset="deadlock_detected", match={"operation": "INSERT"})
    with disturbed.fault(**spec):
        try:
            with connection.transaction():
                psycopg.ClientCursor(connection).execute("insert into t values (1)")
            assert timed(connection, "select count(*) from t")[0] == (1,)
            assert disturbed.metric("brownout_faults_total", proxy="postgres", outcome="skipped") >= 1
        except psycopg.errors.DeadlockDetected:
            # Applied after all: then as the real error does it, the whole transaction is gone.
            assert timed(connection, "select count(*) from t")[0] == (0,)
    assert timed(connection, "select 1")[0] == (1,)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(("when", "rows"), [("before", 0), ("after", 1)])
def test_postgres_disconnect(disturbed, postgres_server, how, when, rows):
    postgres_server.query("drop table if exists cut; create table cut (n int)")
    with connect(disturbed.endpoint("postgres")) as c:
        with disturbed.fault(proxy="postgres", action="disconnect", how=how, when=when, match={"operation": "INSERT"}):
            with pytest.raises(psycopg.OperationalError):
                psycopg.ClientCursor(c).execute("insert into cut values (1)")
    time.sleep(0.3)
    assert postgres_server.query("select count(*) from cut") == f"{rows}\n"


@pytest.mark.parametrize("how", ["closed", "reset", "silent"])
def test_postgres_refuse(disturbed, connection, how):
    at = disturbed.endpoint("postgres")
    with disturbed.fault(proxy="postgres", action="refuse", how=how):
        time.sleep(0.05)
        with pytest.raises(psycopg.OperationalError):
            connect(at)
        assert timed(connection, "select 1")[0] == (1,), "open sessions are kept by default"
    time.sleep(0.05)
    with connect(at) as c:
        assert timed(c, "select 1")[0] == (1,)


def test_postgres_stall_and_its_end(disturbed, connection):
    with disturbed.fault(proxy="postgres", action="stall", match={"operation": "SELECT"}):
        other = connection.pgconn
        other.send_query(b"select 1")
        time.sleep(0.5)
        other.consume_input()
        assert other.is_busy()
    result = other.get_result()
    assert result.get_value(0, 0) == b"1"
    assert other.get_result() is None


def test_http_latency_by_route_and_method(disturbed, web):
    match = {"route": "/items/*", "method": "GET"}
    with disturbed.fault(proxy="web", action="latency", delay="100ms", match=match):
        status, body, _, seconds = web("/items/5")
        assert (status, body) == (200, b"item 5\n") and 0.1 <= seconds < 0.3
        assert web("/hello")[3] < 0.09
        assert web("/items/5", "DELETE")[3] < 0.09
    assert web("/items/5")[3] < 0.09


def test_http_error(disturbed, web):
    fault = dict(proxy="web", action="error", status=503, headers={"Retry-After": "7"}, body="down\n", match={"route": "/hello"})
    with disturbed.fault(**fault):
        status, body, headers, _ = web("/hello")
        assert (status, body, headers["Retry-After"]) == (503, b"down\n", "7")
        status, body, headers, _ = web("/hello", "HEAD")
        assert (status, body, headers["Content-Length"]) == (503, b"", "5")
        assert web("/items/1")[:2] == (200, b"item 1\n"), "the connection lives on"
    assert web("/hello")[:2] == (200, b"hello\n")


def test_http_error_to_a_request_with_a_body(disturbed, web):
    with disturbed.fault(proxy="web", action="error", preset="429", match={"method": "POST"}):
        assert web("/echo", "POST", b"x" * 10_000)[0] == 429
        assert web("/hello")[0] == 200
    assert web("/echo", "POST", b"x" * 10_000)[:2] == (200, b"x" * 10_000)


@pytest.mark.parametrize("when", ["before", "after"])
def test_http_disconnect(disturbed, web, when):
    with disturbed.fault(proxy="web", action="disconnect", how="rst", when=when, match={"route": "/hello"}):
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            web("/hello")
    web.connection.close()
    assert web("/hello")[0] == 200


def test_http_disconnect_inside_a_body(disturbed, web):
    fault = dict(proxy="web", action="disconnect", how="fin", when="inside", bytes=5000)
    with disturbed.fault(match={"route": "/bytes/*"}, **fault):
        with pytest.raises(http.client.IncompleteRead):
            web("/bytes/100000")


def test_http_timeout(disturbed, web):
    with disturbed.fault(proxy="web", action="timeout", close_after="300ms", match={"route": "/hello"}):
        began = time.monotonic()
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            web("/hello")
        assert 0.3 <= time.monotonic() - began < 1
