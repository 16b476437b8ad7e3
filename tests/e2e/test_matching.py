"""What a fault is about, as drivers bring it: names, databases and users by their own settings, statements as they prepare them."""

import asyncio
import http.client
import time

import asyncpg
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

pytestmark = pytest.mark.proxy

DEADLOCK = dict(action="error", preset="deadlock_detected", proxy="postgres")
LOADING = dict(action="error", preset="LOADING", proxy="redis")


@pytest.fixture
def postgres_at(disturbed, postgres_server):
    postgres_server.query(
        "drop table if exists orders, parts; create table orders (n int); create table parts (n int);"
        "drop role if exists reporter; create role reporter login superuser"
    )
    return disturbed.endpoint("postgres")


def hit(disturbed, name="e2e"):
    return disturbed.get_json(f"/v1/faults/{name}")["injected"]


def by_psycopg(at, sql, **options):
    """The SQLSTATE with which it failed, or nothing."""
    options = {"user": "postgres", "dbname": "postgres"} | options
    with psycopg.connect(host=at.host, port=at.port, sslmode="disable", autocommit=True, **options) as c:
        try:
            # With a parameter: the extended protocol.
            c.execute(sql + " returning %s", ("x",)) if sql.startswith(("insert", "update")) else c.execute(sql)
        except psycopg.Error as error:
            return error.sqlstate
    return None


def by_asyncpg(at, *statements, **options):
    async def run():
        options.setdefault("database", "postgres")
        options.setdefault("user", "postgres")
        c = await asyncpg.connect(host=at.host, port=at.port, ssl=False, **options)
        outcomes = []
        for sql in statements:
            try:
                await c.fetch(sql)
                outcomes.append(None)
            except asyncpg.PostgresError as error:
                outcomes.append(error.sqlstate)
        await c.close()
        return outcomes

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("match", "hits", "misses"),
    [
        ({"application_name": "worker-*"}, {"application_name": "worker-7"}, {"application_name": "web"}),
        ({"client_name": "worker-*"}, {"application_name": "worker-7"}, {}),
        ({"user": "reporter"}, {"user": "reporter"}, {}),
        ({"database": "template1"}, {"dbname": "template1"}, {}),
    ],
)
def test_a_postgres_session_by_what_psycopg_says_of_it(disturbed, postgres_at, match, hits, misses):
    with disturbed.fault(match=match | {"operation": "SELECT"}, **DEADLOCK):
        assert by_psycopg(postgres_at, "select 1", **misses) is None
        assert hit(disturbed) == 0
        assert by_psycopg(postgres_at, "select 1", **hits) == "40P01"
        assert hit(disturbed) == 1
    assert by_psycopg(postgres_at, "select 1", **hits) is None


@pytest.mark.parametrize(
    ("match", "hits", "misses"),
    [
        ({"application_name": "job-?"}, {"server_settings": {"application_name": "job-1"}}, {}),
        ({"user": "reporter"}, {"user": "reporter"}, {}),
        ({"database": "template1"}, {"database": "template1"}, {}),
    ],
)
def test_a_postgres_session_by_what_asyncpg_says_of_it(disturbed, postgres_at, match, hits, misses):
    with disturbed.fault(match=match | {"operation": "SELECT"}, **DEADLOCK):
        assert by_asyncpg(postgres_at, "select 1", **misses) == [None]
        assert by_asyncpg(postgres_at, "select 1", **hits) == ["40P01"]
    assert by_asyncpg(postgres_at, "select 1", **hits) == [None]


ORDERS = "insert into orders values (1)"
PARTS = "insert into parts values (1)"


@pytest.mark.parametrize("match", [{"table": "orders"}, {"sql": "^insert into orders"}, {"sql": "ORDERS", "table": "public.*"}])
def test_statements_by_table_and_text(disturbed, postgres_at, match):
    if "table" in match and match["table"] == "public.*":
        orders, parts = ORDERS.replace("orders", "public.orders"), PARTS.replace("parts", "public.parts")
    else:
        orders, parts = ORDERS, PARTS
    with disturbed.fault(match=match, **DEADLOCK):
        assert by_psycopg(postgres_at, parts) is None
        assert by_psycopg(postgres_at, orders) == "40P01"
        assert by_asyncpg(postgres_at, parts, orders, parts) == [None, "40P01", None]
        # What is in a literal is no table, and no text.
        assert by_psycopg(postgres_at, "select 'insert into orders', 'from orders'") is None
    assert by_psycopg(postgres_at, orders) is None


def test_a_statement_that_was_prepared_before_the_fault(disturbed, postgres_at):
    async def run():
        c = await asyncpg.connect(host=postgres_at.host, port=postgres_at.port, user="postgres", database="postgres", ssl=False)
        statement = await c.prepare("select count(*) from orders where n > $1")
        assert await statement.fetchval(0) == 0
        with disturbed.fault(match={"table": "orders"}, **DEADLOCK):
            with pytest.raises(asyncpg.DeadlockDetectedError):
                await statement.fetchval(0)
        assert await statement.fetchval(0) == 0
        await c.close()

    asyncio.run(run())


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    ("match", "hits", "misses"),
    [
        ({"client_name": "worker-*"}, {"client_name": "worker-7"}, {"client_name": "web"}),
        ({"database": "2"}, {"db": 2}, {"db": 1}),
        ({"user": "tester"}, {"username": "tester", "password": "tester-password"}, {}),
    ],
)
def test_a_redis_session_by_what_redis_py_says_of_it(disturbed, redis_server, protocol, match, hits, misses):
    at = disturbed.endpoint("redis")

    def get(**options):
        with redis.Redis(at.host, at.port, protocol=protocol, retry=Retry(NoBackoff(), 0), **options) as client:
            return client.get("k")

    with disturbed.fault(match=match | {"operation": "GET"}, **LOADING):
        assert get(**misses) is None
        with pytest.raises(redis.exceptions.BusyLoadingError):
            get(**hits)
        assert hit(disturbed) == 1
    assert get(**hits) is None


def test_keys_of_redis_commands(disturbed, redis_server):
    at = disturbed.endpoint("redis")
    with redis.Redis(at.host, at.port, retry=Retry(NoBackoff(), 0)) as client:
        client.mset({"user:1": 1, "cart:1": 2})
        with disturbed.fault(match={"key": "user:*"}, **LOADING):
            assert client.get("cart:1") == b"2"
            for work in (
                lambda: client.get("user:1"),
                lambda: client.mget("cart:1", "user:1"),
                lambda: client.eval("return redis.call('get', KEYS[1])", 1, "user:1"),
                lambda: client.rename("cart:1", "user:2"),
            ):
                with pytest.raises(redis.exceptions.BusyLoadingError):
                    work()
            # A value is no key.
            assert client.set("cart:2", "user:1")
        assert client.get("user:1") == b"1"


def test_many_faults_on_other_keys_hit_nothing_and_the_right_one_hits(disturbed, redis_server):
    at = disturbed.endpoint("redis")
    with redis.Redis(at.host, at.port, retry=Retry(NoBackoff(), 0)) as client:
        for number in range(50):
            spec = dict(LOADING, name=f"key-{number}", match={"operation": "GET", "key": f"session:{number}:*"})
            assert disturbed.request("POST", "/v1/faults", spec)[0] == 201
        assert client.get("session:x:1") is None
        assert client.get("session:50:1") is None
        with pytest.raises(redis.exceptions.BusyLoadingError):
            client.get("session:49:1")
        injected = {number: hit(disturbed, f"key-{number}") for number in range(50)}
        assert {number for number, hits in injected.items() if hits} == {49}


@pytest.mark.parametrize(
    ("match", "hits", "misses"),
    [
        ({"header": {"name": "X-Tenant", "value": "acme*"}}, {"x-tenant": "acme-2"}, {"X-Tenant": "other"}),
        ({"client_name": "curl/*"}, {"User-Agent": "curl/8"}, {"User-Agent": "python"}),
        (
            {"header": [{"name": "X-Tenant", "value": "acme"}, {"name": "X-Canary", "value": "*"}]},
            {"X-Canary": "1"},
            {"X-Other": "1"},
        ),
    ],
)
def test_http_requests_by_their_headers(disturbed, match, hits, misses):
    at = disturbed.endpoint("web")

    def status(headers):
        connection = http.client.HTTPConnection(at.host, at.port, timeout=5)
        connection.request("GET", "/hello", headers=headers)
        reply = connection.getresponse()
        reply.read()
        connection.close()
        return reply.status

    with disturbed.fault(proxy="web", action="error", status=503, match=match):
        assert status(misses) == 200
        assert status(hits) == 503
    assert status(hits) == 200


def incr(at, times, name="n"):
    """Which of so many commands on a new connection were answered with an error, counted from 1."""
    with redis.Redis(host=at.host, port=at.port, retry=Retry(NoBackoff(), 0)) as client:
        failed = []
        for number in range(1, times + 1):
            try:
                client.incr(name)
            except redis.ResponseError:
                failed.append(number)
        return failed


OOM = dict(action="error", preset="OOM", proxy="redis", match={"operation": "INCR*"})


@pytest.mark.parametrize(
    "gates, hits, of_a_second_session",
    [
        ({}, list(range(1, 21)), None),
        ({"after": 4, "every": 5}, [9, 14, 19], None),
        ({"after": 4, "every": 5, "first": 2}, [9, 14], []),
        ({"every": 3, "per_second": 2}, [3, 6], None),
        ({"probability": 1.0, "after": 18}, [19, 20], list(range(1, 21))),
        ({"after": 1, "scope": "session"}, [], list(range(1, 21))),
        ({"every": 2, "scope": "session"}, [], list(range(1, 21))),
        ({"every": 2, "ttl": "2h", "schedule": {"start": "1h"}}, [], []),
        ({"every": 2, "schedule": {"ramp": "12h"}}, [], []),
        ({"every": 4, "schedule": {"duration": "1h", "repeat": "2h"}}, [4, 8, 12, 16, 20], [4, 8, 12, 16, 20]),
    ],
)
def test_gates_and_schedules_together(disturbed, redis_server, gates, hits, of_a_second_session):
    at = disturbed.endpoint("redis")
    with disturbed.fault(**OOM, **gates):
        assert incr(at, 20) == hits
        assert hit(disturbed) == len(hits)
        if of_a_second_session is not None:
            assert incr(at, 20) == of_a_second_session


def test_the_time_to_live_ends_it_wherever_the_schedule_stands(disturbed, redis_server):
    at = disturbed.endpoint("redis")
    spec = OOM | {"name": "brief", "ttl": "1s", "schedule": {"duration": "1h"}}
    assert disturbed.request("POST", "/v1/faults", spec)[0] == 201
    shown = 'brownout_fault_active{fault="brief",profile="",proxy="redis"} 1'
    assert incr(at, 3) == [1, 2, 3]
    assert shown in disturbed.get("/metrics")[1].splitlines()
    time.sleep(1.2)
    assert incr(at, 3) == []
    assert "brief" not in disturbed.get("/metrics")[1]
