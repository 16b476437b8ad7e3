"""Node: fetch, node-redis and node-postgres give the same through the proxy as without it, and count once each."""

import json
import subprocess
from pathlib import Path

from harness.proxy import ROOT, Counting
from harness.redis_oracle import DRIVER
from harness.servers import ADVICE, program

CLIENT = Path(__file__).parent / "node" / "client.mjs"
MODULES = ROOT / "target" / "node"


def run_client(redis, postgres, web):
    assert (MODULES / "node_modules").is_dir(), f"{MODULES} holds no packages; {ADVICE}"
    urls = (f"redis://{redis.address}", f"postgresql://postgres@{postgres.address}/postgres", f"http://{web.address}")
    done = subprocess.run([program("node"), CLIENT, *urls], cwd=MODULES, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_node(redis_at, postgres_at, web_at, redis_server, postgres_server, web_server, brownout):
    wanted = run_client(redis_server, postgres_server, web_server)
    redis_server.command("FLUSHALL")
    counting = {name: Counting(brownout, name) for name in ("redis", "postgres", "web")}
    assert run_client(redis_at, postgres_at, web_at) == wanted
    assert wanted["http"]["same"] and wanted["postgres"]["violation"] == "23505"
    counting["web"].expect(
        {"get /hello": 50, "get /chunked/{id}": 1, "post /echo": 1, "get /status/{id}": 1},
        errors={"get /status/{id}": 1},
    )
    counting["redis"].expect(
        {
            **{"set": 2002, "get": 2000, "multi": 2, "incr": 2, "exec": 2},
            **{"subscribe": 2, "publish": 40, "lpush": 2},
        },
        # Sent by node-redis by itself, depending on its version.
        ignore=(*DRIVER, "unsubscribe", "quit"),
        errors={"lpush": 2},
    )
    counting["postgres"].expect(
        {"listen": 1, "drop": 1, "begin": 1, "insert": 101, "commit": 1, "select": 101, "notify": 1},
        errors={"insert": 1},
    )
