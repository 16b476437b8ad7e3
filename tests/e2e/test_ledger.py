"""Outcomes that no client can know: what the service sees is the same, the truth is opposite, and the ledger tells it."""

import asyncio
import contextlib
import json
import subprocess
import urllib.parse
import urllib.request

import asyncpg
import psycopg
import pytest
import redis
import sqlalchemy
import urllib3
from harness.process import eventually
from harness.proxy import binary

pytestmark = pytest.mark.proxy


def ledger(brownout, **query):
    """The entries that the query takes, once they have ended."""
    path = "/v1/ledger?" + urllib.parse.urlencode(query)

    def ended():
        entries = brownout.get_json(path)["entries"]
        return entries if entries and not any(e["open"] for e in entries) else None

    return eventually(f"entries of {path}", ended)


def truth(entry):
    """What the server saw, its tag, and what the client was told."""
    return entry["server"], entry["tag"], entry["told"]


# --- COMMIT, by four clients ---


def dsn(at):
    return f"postgresql://postgres@{at.address}/postgres?sslmode=disable"


def psycopg_commits(at, n):
    connection = psycopg.connect(dsn(at), connect_timeout=5)
    connection.execute("insert into orders values (%s)", (n,))
    connection.commit()


def asyncpg_commits(at, n):
    async def run():
        connection = await asyncpg.connect(dsn(at), timeout=5)
        try:
            async with connection.transaction():
                await connection.execute("insert into orders values ($1)", n)
        finally:
            connection.terminate()

    asyncio.run(run())


def sqlalchemy_commits(at, n):
    engine = sqlalchemy.create_engine(dsn(at).replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("insert into orders values (:n)"), {"n": n})
    finally:
        engine.dispose()


COMMITS = [psycopg_commits, asyncpg_commits, sqlalchemy_commits]


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize("commit", COMMITS, ids=lambda f: f.__name__.removesuffix("_commits"))
def test_a_lost_commit_looks_the_same_to_the_client_and_not_to_the_ledger(disturbed, postgres_server, commit, how):
    postgres_server.query("drop table if exists orders; create table orders (n int)")
    at = disturbed.endpoint("postgres")
    seen = {}
    for action in ("lose_request", "lose_reply"):
        postgres_server.query("truncate orders")
        spec = dict(name=action, proxy="postgres", action=action, how=how, match={"operation": "COMMIT"}, first=1)
        with disturbed.fault(**spec):
            with pytest.raises(Exception) as failure:
                commit(at, 1)
            rows = eventually("the server to settle", lambda: settled(postgres_server))
            assert rows == {"lose_request": 0, "lose_reply": 1}[action]
            # The service does what it must not do without looking: the whole transaction again.
            commit(at, 1)
            rows = eventually("the server to settle", lambda: settled(postgres_server))
            assert rows == {"lose_request": 1, "lose_reply": 2}[action]
        seen[action] = (type(failure.value), str(failure.value))
    assert seen["lose_request"] == seen["lose_reply"]

    (lost,) = ledger(disturbed, fault="lose_request")
    assert truth(lost) == ("nothing", None, "nothing") and lost["status"] == "closed"
    (done,) = ledger(disturbed, fault="lose_reply")
    assert truth(done) == ("completed", "COMMIT", "nothing") and done["status"] == "closed"
    for entry in (lost, done):
        assert entry["operation"] == "COMMIT" and entry["class"] == "transaction"
        again = entry["retry"]
        assert again["session"] > entry["session"]
        assert (again["server"], again["tag"], again["status"]) == ("completed", "COMMIT", "ok")
    assert ledger(disturbed, duplicates="true") == [done]


def settled(server):
    """The rows, once no transaction is under way."""
    busy = server.query("select count(*) from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid()")
    return int(server.query("select count(*) from orders")) if busy == "0\n" else None


# --- what retries by itself ---


def test_a_client_that_retries_counts_twice_and_the_ledger_says_so(disturbed, redis_server):
    at = disturbed.endpoint("redis")
    with disturbed.fault(name="lost", proxy="redis", action="lose_reply", match={"operation": "INCRBY"}, first=1):
        # As it comes: it retries, and tells nobody.
        with redis.Redis(at.host, at.port) as client:
            assert client.incr("visits") == 2
    (entry,) = ledger(disturbed)
    assert truth(entry) == ("completed", "integer", "nothing")
    again = entry["retry"]
    assert (again["server"], again["tag"], again["status"]) == ("completed", "integer", "ok")
    assert again["session"] == entry["session"] + 1 and again["after_us"] > 0
    assert ledger(disturbed, duplicates="true") == [entry]

    with disturbed.fault(name="never", proxy="redis", action="lose_request", match={"operation": "INCRBY"}, first=1):
        with redis.Redis(at.host, at.port) as client:
            assert client.incr("visits") == 3
    (entry,) = ledger(disturbed, fault="never")
    assert truth(entry) == ("nothing", None, "nothing") and entry["retry"]["server"] == "completed"
    assert len(ledger(disturbed, duplicates="true")) == 1


def test_a_client_that_times_out_and_retries_does_it_twice(disturbed, redis_server):
    at = disturbed.endpoint("redis")
    spec = dict(name="late", proxy="redis", action="latency", delay="5s", on="reply", match={"operation": "INCRBY"}, first=1)
    with disturbed.fault(**spec), redis.Redis(at.host, at.port, socket_timeout=0.5) as client:
        assert client.incr("visits") == 2
    (entry,) = ledger(disturbed)
    # The reply was sent after the client had left: that is not telling.
    assert truth(entry) == ("completed", "integer", "nothing") and entry["reply_delay_us"] == 5_000_000
    assert entry["retry"]["tag"] == "integer"
    assert ledger(disturbed, duplicates="true") == [entry]


def test_a_post_that_is_retried_is_appended_twice(disturbed, web_server):
    at = disturbed.endpoint("web")
    with disturbed.fault(name="lost", proxy="web", action="lose_reply", match={"method": ["POST"]}, first=1):
        retries = urllib3.Retry(total=3, allowed_methods=None, backoff_factor=0)
        with contextlib.closing(urllib3.HTTPConnectionPool(at.host, at.port, retries=retries, timeout=5)) as pool:
            assert pool.request("POST", "/append/orders", body=b"one order").status == 201
    with urllib.request.urlopen(f"http://{web_server.address}/appended/orders") as counted:
        assert counted.read() == b"2"
    (entry,) = ledger(disturbed)
    assert truth(entry) == ("completed", "201", "nothing")
    assert (entry["retry"]["server"], entry["retry"]["tag"]) == ("completed", "201")
    assert ledger(disturbed, duplicates="true") == [entry]


def test_an_error_that_is_retried_was_never_done(disturbed, redis_server):
    at = disturbed.endpoint("redis")
    with disturbed.fault(name="busy", proxy="redis", action="error", preset="LOADING", match={"operation": "SET"}, first=1):
        with redis.Redis(at.host, at.port) as client:
            assert client.set("key", "value")
    (entry,) = ledger(disturbed)
    assert truth(entry) == ("nothing", None, "injected") and entry["status"] == "LOADING"
    assert entry["retry"]["tag"] == "OK"


def test_of_a_cut_reply_the_bytes_are_counted(disturbed, web_server):
    at = disturbed.endpoint("web")
    spec = dict(name="cut", proxy="web", action="disconnect", when="inside", bytes=40, match={"route": "/bytes/*"})
    status, text = disturbed.request("POST", "/v1/faults", spec)
    assert status == 201, text
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"http://{at.address}/bytes/100000", timeout=5, retries=False)
    (entry,) = ledger(disturbed)
    assert (entry["told"], entry["told_bytes"], entry["status"]) == ("partial", 40, "closed")
    assert entry["server"] in ("request", "completed")


# --- how it is read ---


def test_the_command_shows_the_same_and_no_payload_is_in_it(disturbed, redis_server, postgres_server):
    at = disturbed.endpoint("redis")
    postgres = disturbed.endpoint("postgres")
    with disturbed.fault(name="slow", proxy="*", action="latency", delay="1ms"):
        with redis.Redis(at.host, at.port) as client:
            client.set("canary-key", "canary-value")
            client.get("canary-key")
            client.eval("return {ok='canary-status'}", 0)
            with pytest.raises(redis.ResponseError):
                client.eval("return {err='canary-error'}", 0)
        with psycopg.connect(dsn(postgres)) as connection:
            connection.execute("select 'canary-literal' as \"canary-column\"")
            with pytest.raises(psycopg.Error):
                connection.execute("select canary_name")
    ledger(disturbed)

    def run(*arguments):
        command = [binary(), "ledger", "--admin", disturbed.admin, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == "", done
        return done.stdout

    table, document, canonical = run(), run("--output", "json"), run("--canonical")
    assert "canary" not in table + document + canonical
    entries = json.loads(document)["entries"]
    assert entries == disturbed.get_json("/v1/ledger?limit=10000")["entries"]
    lines = table.splitlines()
    assert len(lines) == len(entries) + 1 and lines[0].split()[:2] == ["id", "proxy"]
    (get,) = [line for line in lines if " GET " in line]
    assert "slow (latency)" in get and "completed: string" in get and get.rstrip().endswith("no")
    assert json.loads(canonical) == disturbed.get_json("/v1/ledger?form=canonical")
    assert len(run("--duplicates").splitlines()) == 1
    assert len(run("--proxy", "redis", "--operation", "set", "--limit", "1").splitlines()) == 2
