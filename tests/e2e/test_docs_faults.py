"""docs/faults.md: every row has an example, and every example does on real servers what its row says."""

import inspect
import json
import re
import subprocess
import tomllib

import pytest
from harness import loads, states
from harness.loads import Clients, timed
from harness.process import eventually
from harness.proxy import DIRECT, ROOT, Brownout, binary

pytestmark = pytest.mark.proxy

TEXT = (ROOT / "docs" / "faults.md").read_text()
FAULTS = [fault for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL) for fault in tomllib.loads(block)["fault"]]
ROWS = [
    dict(zip(("actions", "protocol", "state", "effect", "example"), cells, strict=True))
    for cells in (line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| `"))
]
EFFECTS = {row["example"].strip("`"): row["effect"] for row in ROWS}
# Where nothing listens, nobody is turned away.
UNCOUNTED = {"nobody-home", "never-accepted"}


@pytest.fixture(scope="module")
def clients(proxies, redis_server, postgres_server, tmp_path_factory):
    if DIRECT:
        pytest.skip("faults need the proxy")
    postgres_server.query("drop table if exists profile_rows; create table profile_rows (n int)")
    process = Brownout([*proxies, ("tcp", "tcp", redis_server)], profiles=tmp_path_factory.mktemp("docs"))
    yield Clients(process, redis_server, postgres_server)
    process.stop()


def test_every_row_has_an_example_and_every_example_a_row():
    assert [fault["name"] for fault in FAULTS] == list(EFFECTS), "in the order of the tables"
    for row, fault in zip(ROWS, FAULTS, strict=True):
        assert row["actions"] == f"`{fault['action']}`", fault["name"]
        protocols = {"redis": "Redis", "postgres": "Postgres", "web": "HTTP", "tcp": "tcp"}
        assert protocols[fault["proxy"]] in row["protocol"] or row["protocol"] == "any", fault["name"]


def test_every_action_has_a_row():
    schema = json.loads(subprocess.run([binary(), "schema", "profile"], check=True, capture_output=True).stdout)
    kinds = schema["$defs"]["ActionKind"]
    actions = {one["const"] for one in kinds["oneOf"]} if "oneOf" in kinds else set(kinds["enum"])
    assert actions == {row["actions"].strip("`") for row in ROWS}


@pytest.fixture(scope="module")
def clients_of_nginx(redis_server, postgres_server, nginx_server, tmp_path_factory):
    if DIRECT:
        pytest.skip("faults need the proxy")
    proxies = [("redis", "redis", redis_server), ("postgres", "postgres", postgres_server), ("http", "web", nginx_server)]
    process = Brownout(proxies, profiles=tmp_path_factory.mktemp("nginx"))
    yield Clients(process, redis_server, postgres_server)
    process.stop()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_an_example_does_what_its_row_says(clients, fault):
    does_what_its_row_says(clients, fault)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault["proxy"] == "web"], ids=lambda fault: fault["name"])
def test_an_example_on_http_does_the_same_before_nginx(clients_of_nginx, fault):
    does_what_its_row_says(clients_of_nginx, fault)


def does_what_its_row_says(clients, fault):
    name = fault["name"]
    work = getattr(states, {"exec": "exec_"}.get(name, name.replace("-", "_")))
    steps = work(clients) if inspect.isgeneratorfunction(work) else None
    if steps:
        next(steps)
    with clients.process.fault(**fault):
        if steps:
            next(steps)
        else:
            work(clients)
        count = "skipped" if EFFECTS[name].startswith("Skipped") else "injected"
        if name not in UNCOUNTED:
            assert clients.process.get_json(f"/v1/faults/{name}")[count] > 0, f"not {count}"
    if steps:
        next(steps, None)
    for again in (loads.redis_read, loads.postgres_read, loads.web_get):
        eventually(f"{again.__name__} to be well again", lambda again=again: not timed(again, clients).error or None)
