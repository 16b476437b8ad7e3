"""`brownout exec` on what people run: a test suite, and a service."""

import json
import os
import subprocess
import sys
import urllib.request

from harness.process import Process, free_port
from harness.proxy import binary

SUITE = '''
import os
import redis


def test_counter():
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    client.set("exec", 1)
    for _ in range(10):
        client.incr("exec")
    assert client.get("exec") == b"11"
'''

SERVICE = '''
import os
import asyncpg
from fastapi import FastAPI

api = FastAPI()


@api.get("/sum/{a}/{b}")
async def add(a: int, b: int):
    url = os.environ["DATABASE_URL"].replace("postgresql+asyncpg://", "postgresql://")
    connection = await asyncpg.connect(url)
    try:
        return {"sum": await connection.fetchval("select $1::int + $2::int", a, b)}
    finally:
        await connection.close()
'''


def counts(report):
    told = json.loads((report / "exec.json").read_text())
    operations = told["stats"]["proxies"][0]["operations"]
    return told, {one["operation"]: one["count"] for one in operations}


def test_pytest(tmp_path, redis_server):
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [binary(), "exec", "--report", tmp_path, "--"]
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_suite.py"]
    environment = {**os.environ, "REDIS_URL": f"redis://{redis_server.address}/0"}
    done = subprocess.run(
        [*command, *suite], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    told, counted = counts(tmp_path)
    assert (counted["SET"], counted["INCRBY"], counted["GET"]) == (1, 10, 1)
    assert told["exit_code"] == 0 and "INCRBY" in done.stderr
    environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    done = subprocess.run(
        [*command, *suite], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1, "the exit code is that of pytest"


def test_fastapi(tmp_path, postgres_server):
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    service = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "service:api"]
    environment = {**os.environ, "DATABASE_URL": f"postgresql+asyncpg://postgres@{postgres_server.address}/postgres"}
    process = Process([binary(), "exec", "--report", tmp_path, "--", *service], cwd=tmp_path, env=environment)

    def answer():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/sum/40/2", timeout=10) as reply:
            return json.load(reply)

    try:
        assert process.wait_for("the service", answer, limit=60) == {"sum": 42}
        for _ in range(4):
            answer()
    finally:
        code = process.end(limit=30)
    assert code in (0, 143), process.stderr
    told, counted = counts(tmp_path)
    assert counted["SELECT"] >= 5, counted
    assert told["proxies"][0]["variables"] == ["DATABASE_URL"]
