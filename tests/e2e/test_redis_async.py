"""redis-py on asyncio: many connections, pipelines and messages at once."""

import asyncio

import pytest
from harness.redis_oracle import ServerCalls
from redis import asyncio as redis


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request):
    return request.param


async def test_concurrent_pipelines(redis_at, redis_server, brownout, protocol):
    calls = ServerCalls(brownout, redis_server)
    async with redis.Redis(host=redis_at.host, port=redis_at.port, protocol=protocol, max_connections=50) as r:

        async def work(who):
            pipe = r.pipeline(transaction=False)
            for n in range(100):
                pipe.set(f"{who}:{n}", f"{who}-{n}").get(f"{who}:{n}")
            return (await pipe.execute())[1::2]

        results = await asyncio.gather(*(work(who) for who in range(40)))
    for who, values in enumerate(results):
        assert values == [b"%d-%d" % (who, n) for n in range(100)]
    calls.expect_equal()


async def test_a_cancelled_command_harms_no_other(redis_at, protocol):
    async with redis.Redis(host=redis_at.host, port=redis_at.port, protocol=protocol) as r:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(r.blpop(["nothing"], timeout=30), 0.2)
        for n in range(50):
            assert await r.set("key", n) and await r.get("key") == b"%d" % n


async def test_pubsub(redis_at, protocol):
    async with redis.Redis(host=redis_at.host, port=redis_at.port, protocol=protocol) as r:
        async with r.pubsub() as subscription:
            await subscription.subscribe("news")
            assert (await subscription.get_message(timeout=5))["type"] == "subscribe"
            for n in range(100):
                await r.publish("news", n)
            got = [await subscription.get_message(timeout=5) for _ in range(100)]
        assert [int(m["data"]) for m in got] == list(range(100))
