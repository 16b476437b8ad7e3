"""asyncpg: the extended protocol with named statements, binary values, COPY, and cancelling by a connection of its own."""

import asyncio
import datetime
import decimal
import uuid

import asyncpg
import pytest
from harness.proxy import DIRECT


async def connect(at, **options):
    return await asyncpg.connect(host=at.host, port=at.port, user="postgres", database="postgres", ssl=False, **options)


@pytest.fixture
def both(postgres_at, postgres_server):
    """Runs a scenario on a direct connection, then through the proxy, each in a schema of its own: same results."""

    async def run(scenario, **options):
        results = []
        for at in (postgres_server, postgres_at):
            connection = await connect(at, **options)
            try:
                await connection.execute("drop schema if exists e2e cascade; create schema e2e; set search_path to e2e")
                results.append(await scenario(connection))
            finally:
                await connection.close()
        assert results[0] == results[1]
        return results[1]

    return run


async def test_every_type_of_value(both):
    row = (
        *(1, 2.5, "text \u00e9\U0001f600", b"\x00\xff", True, None, decimal.Decimal("12345.678901"), [1, None, 3]),
        *(uuid.UUID(int=7), datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC), datetime.timedelta(5, 6)),
    )
    types = "int8 float8 text bytea bool text numeric int4[] uuid timestamptz interval".split()

    async def scenario(c):
        placeholders = ", ".join(f"${n + 1}::{kind}" for n, kind in enumerate(types))
        return tuple(await c.fetchrow(f"select {placeholders}", *row))

    assert await both(scenario) == row


async def test_prepared_statements(both):
    async def scenario(c):
        statement = await c.prepare("select $1::int * 2")
        results = [await statement.fetchval(n) for n in range(200)]
        await c.execute("create table t (n int primary key, s text)")
        await c.executemany("insert into t values ($1, $2)", [(n, f"row {n}") for n in range(1000)])
        results.append(await c.fetchval("select sum(n) from t"))
        results.append(await c.fetch("select * from t where n < $1", 5))
        return results

    await both(scenario)


async def test_a_large_result_and_a_large_argument(both):
    async def scenario(c):
        rows = await c.fetch("select n, repeat('x', 1000) from generate_series(1, 20000) n")
        return len(rows), await c.fetchval("select length($1::text)", "y" * (16 << 20))

    assert await both(scenario) == (20_000, 16 << 20)


async def test_transactions_and_savepoints(both):
    async def scenario(c):
        await c.execute("create table t (n int primary key)")
        async with c.transaction():
            await c.execute("insert into t values (1)")
            with pytest.raises(asyncpg.UniqueViolationError):
                async with c.transaction():
                    await c.execute("insert into t values (1)")
            await c.execute("insert into t values (2)")
        with pytest.raises(ZeroDivisionError):
            async with c.transaction(isolation="serializable"):
                await c.execute("insert into t values (3)")
                raise ZeroDivisionError
        return [r["n"] for r in await c.fetch("select n from t order by n")]

    assert await both(scenario) == [1, 2]


async def test_errors_carry_their_sqlstate(both):
    async def scenario(c):
        states = []
        for sql in ("select 1/0", "select * from nowhere", "sele", "select 'x'::int"):
            with pytest.raises(asyncpg.PostgresError) as error:
                await c.fetch(sql)
            states.append(error.value.sqlstate)
        return states, await c.fetchval("select 1")

    assert await both(scenario) == (["22012", "42P01", "42601", "22P02"], 1)


async def test_cursors(both):
    async def scenario(c):
        async with c.transaction():
            rows = [r[0] async for r in c.cursor("select generate_series(1, 1000)", prefetch=7)]
            cursor = await c.cursor("select generate_series(1, 100)")
            return rows, await cursor.fetch(10), await cursor.forward(20), await cursor.fetchrow()

    await both(scenario)


@pytest.mark.parametrize("rows", [1, 100_000])
async def test_copy_in_and_out(both, rows):
    async def scenario(c):
        await c.execute("create table t (n int, s text)")
        copied = await c.copy_records_to_table("t", schema_name="e2e", records=((n, f"row {n}") for n in range(rows)))
        out = []

        async def sink(data):
            out.append(data)

        done = await c.copy_from_query("select * from t order by n", output=sink)
        return copied, done, b"".join(out)

    await both(scenario)


async def test_a_copy_that_fails(both):
    async def scenario(c):
        await c.execute("create table t (n int primary key)")
        with pytest.raises(asyncpg.UniqueViolationError):
            await c.copy_records_to_table("t", schema_name="e2e", records=[(1,), (1,)])
        return await c.fetchval("select count(*) from t")

    assert await both(scenario) == 0


async def test_cancelling_by_timeout(both):
    """asyncpg cancels by a CancelRequest on a connection of its own, which must reach the same backend."""

    async def scenario(c):
        began = asyncio.get_running_loop().time()
        with pytest.raises(asyncio.TimeoutError):
            await c.fetch("select pg_sleep(60)", timeout=0.3)
        assert asyncio.get_running_loop().time() - began < 10
        return await c.fetchval("select 'alive'")

    assert await both(scenario) == "alive"


async def test_notifications(postgres_at):
    listener, speaker = await connect(postgres_at), await connect(postgres_at)
    try:
        got = asyncio.Queue()
        await listener.add_listener("news", lambda _c, _pid, _channel, payload: got.put_nowait(payload))
        for n in range(100):
            await speaker.execute("select pg_notify('news', $1)", f"message {n}")
        assert [await asyncio.wait_for(got.get(), 5) for _ in range(100)] == [f"message {n}" for n in range(100)]
        assert await listener.fetchval("select 1") == 1
    finally:
        await listener.close()
        await speaker.close()


async def test_a_pool_under_load(postgres_at, postgres_counts):
    options = dict(host=postgres_at.host, port=postgres_at.port, user="postgres", database="postgres", ssl=False)
    async with asyncpg.create_pool(min_size=10, max_size=10, **options) as pool:

        async def work(n):
            async with pool.acquire() as c:
                return await c.fetchval("select $1::int", n)

        assert await asyncio.gather(*(work(n) for n in range(1000))) == list(range(1000))
    if not DIRECT:
        # A released connection is reset by statements of asyncpg's own: each work is one SELECT, its reset at most one more.
        assert 1000 <= postgres_counts.difference()["select"] <= 2000


async def test_statements_are_counted_once_each(postgres_at, postgres_counts):
    c = await connect(postgres_at)
    try:
        await c.execute("create temp table t (n int)")
        for n in range(20):
            await c.execute("insert into t values ($1)", n)
        for _ in range(30):
            await c.fetchval("select count(*) from t")
        await c.execute("update t set n = n + 1 where n < 5")
        await c.execute("delete from t where n = 1")
        async with c.transaction():
            await c.fetchval("select 1")
        with pytest.raises(asyncpg.PostgresError):
            await c.execute("select 1/0")
    finally:
        await c.close()
    expected = {"create": 1, "insert": 20, "select": 32, "update": 1, "delete": 1, "begin": 1, "commit": 1}
    # asyncpg prepares in a round trip of its own: Parse and Describe without Execute.
    postgres_counts.expect(expected, ignore=("prepare",), errors={"select": 1})
