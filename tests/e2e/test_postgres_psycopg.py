"""psycopg 3 on libpq: simple and extended protocol, pipeline mode, COPY, notifications, cancelling, server-side cursors."""

import threading
import time

import psycopg
import pytest
from psycopg import pq


def connect(at, **options):
    options.setdefault("autocommit", True)
    return psycopg.connect(f"host={at.host} port={at.port} user=postgres dbname=postgres sslmode=disable", **options)


@pytest.fixture
def both(postgres_at, postgres_server):
    """Runs a scenario on a direct connection, then through the proxy, each in a schema of its own: same results."""

    def run(scenario, **options):
        results = []
        for at in (postgres_server, postgres_at):
            with connect(at, **options) as connection:
                connection.execute("drop schema if exists e2e cascade")
                connection.execute("create schema e2e")
                connection.execute("set search_path to e2e")
                results.append(scenario(connection))
        assert results[0] == results[1]
        return results[1]

    return run


def test_simple_queries_with_several_statements(both):
    def scenario(c):
        cursor = c.execute("create table t (n int); insert into t values (1), (2); select * from t; select count(*) from t")
        results = []
        while True:
            results.append((cursor.statusmessage, cursor.fetchall() if cursor.description else None))
            if not cursor.nextset():
                return results

    assert both(scenario)[-1] == ("SELECT 1", [(2,)])


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_parameters(both, binary):
    def scenario(c):
        with c.cursor(binary=binary) as cursor:
            return [
                cursor.execute("select %s::int, %s::text, %s::bytea, %s::jsonb", (n, "x" * n, b"\x00" * n, '{"a": 1}')).fetchone()
                for n in range(100)
            ]

    both(scenario)


def test_statements_prepared_by_the_driver(both):
    def scenario(c):
        c.prepare_threshold = 0
        results = [c.execute("select %s::int + 1", (n,)).fetchone() for n in range(50)]
        c.execute("deallocate all")
        return results

    both(scenario)


@pytest.mark.parametrize("depth", [1, 100, 3000])
def test_pipeline_mode(both, depth):
    def scenario(c):
        c.execute("create table t (n int primary key)")
        with c.pipeline(), c.cursor() as cursor:
            for n in range(depth):
                cursor.execute("insert into t values (%s)", (n,))
            cursor.execute("select count(*), sum(n) from t")
            return cursor.fetchone()

    both(scenario)


def test_an_error_inside_a_pipeline(both):
    def scenario(c):
        c.execute("create table t (n int primary key)")
        with pytest.raises(psycopg.errors.UniqueViolation), c.pipeline():
            for n in (1, 1, 2):
                c.execute("insert into t values (%s)", (n,))
        return c.execute("select count(*) from t").fetchone()

    both(scenario)


def test_pipelines_of_bare_libpq_calls(postgres_at, postgres_server):
    """Several Syncs in flight, one batch of them failing: the others answer."""

    def scenario(at):
        pgconn = pq.PGconn.connect(f"host={at.host} port={at.port} user=postgres dbname=postgres sslmode=disable".encode())
        assert pgconn.status == pq.ConnStatus.OK, pgconn.get_error_message()
        pgconn.enter_pipeline_mode()
        for sql in (b"select 1", b"select 1/0", b"select 2", b"select 3"):
            pgconn.send_query_params(sql, None)
            pgconn.pipeline_sync()
        seen, syncs = [], 0
        while syncs < 4:
            result = pgconn.get_result()
            if result is None:
                continue
            status = pq.ExecStatus(result.status)
            if status == pq.ExecStatus.PIPELINE_SYNC:
                syncs += 1
            else:
                seen.append((status.name, result.get_value(0, 0) if result.ntuples else None))
        pgconn.finish()
        return seen

    wanted = [("TUPLES_OK", b"1"), ("FATAL_ERROR", None), ("TUPLES_OK", b"2"), ("TUPLES_OK", b"3")]
    assert scenario(postgres_server) == wanted
    assert scenario(postgres_at) == wanted


def test_copy_in_and_out(both):
    def scenario(c):
        c.execute("create table t (n int, s text)")
        with c.cursor() as cursor:
            with cursor.copy("copy t from stdin") as copy:
                for n in range(50_000):
                    copy.write_row((n, "x" * (n % 200)))
            with cursor.copy("copy (select * from t order by n) to stdout (format binary)") as copy:
                out = b"".join(bytes(piece) for piece in copy)
        return len(out), hash(out), c.execute("select count(*), sum(length(s)) from t").fetchone()

    both(scenario)


def test_a_copy_that_the_client_gives_up(both):
    def scenario(c):
        c.execute("create table t (n int)")
        with pytest.raises(psycopg.errors.QueryCanceled), c.cursor() as cursor, cursor.copy("copy t from stdin") as copy:
            copy.write_row((1,))
            raise psycopg.errors.QueryCanceled("given up by the test")
        return c.execute("select count(*) from t").fetchone()

    assert both(scenario) == (0,)


def test_notifications(postgres_at):
    with connect(postgres_at) as listener, connect(postgres_at) as speaker:
        listener.execute("listen news")
        for n in range(100):
            speaker.execute("select pg_notify('news', %s)", (f"message {n}",))
        got = [notice.payload for notice in listener.notifies(timeout=5, stop_after=100)]
        assert got == [f"message {n}" for n in range(100)]
        assert listener.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("safe", [False, True], ids=["cancel", "cancel_safe"])
def test_cancelling(both, safe):
    def scenario(c):
        def cancel():
            time.sleep(0.3)
            c.cancel_safe(timeout=5) if safe else c.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("select pg_sleep(30)")
        thread.join()
        return c.execute("select 'alive'").fetchone()

    assert both(scenario) == ("alive",)


def test_server_side_cursors(both):
    def scenario(c):
        with c.transaction(), c.cursor("here", scrollable=True) as cursor:
            cursor.execute("select generate_series(1, 10000)")
            rows = [cursor.fetchone(), cursor.fetchmany(100)]
            cursor.scroll(-50)
            return [*rows, cursor.fetchmany(5), len(cursor.fetchall())]

    both(scenario)


def test_a_failed_transaction_stays_failed_until_rolled_back(both):
    def scenario(c):
        c.autocommit = False
        with pytest.raises(psycopg.errors.DivisionByZero):
            c.execute("select 1/0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            c.execute("select 1")
        c.rollback()
        value = c.execute("select 1").fetchone()
        c.commit()
        c.autocommit = True
        return value

    both(scenario)


def test_notices(both):
    def scenario(c):
        got = []
        c.add_notice_handler(lambda notice: got.append(notice.message_primary))
        for n in range(20):
            c.execute(f"do $$ begin raise notice 'notice {n}'; end $$")
        return got

    both(scenario)


def test_an_encryption_request_is_answered_as_the_server_does(postgres_at, postgres_server):
    for mode in ("prefer", "require"):
        outcomes = []
        for at in (postgres_server, postgres_at):
            try:
                with psycopg.connect(
                    f"host={at.host} port={at.port} user=postgres dbname=postgres sslmode={mode} gssencmode=disable"
                ) as c:
                    outcomes.append(c.execute("select 1").fetchone())
            except psycopg.OperationalError as e:
                outcomes.append("does not support SSL" in str(e))
        assert outcomes[0] == outcomes[1]


def test_statements_are_counted_once_each(postgres_at, postgres_counts):
    with connect(postgres_at) as c:
        c.execute("create temp table t (n int primary key)")
        with c.pipeline():
            for n in range(500):
                c.execute("insert into t values (%s)", (n,))
        with c.transaction():
            for _ in range(10):
                c.execute("select count(*) from t")
        with pytest.raises(psycopg.errors.UniqueViolation):
            c.execute("insert into t values (1)")
        with c.cursor() as cursor, cursor.copy("copy t to stdout") as copy:
            assert sum(1 for _ in copy) == 500
        c.execute("  /* a comment */ ( select 1 )")
    postgres_counts.expect(
        {"create": 1, "insert": 501, "begin": 1, "select": 11, "commit": 1, "copy": 1},
        ignore=("prepare",),
        errors={"insert": 1},
    )


@pytest.mark.proxy
def test_the_literals_of_a_statement_stay_secret(postgres_at, brownout):
    with connect(postgres_at) as c:
        c.execute("select 'canary-literal-1', /* canary-comment */ %s", ("canary-argument-2",))
        with pytest.raises(psycopg.Error):
            c.execute("select 'canary-literal-3'::int")
    for place in (brownout.stderr, *(brownout.get(path)[1] for path in ("/v1/stats", "/v1/proxies", "/metrics"))):
        assert "canary" not in place
