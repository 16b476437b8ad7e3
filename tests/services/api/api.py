"""A service as there are many: a table in Postgres, a cache in Redis before it, a time limit on both.

    GET  /modules         all names
    GET  /modules/{id}    from the cache, else from the table
    POST /modules         {"name": "..."}: into the table, and out of the cache

When the cache fails it does without; when the table fails it answers 503.
"""

import asyncio
import contextlib
import os

import asyncpg
import fastapi
import pydantic
from redis import asyncio as redis

CACHE_LIMIT = 0.2  # seconds
TABLE_LIMIT = 2.0  # seconds
CACHE_FAILURES = (redis.RedisError, OSError, TimeoutError)
TABLE_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


class NewModule(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, max_length=200)


@contextlib.asynccontextmanager
async def resources(app):
    app.state.cache = redis.from_url(
        os.environ["REDIS_URL"], socket_timeout=CACHE_LIMIT, socket_connect_timeout=CACHE_LIMIT, decode_responses=True
    )
    app.state.table = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=10, timeout=TABLE_LIMIT)
    await app.state.table.execute("create table if not exists modules (id serial primary key, name text not null)")
    yield
    await app.state.cache.aclose()
    await app.state.table.close()


app = fastapi.FastAPI(lifespan=resources)


async def cached(command, *arguments, **options):
    """A command to the cache, or None where the cache fails."""
    with contextlib.suppress(*CACHE_FAILURES):
        return await asyncio.wait_for(getattr(app.state.cache, command)(*arguments, **options), CACHE_LIMIT)
    return None


async def table(method, sql, *arguments):
    """A statement to the table, or 503 where the table fails."""
    try:
        return await asyncio.wait_for(getattr(app.state.table, method)(sql, *arguments), TABLE_LIMIT)
    except TABLE_FAILURES as e:
        raise fastapi.HTTPException(503, type(e).__name__, {"Retry-After": "1"}) from e


@app.get("/healthz")
async def healthz():
    return {"status": "ok"}


@app.get("/modules")
async def modules():
    return [dict(row) for row in await table("fetch", "select id, name from modules order by id limit 100")]


@app.get("/modules/{number}")
async def module(number: int):
    name = await cached("get", f"module:{number}")
    if name is None:
        name = await table("fetchval", "select name from modules where id = $1", number)
        if name is None:
            raise fastapi.HTTPException(404, "no such module")
        await cached("set", f"module:{number}", name, ex=60)
    return {"id": number, "name": name}


@app.post("/modules", status_code=201)
async def add(new: NewModule):
    number = await table("fetchval", "insert into modules (name) values ($1) returning id", new.name)
    await cached("delete", f"module:{number}")
    return {"id": number, "name": new.name}
