"""The examples of docs/faults.md: a function each, by the example's name.

What is a generator runs up to its first ``yield`` before the fault is switched on, to its second while it is on, and to its end
afterwards; a plain function runs while it is on.
"""

import contextlib
import http.client
import time

import psycopg
import pytest
import redis

from . import loads
from .process import eventually
from .sockets import dial, read_exactly, read_to_end

GONE = (redis.ConnectionError, psycopg.OperationalError, OSError, http.client.HTTPException)


def took(work, *arguments):
    began = time.monotonic()
    work(*arguments)
    return time.monotonic() - began


def ends(s, how=None, limit=5):
    """What comes until the connection ends."""
    s.settimeout(limit)
    got, end = read_to_end(s)
    assert how in (None, end), f"{end} after {got}"
    return got


def request(path, method="GET", headers=""):
    return f"{method} {path} HTTP/1.1\r\nHost: web\r\n{headers}\r\n".encode()


def head_of(s):
    """The next response's head, as text."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(s, 1)
    return head.decode()


# --- time ---


def late_reply(c):
    assert took(loads.redis_read, c) >= 0.1


def late_request(c):
    assert took(loads.web_get, c) >= 0.1


def at_least(c):
    with c.postgres() as p:
        assert took(p.execute, "select 1") >= 0.2
        # A delay would be added to the server's own time.
        assert 0.25 <= took(p.execute, "select pg_sleep(0.25)")


def side_by_side(c):
    seconds = took(loads.redis_burst(100), c)
    assert 0.2 <= seconds < 100 * 0.2 / 2


def late_bytes(c):
    with dial(c.at["tcp"]) as s:
        s.sendall(b"PING\r\n")
        assert took(read_exactly, s, 7) >= 0.1


def narrow(c):
    assert took(loads.web_bytes(10_000), c) >= 0.4


def crumbs(c):
    assert took(loads.web_bytes(2000), c) >= 0.08


def late_end(c):
    assert took(loads.redis_quit, c) >= 0.5


# --- silence and ends ---


def silence(c):
    c.redis_server.command("SET", "profile", "1")
    with dial(c.at["redis"]) as s:
        yield
        s.sendall(b"GET profile\r\n")
        s.settimeout(0.3)
        with pytest.raises(TimeoutError):
            s.recv(100)
        yield
        s.settimeout(5)
        assert read_exactly(s, 7) == b"$1\r\n1\r\n", "what was held goes on"


def silence_then_end(c):
    with dial(c.at["redis"]) as s:
        s.sendall(b"GET profile\r\n")
        assert took(ends, s) >= 0.3


def cut_before(c):
    outcome = loads.timed(loads.redis_increment, c)
    assert outcome.error and outcome.found == "not done"


def cut_after(c):
    with dial(c.at["redis"]) as s:
        loads.ping_on_held(s)
        s.sendall(b"INCR cut-after\r\n")
        assert ends(s) == b""
    eventually("the INCR to arrive", lambda: c.redis_server.command("EXISTS", "cut-after") == ":1\r\n" or None)


def cut_inside(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/bytes/10000"))
        assert 4000 < len(ends(s, "fin")) < 7000


def cut_bytes(c):
    with dial(c.at["tcp"]) as s:
        s.sendall(b"INCR cut-bytes\r\n")
        assert ends(s) == b""
    assert c.redis_server.command("EXISTS", "cut-bytes") == ":0\r\n"


def cut_tunnel(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/tunnel", headers="Connection: Upgrade\r\nUpgrade: echo\r\n"))
        assert " 101 " in head_of(s)
        s.sendall(b"before")
        assert read_exactly(s, 6) == b"before"
        yield
        s.sendall(b"in it")
        assert ends(s) == b""
        yield


def short_body(c):
    with pytest.raises(http.client.IncompleteRead):
        c.http("/bytes/10000")


def short_reply(c):
    with pytest.raises(psycopg.OperationalError):
        loads.postgres_read(c)


def vanished(c):
    with dial(c.at["redis"]) as s:
        began = time.monotonic()
        s.sendall(b"SET vanished 1\r\n")
        assert ends(s) == b"" and time.monotonic() - began >= 0.2
    eventually("the SET to arrive", lambda: c.redis_server.command("EXISTS", "vanished") == ":1\r\n" or None)


def reset_both(c):
    with dial(c.at["redis"]) as s:
        s.sendall(b"PING\r\n")
        assert ends(s, "rst") == b""


def so_many_bytes(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/bytes/10000"))
        assert len(ends(s)) == 1000


# --- connections ---


def nobody_home(c):
    with dial(c.at["redis"]) as s:
        yield
        eventually("the listener to close", lambda: "refused" in loads.timed(loads.redis_read, c).error or None)
        loads.ping_on_held(s)
        yield


def slammed(c):
    with dial(c.at["redis"]) as s:
        yield
        s.settimeout(5)
        with contextlib.suppress(ConnectionError):
            assert s.recv(100) == b""
        assert loads.timed(loads.redis_read, c).error
        yield


def no_answer(c):
    with dial(c.at["redis"]) as s:
        s.sendall(b"PING\r\n")
        s.settimeout(0.3)
        with pytest.raises(TimeoutError):
            s.recv(100)


def never_accepted(c):
    def times_out():
        outcome = loads.timed(lambda: dial(c.at["redis"], timeout=0.5).close())
        return "timed out" in outcome.error or None

    eventually("connecting to time out", times_out)


def full_redis(c):
    with dial(c.at["redis"]) as s:
        assert ends(s) == b"-ERR max number of clients reached\r\n"


def full_postgres(c):
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        c.postgres()


def full_web(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/hello"))
        reply = ends(s)
        assert reply.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in reply


def full_tcp(c):
    with contextlib.suppress(ConnectionResetError), dial(c.at["tcp"]) as s:
        assert ends(s, "rst") == b""


def busy_redis(c):
    outcome = loads.timed(loads.redis_burst(20), c)
    assert "BUSY" in outcome.error and outcome.seconds >= 0.02


def busy_postgres(c):
    assert "53000" in loads.timed(loads.postgres_herd(5), c).error


def busy_web(c):
    assert "503 Retry-After 1" in loads.timed(loads.web_crowd(5), c).error


# --- errors: Redis ---


def oom(c):
    with c.redis() as r:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            r.set("session:1", 1)
        assert r.exists("session:1") == 0 and r.set("other", 1)


def own_words(c):
    with c.redis() as r, pytest.raises(redis.ResponseError, match="the disk is on fire"):
        r.get("profile")


def queued(c):
    with c.redis() as r:
        pipe = r.pipeline(transaction=True)
        with pytest.raises(redis.RedisError):
            pipe.incr("queued").set("profile", 1).execute()
        assert r.exists("queued") == 0, "EXEC has aborted"


def exec_(c):
    with c.redis() as r:
        with pytest.raises(redis.ReadOnlyError):
            r.pipeline(transaction=True).incr("exec").execute()
        assert r.exists("exec") == 0


def no_subscription(c):
    with dial(c.at["redis"]) as s:
        s.sendall(b"SUBSCRIBE profile\r\nPING\r\n")
        assert read_exactly(s, 8) == b"-LOADING"
        while read_exactly(s, 1) != b"\n":
            pass
        assert read_exactly(s, 7) == b"+PONG\r\n"


def ping_subscribed(c):
    with c.redis(protocol=2) as r, r.pubsub() as subscriber:
        subscriber.subscribe("profile")
        assert subscriber.get_message(timeout=5)["type"] == "subscribe"
        yield
        subscriber.ping()
        assert subscriber.get_message(timeout=5)["type"] == "pong"
        yield


def unanswered(c):
    with dial(c.at["redis"]) as s:
        s.sendall(b"CLIENT REPLY OFF\r\nSET unanswered 1\r\nCLIENT REPLY ON\r\n")
        assert read_exactly(s, 5) == b"+OK\r\n"
        s.sendall(b"GET unanswered\r\n")
        assert read_exactly(s, 7) == b"$1\r\n1\r\n"


def told_and_closed(c):
    with dial(c.at["redis"]) as s:
        s.sendall(b"GET profile\r\n")
        assert ends(s) == b"-ERR max number of clients reached\r\n"


# --- errors: Postgres ---


def rows(c):
    return c.postgres_server.query("select count(*) from states").strip()


@contextlib.contextmanager
def fresh_table(c):
    c.postgres_server.query("drop table if exists states; create table states (n int)")
    with c.postgres() as p:
        yield p


def conflict(c):
    with fresh_table(c) as p:
        yield
        with pytest.raises(psycopg.errors.SerializationFailure):
            p.execute("insert into states values (1)")
        assert p.execute("select count(*) from states").fetchone() == (0,)
        yield
        p.execute("insert into states values (1)")


def conflict_extended(c):
    with fresh_table(c) as p:
        cursor = psycopg.Cursor(p)
        cursor.execute("insert into states values (%s)", (1,), prepare=True)
        yield
        with pytest.raises(psycopg.errors.SerializationFailure):
            cursor.execute("insert into states values (%s)", (2,), prepare=True)
        yield
        cursor.execute("insert into states values (%s)", (3,), prepare=True)
        assert rows(c) == "2", "the prepared statement lives on"


def conflict_inside(c):
    with fresh_table(c) as p:
        yield
        p.execute("begin")
        p.execute("insert into states values (1)")
        with pytest.raises(psycopg.errors.DeadlockDetected):
            p.execute("insert into states values (2)")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            p.execute("select 1")
        assert p.execute("commit").statusmessage == "ROLLBACK"
        assert rows(c) == "0"
        yield


def conflict_savepoint(c):
    with fresh_table(c) as p:
        yield
        p.execute("begin")
        p.execute("insert into states values (1)")
        p.execute("savepoint here")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            p.execute("insert into states values (2)")
        p.execute("rollback to here")
        assert p.execute("commit").statusmessage == "COMMIT"
        assert rows(c) == "1"
        yield


def conflict_again(c):
    with fresh_table(c) as p:
        p.execute("begin")
        with pytest.raises(psycopg.errors.DivisionByZero):
            p.execute("insert into states values (1 / 0)")
        yield
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            p.execute("select 1")
        p.execute("rollback")
        yield


def conflict_commit(c):
    yield from commits(c, prepare=False)


def conflict_commit_extended(c):
    yield from commits(c, prepare=True)


def commits(c, prepare):
    with fresh_table(c) as p:
        cursor = psycopg.Cursor(p)
        yield
        p.execute("begin")
        p.execute("insert into states values (1)")
        with pytest.raises(psycopg.errors.SerializationFailure):
            cursor.execute("commit", prepare=prepare)
        assert p.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert rows(c) == "0"
        yield
        p.execute("insert into states values (1)")


def copy_full(c):
    with fresh_table(c) as p:
        yield
        with pytest.raises(psycopg.errors.DiskFull), p.cursor().copy("copy states from stdin") as copy:
            for n in range(100):
                copy.write_row((n,))
        assert rows(c) == "0" and p.execute("select 1").fetchone() == (1,)
        yield


def kicked_out(c):
    with fresh_table(c) as p:
        yield
        with pytest.raises(psycopg.errors.AdminShutdown):
            p.execute("select 1")
        assert p.closed
        yield


def wrong_password(c):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        c.postgres()


def cancelled(c):
    with fresh_table(c) as p:
        yield
        # In either protocol.
        for arguments in ((), (1,)):
            sleep = "select pg_sleep(60)" + (", %s" if arguments else "")
            with pytest.raises(psycopg.errors.QueryCanceled):
                p.execute(sleep, arguments or None)
        with pytest.raises(psycopg.errors.QueryCanceled), p.transaction():
            p.execute("insert into states values (1)")
            p.execute("select pg_sleep(60)")
        assert rows(c) == "0"
        yield
        p.execute("insert into states values (1)")


MANY = "select generate_series(1, 10000000)"


def cancelled_midway(c):
    with c.postgres() as p:
        came = 0
        with pytest.raises(psycopg.errors.QueryCanceled):
            for _ in p.cursor().stream(MANY):
                came += 1
        assert 1000 < came < 10000000
        assert p.execute("select 1").fetchone() == (1,)


def cancelled_copy(c):
    with c.postgres() as p:
        came = 0
        with pytest.raises(psycopg.errors.QueryCanceled), p.cursor().copy(f"copy ({MANY}) to stdout") as copy:
            for data in copy:
                came += len(data)
        assert came > 50000
        assert p.execute("select 1").fetchone() == (1,)


def not_cancelled(c):
    with c.postgres() as p:
        assert p.execute("select 1").fetchone() == (1,)
        with p.pipeline():
            cursors = [p.execute(MANY.replace("10000000", "100000")) for _ in range(2)]
        assert [len(cursor.fetchall()) for cursor in cursors] == [100000] * 2


# --- errors: HTTP ---


def still_there(s):
    """The connection takes another request."""
    s.sendall(request("/items/1"))
    assert head_of(s).startswith("HTTP/1.1 200 ") and read_exactly(s, 7) == b"item 1\n"


def length(head):
    (line,) = [line for line in head.splitlines() if line.lower().startswith("content-length:")]
    return int(line.split(":")[1])


def unavailable(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/hello"))
        head = head_of(s)
        assert head.startswith("HTTP/1.1 503 ") and "Retry-After: 7\r\n" in head
        read_exactly(s, length(head))
        still_there(s)


def come_back(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/hello"))
        head = head_of(s)
        assert head.startswith("HTTP/1.1 429 ") and head.count("Retry-After:") == 1 and "Retry-After: 2\r\n" in head
        read_exactly(s, length(head))
        still_there(s)


def unavailable_head(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/hello", "HEAD"))
        head = head_of(s)
        assert head.startswith("HTTP/1.1 503 ") and length(head) == len("down\n")
        still_there(s)


def limited(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/echo", "POST", "Content-Length: 10000\r\n"))
        s.sendall(b"x" * 10_000)
        head = head_of(s)
        assert head.startswith("HTTP/1.1 429 ")
        read_exactly(s, length(head))
        still_there(s)


def too_large(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/echo", "POST", "Content-Length: 10000000\r\n") + b"x" * 1000)
        head = head_of(s)
        assert head.startswith("HTTP/1.1 413 ") and "connection: close" in head.lower()


def not_expected(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/echo", "POST", "Content-Length: 10\r\nExpect: 100-continue\r\n"))
        assert head_of(s).startswith("HTTP/1.1 401 "), "no 100 before it"


def in_turn(c):
    with dial(c.at["web"]) as s:
        s.sendall(request("/slow?ms=200") + request("/hello") + request("/items/1"))
        for status in ("200", "500", "200"):
            head = head_of(s)
            assert head.startswith(f"HTTP/1.1 {status} ")
            read_exactly(s, length(head))


# --- what is lost ---


def lost_increment(c):
    outcome = loads.timed(loads.redis_increment, c)
    assert outcome.error and outcome.found == "not done"


def lost_increment_reply(c):
    outcome = loads.timed(loads.redis_increment, c)
    assert outcome.error and outcome.found == "done"


def lost_commit_request(c):
    outcome = loads.timed(loads.postgres_commit, c)
    assert outcome.error and outcome.found == "not done"


def lost_commit_reply(c):
    outcome = loads.timed(loads.postgres_commit, c)
    assert outcome.error and outcome.found == "done"


def lost_post(c):
    with pytest.raises(GONE):
        loads.web_post(c)


def lost_post_reply(c):
    outcome = loads.timed(loads.web_post, c)
    assert outcome.error and outcome.seconds >= 0.3


def lost_message(c):
    assert loads.timed(loads.redis_messages(9), c).found == 6


def lost_notification(c):
    assert loads.timed(loads.postgres_notifications(9), c).found == 6


def late_message(c):
    outcome = loads.timed(loads.redis_messages(3), c)
    assert outcome.found == 3 and outcome.seconds >= 0.3


# --- what is done twice, or changed ---


def twice(c):
    c.redis_server.command("SET", "twice", "0")
    with c.redis() as r:
        assert [r.execute_command("INCR", "twice") for _ in range(2)] == [1, 3]
        assert r.get("twice") == b"4"


def not_twice(c):
    c.redis_server.command("SET", "twice", "0")
    with c.redis() as r:
        assert r.pipeline(transaction=True).execute_command("INCR", "twice").execute() == [1]
        assert r.get("twice") == b"1"


def twice_stored(c):
    with fresh_table(c) as simple, psycopg.connect(simple.info.dsn, autocommit=True) as extended:
        yield
        for connection in (simple, extended):
            assert connection.execute("insert into states values (%s)", [1]).rowcount == 1
            # The connection goes on.
            assert connection.execute("select 7").fetchone() == (7,)
        assert rows(c) == "4"
        yield


def not_twice_stored(c):
    with fresh_table(c) as p:
        yield
        with p.transaction():
            p.execute("insert into states values (1)")
        assert rows(c) == "1"
        yield


def twice_posted(c):
    with pytest.raises(OSError, match="status 201"):
        c.http("/append/twice", "POST", b"x")
    assert c.http("/appended/twice") == b"2"


def garbled(c):
    sent = bytes(range(65, 75)) * 10
    c.redis_server.command("SET", "garbled", sent.decode())
    with c.redis() as r:
        got = r.get("garbled")
        assert r.ping()
    changed = [at for at in range(100) if got[at] != sent[at]]
    assert len(got) == 100 and 1 <= len(changed) <= 3


def garbled_bytes(c):
    s = dial(c.at["tcp"])
    with contextlib.closing(s):
        s.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\nabc\r\n")
        assert read_exactly(s, 5) == b"+OK\r\n"
    stored = c.redis_server.command("GET", "key")
    assert stored.startswith("$3") and not stored.endswith("abc")
