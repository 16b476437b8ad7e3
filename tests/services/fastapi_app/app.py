"""A service of COS's shape, built well or badly in exactly one way: VARIANT says which (see variants.toml).

    GET  /health          no dependency
    GET  /modules         a list: from the cache, else from the table
    GET  /modules/{id}    one: from the cache, else from the table
    POST /modules         {"name": "..."}: into the table in a transaction, and out of the cache

Environment: REDIS_URL, DATABASE_URL, VARIANT (default "well"). Run it with `uvicorn app:app`. What it does of itself goes to stdout
as JSON lines (breaker transitions, the first failure of a dependency after it worked; with their time), so that a test can compare what
was inferred with what was so.
"""

import asyncio
import collections
import contextlib
import json
import os
import random
import socket
import sys
import time
import tomllib
import urllib.parse
from pathlib import Path

import asyncpg
import fastapi
import pydantic
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

VARIANTS = tomllib.loads((Path(__file__).parent / "variants.toml").read_text())
NAME = os.environ.get("VARIANT", "well")
if NAME not in VARIANTS:
    sys.exit(f"VARIANT={NAME} is none of {', '.join(VARIANTS)}")
IS = VARIANTS["well"] | VARIANTS[NAME]

CACHE_FAILURES = (redis.RedisError, OSError, TimeoutError)
TABLE_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
HOARD = []


def prompt(connection):
    """A reply goes in two writes: the second must not wait until the first is acknowledged, which takes 40 ms."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


# Of its own, asyncio does so only for sockets that know their protocol; one that several processes share does not.
asyncio.base_events._set_nodelay = prompt


def say(what, **more):
    print(json.dumps({"at": time.time(), "what": what} | more), flush=True)


class Noticed:
    """Says once that a dependency has failed, and again only after it has worked."""

    def __init__(self, of):
        self.of, self.works = of, True

    def worked(self):
        self.works = True

    def failed(self):
        if self.works:
            say("failed", of=self.of)
        self.works = False


CACHE, TABLE = Noticed("cache"), Noticed("table")


class Open(Exception):
    """The breaker is open: nobody is asked."""


class Breaker:
    """Opens after so many failures in a row, lets one call through after a while, and closes when that succeeds."""

    def __init__(self, threshold, open_for):
        self.threshold, self.open_for = threshold, open_for
        self.failures, self.opened, self.probing = 0, None, False

    def admit(self):
        if self.opened is None:
            return
        waited = time.monotonic() - self.opened >= self.open_for
        if not waited or IS["half_open"] == "never" or (self.probing and IS["half_open"] == "one"):
            raise Open
        if not self.probing:
            say("half-open")
        self.probing = True

    def succeeded(self):
        if self.opened is not None:
            say("closed")
        self.failures, self.opened, self.probing = 0, None, False

    def failed(self):
        self.failures += 1
        if self.probing or (self.opened is None and self.trips()):
            say("open", failures=self.failures)
            self.opened, self.probing = time.monotonic(), False

    def trips(self):
        return self.failures >= self.threshold

    async def call(self, work):
        self.admit()
        try:
            result = await work()
        except CACHE_FAILURES:
            self.failed()
            raise
        self.succeeded()
        return result


class RatioBreaker(Breaker):
    """Opens when too large a share of the calls of a window failed, and counts failures in a row only to tell them."""

    def __init__(self, threshold, open_for):
        super().__init__(threshold, open_for)
        self.window = collections.deque()

    def seen(self, failed):
        now = time.monotonic()
        self.window.append((now, failed))
        while self.window[0][0] < now - IS["window_s"]:
            self.window.popleft()

    def succeeded(self):
        self.seen(False)
        super().succeeded()

    def failed(self):
        self.seen(True)
        super().failed()

    def trips(self):
        failures = sum(failed for _, failed in self.window)
        return len(self.window) >= IS["at_least"] and failures > IS["error_share"] * len(self.window)


class NoBreaker:
    async def call(self, work):
        return await work()


class Purgatory:
    def __init__(self, threshold, open_for):
        import purgatory

        self.factory = purgatory.AsyncCircuitBreakerFactory(default_threshold=threshold, default_ttl=open_for)
        self.opened = purgatory.domain.model.OpenedState

    async def call(self, work):
        try:
            async with await self.factory.get_breaker("cache"):
                return await work()
        except self.opened as e:
            raise Open from e


class AioBreaker:
    def __init__(self, threshold, open_for):
        import datetime

        import aiobreaker

        self.breaker = aiobreaker.CircuitBreaker(fail_max=threshold, timeout_duration=datetime.timedelta(seconds=open_for))
        self.opened = aiobreaker.CircuitBreakerError

    async def call(self, work):
        try:
            return await self.breaker.call_async(work)
        except self.opened as e:
            raise Open from e


class PyBreaker:
    """Of its own, pybreaker knows only Tornado's coroutines: its states are moved by hand, as people do."""

    def __init__(self, threshold, open_for):
        import pybreaker

        self.breaker = pybreaker.CircuitBreaker(fail_max=threshold, reset_timeout=open_for)
        self.opened = pybreaker.CircuitBreakerError

    async def call(self, work):
        try:
            with self.breaker.calling():
                return await work()
        except self.opened as e:
            # The call that opens it has failed itself.
            raise Open from e


def breaker():
    kinds = {"none": lambda *_: NoBreaker(), "own": Breaker, "ratio": RatioBreaker}
    kinds |= {"purgatory": Purgatory, "aiobreaker": AioBreaker, "pybreaker": PyBreaker}
    return kinds[IS["breaker"]](IS["threshold"], IS["open_s"])


class Cache:
    """Redis behind a time limit, retries and a breaker, as the variant has them."""

    def __init__(self):
        self.breaker = breaker()
        self.gone_until = 0.0
        self.client = self.connect()

    def connect(self):
        limit = IS["cache_timeout_s"] or None
        return redis.from_url(
            os.environ["REDIS_URL"],
            socket_timeout=limit,
            socket_connect_timeout=limit,
            max_connections=IS["cache_pool"],
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    async def once(self, command, *arguments, **options):
        try:
            if IS["leaks"]:
                result = await self.leaking(command, *arguments, **options)
            else:
                result = await getattr(self.client, command)(*arguments, **options)
        except CACHE_FAILURES:
            CACHE.failed()
            raise
        CACHE.worked()
        return result

    async def leaking(self, command, *arguments, **options):
        """A connection of its own for each call, which nobody closes where the call fails."""
        at = urllib.parse.urlsplit(os.environ["REDIS_URL"])
        words = [command, *arguments, *(f"{part}" for pair in options.items() for part in pair)]
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        HOARD.append((reader, writer))
        writer.write(b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in map(str, words))]))
        head = await asyncio.wait_for(reader.readline(), IS["cache_timeout_s"])
        if head.startswith(b"-"):
            raise redis.ResponseError(head.decode())
        result = None
        if head.startswith(b"$") and head != b"$-1\r\n":
            result = (await reader.readexactly(int(head[1:]) + 2))[:-2].decode()
        writer.close()
        HOARD.pop()
        return result

    async def tried(self, command, *arguments, **options):
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self.breaker.call(lambda: self.once(command, *arguments, **options))
            except CACHE_FAILURES:
                if attempt >= IS["attempts"]:
                    raise
                await asyncio.sleep(self.pause(attempt))

    @staticmethod
    def pause(attempt):
        base = IS["backoff_s"]
        if IS["backoff"] == "exponential":
            base *= 2 ** (attempt - 1)
        return random.uniform(0, base) if IS["jitter"] else base

    async def get(self, command, *arguments, **options):
        """The result, or None where the cache cannot be used: the service goes on without it."""
        if time.monotonic() < self.gone_until:
            return None
        try:
            return await self.tried(command, *arguments, **options)
        except Open:
            return None
        except CACHE_FAILURES as e:
            if IS["gone_s"]:
                self.gone_until = time.monotonic() + IS["gone_s"]
            if IS["on_cache_failure"] == "error":
                raise fastapi.HTTPException(IS["error_status"], "the cache does not answer") from e
            return None


@contextlib.asynccontextmanager
async def resources(app):
    app.state.cache = Cache()
    app.state.table = await asyncpg.create_pool(
        os.environ["DATABASE_URL"],
        min_size=1,
        max_size=IS["table_pool"],
        timeout=2,
        command_timeout=IS["table_timeout_s"] or None,
        ssl=False,
    )
    # Of two that create it at once, one fails.
    with contextlib.suppress(asyncpg.UniqueViolationError, asyncpg.DuplicateTableError):
        await app.state.table.execute("create table if not exists modules (id serial primary key, name text not null)")
    say("ready", variant=NAME)
    yield
    await app.state.cache.client.aclose()
    app.state.table.terminate()


app = fastapi.FastAPI(lifespan=resources)


class NewModule(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, max_length=200)


async def ask(work):
    """Something of the table, or 503 where that fails."""
    try:
        result = await work(app.state.table)
    except TABLE_FAILURES as e:
        TABLE.failed()
        if IS["idle_in_transaction"]:
            HOARD.append(e)
        raise fastapi.HTTPException(503, type(e).__name__, {"Retry-After": "1"}) from e
    TABLE.worked()
    return result


@app.get("/health")
async def health():
    if IS["health_asks_cache"] and await app.state.cache.get("exists", "health") is None:
        raise fastapi.HTTPException(503, "the cache does not answer")
    return {"status": "ok"}


@app.get("/modules")
async def modules():
    if IS["memory_leak"]:
        HOARD.append(bytearray(os.urandom(1024) * IS["memory_leak"]))
    known = await app.state.cache.get("get", "modules")
    if known is None and IS["on_cache_failure"] == "wrong":
        return [{"id": 0, "name": "nothing is known"}]
    if known is not None:
        return json.loads(known)
    rows = await ask(lambda table: table.fetch("select id, name from modules order by id desc limit 20"))
    found = [dict(row) for row in rows]
    await app.state.cache.get("set", "modules", json.dumps(found), ex=1)
    return found


@app.get("/modules/{number}")
async def module(number: int):
    name = await app.state.cache.get("get", f"module:{number}")
    if name is None:
        name = await ask(lambda table: table.fetchval("select name from modules where id = $1", number))
        if name is None:
            raise fastapi.HTTPException(404, "no such module")
        await app.state.cache.get("set", f"module:{number}", name, ex=60)
    return {"id": number, "name": name}


async def insert(table, name):
    sql = "insert into modules (name) values ($1) returning id"
    if IS["idle_in_transaction"]:
        connection = await table.acquire()
        transaction = connection.transaction()
        await transaction.start()
        number = await connection.fetchval(sql, name)  # where this fails, nobody rolls back, and nobody gives it back
        await transaction.commit()
        await table.release(connection)
        return number
    async with table.acquire() as connection, connection.transaction():
        try:
            return await connection.fetchval(sql, name)
        except TABLE_FAILURES:
            # The end of the transaction is waited for as well.
            TABLE.failed()
            raise


@app.post("/modules", status_code=201)
async def add(new: NewModule):
    async def work(table):
        for attempt in range(IS["commit_attempts"]):
            try:
                return await insert(table, new.name)
            except TABLE_FAILURES:
                TABLE.failed()
                # Whether it was committed is not known; to do it again may do it twice.
                if attempt + 1 >= IS["commit_attempts"]:
                    raise
        return None

    number = await ask(work)
    await app.state.cache.get("delete", "modules")
    return {"id": number, "name": new.name}
