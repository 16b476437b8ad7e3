"""The versions of servers in a report: as they said on the wire, and absent where they did not."""

import json
import subprocess
import sys
import urllib.request

import psycopg
import pytest
from harness.proxy import binary

pytestmark = pytest.mark.proxy

PROXY = '[[proxy]]\nname = "{}"\nprotocol = "{}"\nlisten = 0\nupstream = "{}"\n'
LOADS = """
[[load]]
proxy = "quiet"
rate = "20/s"
commands = ["GET a"]
[[load]]
proxy = "postgres"
rate = "20/s"
user = "postgres"
database = "postgres"
statements = ["select 1"]
[[load]]
proxy = "web"
rate = "20/s"
path = "/hello"
[[phase]]
kind = "baseline"
for = "2s"
[[expect]]
lane = "web"
error_rate = 1.0
"""
CLIENT = "import redis, sys, time; r = redis.Redis.from_url(sys.argv[1], protocol=3)\nwhile True: r.get('a'); time.sleep(0.05)"


def test_servers_are_named_as_they_name_themselves(redis_server, postgres_server, nginx_server, tmp_path):
    servers = [("redis", "redis", redis_server), ("quiet", "redis", redis_server)]
    servers += [("postgres", "postgres", postgres_server), ("web", "http", nginx_server)]
    profile = tmp_path / "versions.toml"
    profile.write_text("".join(PROXY.format(name, protocol, server.address) for name, protocol, server in servers) + LOADS)
    command = [binary(), "test", profile, "--report", tmp_path, "--", sys.executable, "-c", CLIENT, "redis://{proxy:redis}/0"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    said = {proxy["name"]: proxy.get("server") for proxy in report["runs"][0]["configuration"]["proxies"]}
    info = redis_server.command("INFO", "server")
    with psycopg.connect(host=postgres_server.host, port=postgres_server.port, user="postgres", dbname="postgres") as connection:
        version = connection.execute("show server_version").fetchone()[0]
    with urllib.request.urlopen(f"http://{nginx_server.address}/hello") as reply:
        web = reply.headers["Server"]
    assert f"redis_version:{said['redis']}\r\n" in info
    # Our own load speaks RESP2, and asks for no version.
    assert (said["quiet"], said["postgres"], said["web"]) == (None, version, web)
    for option in ("--html", "--markdown", "--text"):
        text = subprocess.run([binary(), "report", tmp_path / "report.json", option], capture_output=True, text=True).stdout
        flat = " ".join(text.split())
        for name in ("redis", "postgres", "web"):
            assert said[name] in flat, (option, name)
