"""What must stay secret appears nowhere: not in logs, figures, events, ledger, audit, recordings or reports, nor in base64 or hex."""

import base64
import http.client
import json
import resource
import signal
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest
import redis
from harness.process import eventually
from harness.proxy import Brownout, binary
from harness.servers import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

pytestmark = pytest.mark.proxy

# Each of its own length and text, so that a test that fails says which one got out.
CANARIES = {
    "redis password": "tester-password",  # that of the server's second user
    "other redis password": "canary-rwrong-Zq3vN8",
    "redis key": "canary-rkey-Kd82mPzx",
    "redis value": "canary-rvalue-Wm4tYb1q",
    "redis channel message": "canary-rmessage-Tc6jLs0a",
    "redis script": "canary-rscript-Vv5hQe9d",
    "postgres password": "canary-pgpass-Xo7rGf2k",
    "sql literal": "canary-literal-Hy3uBn8w",
    "sql parameter": "canary-param-Lp9sDc4e",
    "sql comment": "canary-comment-Ra1iMz6t",
    "copied row": "canary-copied-Fj2xVo5y",
    "http authorization": "canary-bearer-Ug8wCk3p",
    "http cookie": "canary-cookie-Nb0qEt7h",
    "http query": "canary-query-Sd4lRx9v",
    "http body": "canary-body-Iz6yAm1j",
    "http basic": "canary-basic-Pf5gWu2c",
    "token": "canarytoken0123456789abcdefXYZ-Qh7kTj4s",
}


def forms(secret):
    """The secret as it is, and as something may have encoded it."""
    data = secret.encode()
    yield secret
    yield data.hex()
    yield data.hex().upper()
    # In base64 a text looks otherwise by where it begins; the ends depend on what is around it.
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + data)[4 if shift else 0 :].decode().rstrip("=")[:-2]
        yield base64.urlsafe_b64encode(b"\0" * shift + data)[4 if shift else 0 :].decode().rstrip("=")[:-2]


def use_redis(at):
    c = CANARIES
    options = dict(host=at.host, port=at.port, retry=Retry(NoBackoff(), 0))
    with redis.Redis(username="tester", password=c["redis password"], **options) as client:
        client.set(c["redis key"], c["redis value"])
        client.get(c["redis key"])
        with pytest.raises(redis.ResponseError):
            client.incr(c["redis key"])
        client.eval(f"return '{c['redis script']}'", 0)
        client.publish("channel", c["redis channel message"])
        with pytest.raises(redis.ResponseError):
            client.execute_command("NOSUCH", c["redis value"])
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(username="tester", password=c["other redis password"], **options).ping()


def use_postgres(at):
    c = CANARIES
    conninfo = f"host={at.host} port={at.port} user=postgres dbname=postgres sslmode=disable password={c['postgres password']}"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create temporary table secrets (s text)")
        connection.execute(f"insert into secrets values ('{c['sql literal']}') -- {c['sql comment']}")
        connection.execute("insert into secrets values (%s)", (c["sql parameter"],))
        with connection.cursor().copy("copy secrets from stdin") as copy:
            copy.write_row((c["copied row"],))
        with pytest.raises(psycopg.Error):
            connection.execute(f"select '{c['sql literal']}'::int")
        with pytest.raises(psycopg.Error):
            connection.execute(f"select nothing from nowhere where s = '{c['sql literal']}'")


def use_http(at):
    c = CANARIES
    basic = base64.b64encode(f"user:{c['http basic']}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {c['http authorization']}", "Cookie": f"session={c['http cookie']}"},
        {"Authorization": f"Basic {basic}"},
    ):
        connection = http.client.HTTPConnection(at.host, at.port, timeout=5)
        connection.request("POST", f"/echo?token={c['http query']}", c["http body"], headers)
        connection.getresponse().read()
        connection.request("GET", f"/items/1?token={c['http query']}", headers=headers)
        connection.getresponse().read()
        connection.close()


@pytest.fixture(scope="module")
def places(redis_server, postgres_server, web_server, tmp_path_factory):
    """Everything that a proxy tells of traffic full of secrets, by where it was told."""
    folder = tmp_path_factory.mktemp("secrets")
    tokens = folder / "tokens"
    tokens.write_text(f"admin:{CANARIES['token']}\n")
    tokens.chmod(0o600)
    upstreams = (("redis", "redis", redis_server), ("postgres", "postgres", postgres_server), ("web", "http", web_server))
    config = "".join(
        f'[[proxy]]\nname = "{name}"\nprotocol = "{protocol}"\nlisten = 0\nupstream = "{server.address}"\n'
        for name, protocol, server in upstreams
    )
    (folder / "brownout.toml").write_text('[admin]\ntoken_file = "tokens"\naudit = "audit.jsonl"\n' + config)
    arguments = ["--config", str(folder / "brownout.toml"), "--record", str(folder / "record"), "--hlog", str(folder / "hlog")]
    process = Brownout([], *arguments, "--log", "trace")
    authorized = {"Authorization": f"Bearer {CANARIES['token']}"}

    def ask(method, path, body=None):
        status, text = process.request(method, path, body, authorized)
        assert status < 300, (path, status, text)
        return text

    told = {}
    events = []

    def listen():
        connection = http.client.HTTPConnection(process.admin, timeout=30)
        connection.request("GET", "/v1/events", headers=authorized)
        reply = connection.getresponse()
        while line := reply.readline():
            events.append(line.decode())

    threading.Thread(target=listen, daemon=True).start()
    for name, match in (("on-keys", {"key": CANARIES["redis key"]}), ("on-sql", None), ("on-web", None)):
        proxy = {"on-keys": "redis", "on-sql": "postgres", "on-web": "web"}[name]
        fault = {"name": name, "proxy": proxy, "action": "latency", "delay": "1ms"}
        ask("POST", "/v1/faults", fault | ({"match": match} if match else {}))
    use_redis(process.endpoint("redis"))
    use_postgres(process.endpoint("postgres"))
    use_http(process.endpoint("web"))
    # Refusals are recorded too.
    for path, body in (("/v1/faults", {"name": "x", "proxy": "redis", "action": "latency", "delay": "soon"}),):
        assert process.request("POST", path, body, authorized)[0] in (400, 422)
    assert process.request("GET", "/v1/stats", None, {"Authorization": f"Bearer {CANARIES['http authorization']}"})[0] == 401

    def counted():
        text = ask("GET", "/v1/stats")
        proxies = json.loads(text)["proxies"]
        return text if all(proxy["total"]["count"] > 2 for proxy in proxies) else None

    told["stats"] = eventually("counts of all proxies", counted)
    for path in ("/metrics", "/v1/ledger", "/v1/ledger?canonical=true", "/v1/proxies", "/v1/slo", "/v1/stats?histograms=true", "/proxies"):
        status, text = process.request("GET", path, None, authorized)
        told[path] = text if status == 200 else ""
    assert "on-keys" in told["/v1/ledger"] or told["/v1/ledger"].count("latency") > 0, "the ledger saw something"
    process.stop()
    told["log"] = process.stderr
    told["events"] = "".join(events)
    told["audit"] = (folder / "audit.jsonl").read_text()
    (recording,) = (folder / "record").glob("*.jsonl")
    told["recording"] = recording.read_text()
    assert '"GET' in told["recording"] or "GET" in told["recording"]
    told["insight"] = subprocess.run([binary(), "insight", "--from", recording, "--output", "json"], capture_output=True, text=True).stdout
    told["hlog"] = "".join(path.read_text(errors="replace") for path in sorted((folder / "hlog").glob("*")))
    return told


@pytest.mark.parametrize("what", CANARIES)
def test_a_secret_is_told_nowhere(places, what):
    for where, text in places.items():
        for form in forms(CANARIES[what]):
            # A key that somebody wrote into a fault's own match is what he wrote, and is shown to him.
            if what == "redis key" and where in ("audit", "events", "/v1/faults"):
                continue
            # What is refused is quoted to who sent it, and to the audit log's reader only as a path.
            at = text.find(form)
            assert at < 0, f"{what} in {where}: ...{text[max(0, at - 80) : at + 80]}..."


def test_everything_was_looked_at(places):
    assert all(places[where] for where in ("stats", "/metrics", "/v1/ledger", "log", "audit", "recording", "insight", "hlog", "events"))


def test_a_crash_leaves_no_memory_behind(redis_server, tmp_path):
    def unlimited():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)

    brownout = Brownout([("redis", "cache", redis_server)], profiles=tmp_path, preexec_fn=unlimited)
    limits = Path(f"/proc/{brownout.pid}/limits").read_text()
    (core,) = [line.split()[-3:-1] for line in limits.splitlines() if line.startswith("Max core file size")]
    # 1 and not 0: a limit of 0 does not keep the kernel from piping the memory to a collector.
    assert core in (["1", "1"], ["0", "0"])
    assert brownout.process.end(signal.SIGABRT) == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_with_a_password_in_a_url_is_refused_without_it(tmp_path):
    secret = "canary-url-Jx3nOw8z"
    path = tmp_path / "b.toml"
    path.write_text(f'[[proxy]]\nname = "r"\nprotocol = "redis"\nlisten = 0\nupstream = "redis://:{secret}@localhost:6379"\n')
    for command in (["check", path], ["run", "--config", path], ["check", "--output", "json", path]):
        done = subprocess.run([binary(), *command], capture_output=True, text=True)
        assert done.returncode == 2
        assert secret not in done.stdout + done.stderr


def test_exec_tells_no_password_of_a_url(redis_server, tmp_path):
    url = f"redis://tester:tester-password@{redis_server.address}/0"
    work = 'redis-cli -u "$REDIS_URL" ping >/dev/null 2>&1; true'
    command = [binary(), "exec", "--report", tmp_path, "--", "sh", "-c", work]
    done = subprocess.run(command, capture_output=True, text=True, env={"REDIS_URL": url, "PATH": "/usr/local/bin:/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    everything = done.stdout + done.stderr + "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for form in forms("tester-password"):
        assert form not in everything


@pytest.fixture
def locked_redis():
    """One that wants a password of everybody."""
    server = Redis()
    assert server.command("CONFIG", "SET", "requirepass", CANARIES["other redis password"]) == "+OK\r\n"
    yield server
    server.stop()


def test_reports_of_a_test_tell_nothing_that_its_load_sent(locked_redis, postgres_server, web_server, tmp_path):
    c = CANARIES
    upstreams = (("redis", "redis", locked_redis), ("postgres", "postgres", postgres_server), ("web", "http", web_server))
    profile = "".join(
        f'[[proxy]]\nname = "{name}"\nprotocol = "{protocol}"\nlisten = 0\nupstream = "{server.address}"\n'
        for name, protocol, server in upstreams
    )
    profile += f"""
[[fault]]
proxy = "*"
action = "latency"
delay = "1ms"

[[load]]
proxy = "redis"
rate = "50/s"
password_env = "CACHE_PASSWORD"
commands = ["SET {c["redis key"]} {c["redis value"]}", "GET {c["redis key"]}", "INCR {c["redis key"]}"]

[[load]]
proxy = "postgres"
rate = "50/s"
password_env = "DATABASE_PASSWORD"
statements = ["SELECT '{c["sql literal"]}'", "SELECT '{c["sql literal"]}'::int"]

[[load]]
proxy = "web"
rate = "50/s"
method = "POST"
path = "/append/x?token={c["http query"]}"
headers = {{ Authorization = "Bearer {c["http authorization"]}", Cookie = "session={c["http cookie"]}" }}
body = "{c["http body"]}"

[[phase]]
kind = "baseline"
for = "1s"

[[phase]]
kind = "fault"
for = "1s"

[[expect]]
proxy = "redis"
operation = "GET"
p95 = "1ns"

[[expect]]
lane = "postgres"
error_rate = 0.0

[[expect]]
lane = "web"
p95 = "1ns"
"""
    (tmp_path / "secret.toml").write_text(profile)
    environment = {"PATH": "/usr/bin:/bin", "CACHE_PASSWORD": c["other redis password"], "DATABASE_PASSWORD": c["postgres password"]}
    told = {}
    for form in ("text", "json"):
        reports = tmp_path / form
        command = [binary(), "test", tmp_path / "secret.toml", "--output", form, "--report", reports]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
        assert done.returncode == 1, done.stderr + done.stdout
        told[form], told[f"{form}, stderr"] = done.stdout, done.stderr
        told |= {str(path.relative_to(tmp_path)): path.read_text(errors="replace") for path in reports.rglob("*") if path.is_file()}
    document = json.loads(told["json"])
    assert all(lane["ended"] > 20 for lane in document["lanes"].values()), document["lanes"]
    # One statement of two fails, one command of three; the secrets were sent.
    assert all(0 < document["lanes"][name]["failed"] < document["lanes"][name]["ended"] for name in ("redis", "postgres"))
    assert any("report" in name for name in told), told.keys()
    for what, secret in c.items():
        for where, text in told.items():
            for form in forms(secret):
                at = text.find(form)
                assert at < 0, f"{what} in {where}: ...{text[max(0, at - 80) : at + 80]}..."
