"""What a client does to feel a profile: one round of work, and what came of it."""

import concurrent.futures
import contextlib
import dataclasses
import http.client
import itertools
import time

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .sockets import dial, read_to_end

TIMEOUT = 5
FAILURES = (redis.RedisError, psycopg.Error, OSError, http.client.HTTPException)
_numbers = itertools.count()


@dataclasses.dataclass
class Outcome:
    """How long a round took, how it failed (empty: it did not), and what it found out."""

    seconds: float
    error: str = ""
    found: object = None

    def __str__(self):
        return f"{self.seconds:.3f} s {self.error} {self.found if self.found is not None else ''}".strip()


class Clients:
    """Connections to the proxies ``redis``, ``postgres``, ``web`` and ``tcp``, one for each round."""

    def __init__(self, process, redis_server, postgres_server):
        self.process, self.redis_server, self.postgres_server = process, redis_server, postgres_server
        names = [proxy["name"] for proxy in process.get_json("/v1/proxies")["proxies"]]
        self.at = {name: process.endpoint(name) for name in names}

    def redis(self, timeout=TIMEOUT, **options):
        # No retries: each failure is to be seen.
        at = self.at["redis"]
        return redis.Redis(at.host, at.port, socket_timeout=timeout, retry=Retry(NoBackoff(), 0), **options)

    def postgres(self, at=None):
        at = at or self.at["postgres"]
        conninfo = f"host={at.host} port={at.port} user=postgres dbname=postgres sslmode=disable connect_timeout=3"
        return psycopg.connect(conninfo, autocommit=True, cursor_factory=psycopg.ClientCursor)

    def http(self, path, method="GET", body=None, timeout=TIMEOUT):
        """Body of a 200; anything else is an error."""
        connection = http.client.HTTPConnection(self.at["web"].address, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            reply = connection.getresponse()
            read = reply.read()
            if reply.status != 200:
                raise OSError(f"status {reply.status} Retry-After {reply.getheader('Retry-After')}")
            return read


def timed(work, *arguments):
    """Runs a round to its outcome."""
    began = time.monotonic()
    try:
        found = work(*arguments)
        return found if isinstance(found, Outcome) else Outcome(time.monotonic() - began, found=found)
    except FAILURES as e:
        state = getattr(e, "sqlstate", None) or ""
        return Outcome(time.monotonic() - began, f"{type(e).__name__} {state} {e}")


# --- Redis ---


def redis_write(c):
    with c.redis() as r:
        r.set("profile", 1)


def redis_read(c):
    with c.redis() as r:
        r.get("profile")


def redis_login(c):
    with c.redis(username="tester", password="tester-password") as r:
        r.ping()


def redis_impatient(c):
    with c.redis(timeout=0.5) as r:
        r.get("profile")


def redis_increment(c):
    """INCR; where it failed, whether the server counted it all the same."""
    key = f"counted:{next(_numbers)}"
    try:
        with c.redis() as r:
            r.execute_command("INCR", key)  # incr() sends INCRBY
    except redis.ConnectionError as e:
        counted = c.redis_server.command("EXISTS", key).startswith(":1")
        return Outcome(0, f"{type(e).__name__} {e}", "done" if counted else "not done")
    return "done"


def redis_burst(count):
    """So many GETs in one pipeline; errors among the replies are the outcome's."""

    def work(c):
        with c.redis() as r:
            began = time.monotonic()
            pipe = r.pipeline(transaction=False)
            for _ in range(count):
                pipe.get("profile")
            replies = pipe.execute(raise_on_error=False)
            errors = {f"{type(e).__name__} {e}" for e in replies if isinstance(e, Exception)}
            return Outcome(time.monotonic() - began, " ".join(sorted(errors)))

    return work


def redis_crowd(count):
    """One more client than so many."""

    def work(c):
        with contextlib.ExitStack() as held:
            for _ in range(count):
                held.enter_context(dial(c.at["redis"])).sendall(b"PING\r\n")
            return timed(redis_read, c)

    return work


def redis_messages(count):
    """Publishes past the proxy to a subscriber behind it; found: how many arrived."""

    def work(c):
        with c.redis() as r, r.pubsub() as subscriber:
            subscriber.subscribe("profile")
            assert subscriber.get_message(timeout=TIMEOUT)["type"] == "subscribe"
            began = time.monotonic()
            for n in range(count):
                c.redis_server.command("PUBLISH", "profile", str(n))
            arrived = 0
            while arrived < count and subscriber.get_message(timeout=1):
                arrived += 1
            return Outcome(time.monotonic() - began, found=arrived)

    return work


def redis_quit(c):
    """From QUIT to the end of the connection."""
    with dial(c.at["redis"]) as s:
        s.sendall(b"QUIT\r\n")
        read_to_end(s)


# --- Postgres ---


def postgres_write(c):
    with c.postgres() as p:
        p.execute("create temp table if not exists profile (n int)")
        p.execute("insert into profile values (1)")


def postgres_update(c):
    with c.postgres() as p:
        p.execute("create temp table profile as select 1 as n")
        p.execute("update profile set n = 2")


def postgres_read(c):
    with c.postgres() as p:
        p.execute("select 1").fetchone()


def postgres_rows(c):
    with c.postgres() as p:
        p.execute("select n, repeat('x', 100) from generate_series(1, 200) n").fetchall()


def postgres_commit(c):
    """A row in a transaction; found: whether it is there afterwards."""
    server, number = c.postgres_server, next(_numbers)
    outcome = timed(_commit, c, number)
    # The server ends a session that was cut before COMMIT in its own time; one that committed did so before the cut.
    outcome.found = "done" if server.query(f"select 1 from profile_rows where n = {number}").strip() else "not done"
    return outcome


def _commit(c, number):
    with c.postgres() as p:
        p.execute("begin")
        p.execute(f"insert into profile_rows values ({number})")
        p.execute("commit")


def postgres_crowd(count):
    """One more client than so many."""

    def work(c):
        with contextlib.ExitStack() as held:
            for _ in range(count):
                held.enter_context(dial(c.at["postgres"]))
            return timed(postgres_read, c)

    return work


def postgres_herd(count):
    """So many clients that read at once; errors are joined, the time is that of the slowest."""

    def work(c):
        with contextlib.ExitStack() as held:
            connections = [held.enter_context(c.postgres()) for _ in range(count)]
            with concurrent.futures.ThreadPoolExecutor(count) as threads:
                done = list(threads.map(lambda p: timed(p.execute, "select 1"), connections))
            return Outcome(max(one.seconds for one in done), " ".join({one.error for one in done}))

    return work


def postgres_notifications(count):
    """Notifies past the proxy a listener behind it; found: how many arrived."""

    def work(c):
        with c.postgres() as listener:
            listener.execute("listen profile")
            c.postgres_server.query("".join(f"notify profile, '{n}';" for n in range(count)))
            return len(list(listener.notifies(timeout=1, stop_after=count)))

    return work


# --- HTTP ---


def web_get(c):
    return c.http("/hello")


def web_item(c):
    return c.http("/items/5")


def web_post(c):
    return c.http("/echo", "POST", b"x" * 100)


def web_bytes(count):
    return lambda c: len(c.http(f"/bytes/{count}"))


def web_crowd(count):
    def work(c):
        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            done = list(threads.map(lambda _: timed(web_get, c), range(count)))
        return Outcome(max(one.seconds for one in done), " ".join({one.error for one in done}))

    return work


# --- several ---


def everything(c):
    """All three, one after the other; the first that fails is the outcome."""
    began = time.monotonic()
    for work in (redis_impatient, postgres_read, web_get):
        outcome = timed(work, c)
        if outcome.error:
            return outcome
    return Outcome(time.monotonic() - began)


@contextlib.contextmanager
def held_redis(c):
    """A connection that was open before; each round asks on it, until it has ended."""
    with dial(c.at["redis"]) as s:
        s.settimeout(0.5)
        s.sendall(b"PING\r\n")
        assert s.recv(100) == b"+PONG\r\n"
        yield s


def ping_on_held(s):
    s.sendall(b"PING\r\n")
    if not s.recv(100):
        raise ConnectionError("the connection that was open before has ended")


@contextlib.contextmanager
def held_postgres(c):
    """As ``held_redis``."""
    connection = c.postgres()
    connection.execute("select 1")
    yield connection
    with contextlib.suppress(psycopg.Error):
        connection.close()


def read_on_held(connection):
    connection.execute("select 1").fetchone()
