"""redis-py, blocking, RESP2 and RESP3: every result equals the one of a direct connection, every command counts once."""

import threading

import pytest
import redis
from harness.proxy import DIRECT
from harness.redis_oracle import DRIVER, ServerCalls

BIG = 64 << 20


def connect(at, protocol=3, **options):
    return redis.Redis(at.host, at.port, protocol=protocol, socket_timeout=30, **options)


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request):
    return request.param


@pytest.fixture
def both(redis_at, redis_server, brownout):
    """Runs a scenario on a direct connection, then through the proxy: same results, and the server's counts."""

    def run(scenario, protocol, ignore=()):
        with connect(redis_server, protocol) as client:
            wanted = scenario(client)
        redis_server.command("FLUSHALL")
        calls = ServerCalls(brownout, redis_server)
        with connect(redis_at, protocol) as client:
            got = scenario(client)
        assert got == wanted
        calls.expect_equal(ignore)
        return got

    return run


def every_type(r):
    r.set("string", b"\x00\xff\r\n$5\r\n")
    r.rpush("list", *range(20))
    r.hset("hash", mapping={f"f{n}": n for n in range(20)})
    r.sadd("set", "a", "b", "c")
    r.zadd("zset", {"one": 1, "two": 2.5, "huge": 1e300})
    r.xadd("stream", {"field": "value"}, id="1-1")
    r.setbit("bits", 100, 1)
    r.pfadd("hll", *range(100))
    r.geoadd("geo", (13.361389, 38.115556, "Palermo"))
    return [
        r.get("string"),
        r.get("absent"),
        r.lrange("list", 0, -1),
        r.hgetall("hash"),
        r.smembers("set"),
        r.zrange("zset", 0, -1, withscores=True),
        r.xrange("stream"),
        r.bitcount("bits"),
        r.pfcount("hll"),
        r.geopos("geo", "Palermo", "nowhere"),
        r.mget("string", "absent"),
        r.exists("string"),
        r.type("zset"),
        r.config_get("maxmemory*"),
        r.command_count() > 200,
    ]


def test_every_type_of_value(both, protocol):
    both(every_type, protocol)


def test_errors_are_passed_and_the_connection_lives_on(both, protocol):
    def scenario(r):
        r.set("string", "text")
        messages = []
        for command in (["LPUSH", "string", "x"], ["INCR", "string"], ["NOSUCH", "x"], ["GET"], ["EVALSHA", "f" * 40, "0"]):
            with pytest.raises(redis.ResponseError) as error:
                r.execute_command(*command)
            messages.append(str(error.value))
        return messages, r.get("string")

    # An unknown command and one with the wrong number of arguments are nowhere in commandstats.
    both(scenario, protocol, ignore=("nosuch", "other", "get"))


@pytest.mark.parametrize("depth", [1, 2, 100, 10_000])
def test_pipelines(both, protocol, depth):
    def scenario(r):
        pipe = r.pipeline(transaction=False)
        for n in range(depth):
            pipe.set(f"key:{n}", n) if n % 2 == 0 else pipe.get(f"key:{n - 1}")
        return pipe.execute()

    both(scenario, protocol)


def test_transactions(both, protocol):
    def scenario(r):
        results = []
        with r.pipeline() as pipe:
            results.append(pipe.set("a", 1).incr("a").lpush("list", "x").execute())
        with r.pipeline() as pipe:
            pipe.watch("a")
            r.incr("a")  # on another connection: the watch is lost
            pipe.multi()
            pipe.set("a", 100)
            with pytest.raises(redis.WatchError):
                pipe.execute()
        with r.pipeline() as pipe:
            pipe.set("a", "text").incr("a").set("b", 2)
            results.append([str(x) for x in pipe.execute(raise_on_error=False)])
        return results, r.mget("a", "b")

    # What the lost WATCH kept from running was sent all the same: SET, and EXEC is counted on both sides.
    both(scenario, protocol, ignore=("set",))


def test_transaction_counts_are_exact(redis_at, redis_counts, protocol):
    with connect(redis_at, protocol) as r:
        for _ in range(50):
            r.pipeline().set("a", 1).get("a").execute()
    redis_counts.expect({"multi": 50, "set": 50, "get": 50, "exec": 50}, ignore=DRIVER)


def test_aborted_and_discarded_transactions(both, protocol):
    def scenario(r):
        with r.client() as one:
            one.execute_command("MULTI")
            with pytest.raises(redis.ResponseError):
                one.execute_command("NOSUCH")
            with pytest.raises(redis.exceptions.ExecAbortError):
                one.execute_command("EXEC")
            one.execute_command("MULTI")
            queued = one.execute_command("PING")
            return queued, one.execute_command("DISCARD"), one.execute_command("PING")

    both(scenario, protocol, ignore=("nosuch", "other", "ping"))


def test_published_messages_arrive_in_order(redis_at, redis_counts, protocol):
    with connect(redis_at, protocol) as listener, connect(redis_at, protocol) as speaker:
        subscription = listener.pubsub()
        subscription.subscribe("news", "weather")
        subscription.psubscribe("n*")
        for _ in range(3):
            assert subscription.get_message(timeout=5)["type"] in ("subscribe", "psubscribe")
        for n in range(200):
            assert speaker.publish("news", f"message {n}") == 2
        got = [subscription.get_message(timeout=5) for _ in range(400)]
        assert [m["data"].decode() for m in got if m["type"] == "message"] == [f"message {n}" for n in range(200)]
        assert [m["data"].decode() for m in got if m["type"] == "pmessage"] == [f"message {n}" for n in range(200)]
        subscription.ping("still here")
        assert subscription.get_message(timeout=5)["type"] == "pong"
        subscription.unsubscribe()
        subscription.punsubscribe()
        ends = [subscription.get_message(timeout=5)["type"] for _ in range(3)]
        assert sorted(ends) == ["punsubscribe", "unsubscribe", "unsubscribe"]
    redis_counts.expect(
        {"subscribe": 1, "psubscribe": 1, "publish": 200, "ping": 1, "unsubscribe": 1, "punsubscribe": 1},
        ignore=DRIVER,
    )


def test_resp3_pushes_between_the_replies_of_a_pipeline(redis_at, redis_counts):
    """Commands and messages share the connection in RESP3: neither may shift the other."""
    with connect(redis_at, 3) as r, connect(redis_at, 3) as speaker:
        subscription = r.pubsub()
        subscription.subscribe("news")
        assert subscription.get_message(timeout=5)["type"] == "subscribe"
        connection = subscription.connection
        stop = threading.Event()

        def chatter():
            while not stop.is_set():
                speaker.publish("news", "x" * 100)

        thread = threading.Thread(target=chatter)
        thread.start()
        try:
            connection.send_packed_command(connection.pack_commands([("ECHO", f"reply {n}") for n in range(500)]))
            echoes = []
            while len(echoes) < 500:
                message = subscription.parse_response(block=True)
                if isinstance(message, bytes):
                    echoes.append(message)
        finally:
            stop.set()
            thread.join()
        assert echoes == [b"reply %d" % n for n in range(500)]
        subscription.close()
    redis_counts.expect({"echo": 500, "subscribe": 1}, ignore=(*DRIVER, "publish", "unsubscribe", "punsubscribe"))


def test_client_tracking_invalidations(both):
    def scenario(r):
        with r.client() as one:
            one.execute_command("CLIENT", "TRACKING", "ON")
            one.set("tracked", 1)
            values = [one.get("tracked")]
            with connect(r_at(r)) as other:
                other.set("tracked", 2)
            values.append(one.get("tracked"))
            return values

    both(scenario, 3)


def r_at(r):
    """The endpoint a client is connected to."""
    options = r.connection_pool.connection_kwargs

    class At:
        host, port = options["host"], options["port"]

    return At


def test_blocking_pops(both, protocol):
    def scenario(r):
        results = []
        with connect(r_at(r), protocol) as other:
            wake = threading.Timer(0.2, lambda: other.rpush("queue", "work"))
            wake.start()
            results.append(r.blpop(["empty", "queue"], timeout=5))
            wake.join()
        results.append(r.brpop(["queue"], timeout=0.1))
        results.append(r.xread({"stream": "$"}, block=50))
        results.append(r.blmove("queue", "other", timeout=0.1))
        results.append(r.wait(0, 10))
        return results

    both(scenario, protocol)


@pytest.mark.proxy
def test_blocking_pops_are_a_class_of_their_own(redis_at, brownout):
    with connect(redis_at) as r:
        assert r.blpop(["nothing"], timeout=0.2) is None
    blocking = [one for one in brownout.operations("redis") if one["operation"].lower() == "blpop"]
    assert [one["class"] for one in blocking] == ["blocking"]


def test_scripts(both, protocol):
    def scenario(r):
        text = "redis.call('SET', KEYS[1], ARGV[1]); return {1, 'two', {3, false}, redis.call('GET', KEYS[1])}"
        script = r.register_script(text)
        results = [script(keys=["k"], args=["v"]), script(keys=["k"], args=["w"])]
        results.append(r.eval("return {double={double=1.5}}" if protocol == 3 else "return 'x'", 0))
        with pytest.raises(redis.ResponseError) as error:
            r.eval("return redis.error_reply('MY own error')", 0)
        results.append(str(error.value))
        return results

    # Scripts run commands that no connection carries.
    both(scenario, protocol, ignore=("get", "set"))


def test_big_values(both, protocol):
    value = bytes(range(256)) * (BIG // 256)

    def scenario(r):
        r.set("big", value)
        got = r.get("big")
        assert got == value
        return r.strlen("big")

    assert both(scenario, protocol) == BIG


def test_a_password_and_a_user(redis_at, redis_server, brownout, protocol):
    with connect(redis_at, protocol, username="tester", password="tester-password") as r:
        assert r.acl_whoami() in (b"tester", "tester")
    with pytest.raises(redis.AuthenticationError):
        connect(redis_at, protocol, username="tester", password="canary-wrong-password").ping()
    if not DIRECT:
        for place in (brownout.stderr, *(brownout.get(path)[1] for path in ("/v1/stats", "/v1/proxies", "/metrics"))):
            assert "tester-password" not in place and "canary-wrong-password" not in place


def test_replies_switched_off(redis_at, redis_counts):
    with connect(redis_at) as r, r.client() as one:
        one.execute_command("ECHO", "before")
        connection = one.connection
        for command in (("CLIENT", "REPLY", "OFF"), ("SET", "silent", "1"), ("CLIENT", "REPLY", "ON")):
            connection.send_command(*command)
        assert connection.read_response() in (b"OK", "OK")
        for command in (("CLIENT", "REPLY", "SKIP"), ("SET", "silent", "2"), ("GET", "silent")):
            connection.send_command(*command)
        assert connection.read_response() == b"2"
    redis_counts.expect({"echo": 1, "client|reply": 3, "set": 2, "get": 1}, ignore=DRIVER)


def test_many_threads_share_the_proxy(redis_at, redis_counts):
    """Each thread sees its own replies, whatever the others do."""
    failures = []

    def work(who):
        with connect(redis_at) as r:
            for n in range(300):
                r.set(f"{who}:{n}", n)
                if r.get(f"{who}:{n}") != b"%d" % n:
                    failures.append((who, n))

    threads = [threading.Thread(target=work, args=(who,)) for who in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    redis_counts.expect({"set": 4800, "get": 4800}, ignore=DRIVER)
