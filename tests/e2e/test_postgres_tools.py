"""pgbench and psql."""

import re
import subprocess

import pytest
from harness.proxy import DIRECT, eventually
from harness.servers import postgres_program


def run(command, check=True, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=110, **options)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def accounts(postgres_server):
    """pgbench's tables, filled past the proxy."""
    at = postgres_server
    run([postgres_program("pgbench"), "-i", "-q", "-h", at.host, "-p", at.port, "-U", "postgres", "postgres"])
    return at


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["select-only", "tpcb-like"])
def test_pgbench(postgres_at, accounts, postgres_counts, mode, script):
    """Every transaction that pgbench reports was counted, statement by statement."""
    clients, each = 8, 250
    done = run(
        [
            *(postgres_program("pgbench"), "-h", postgres_at.host, "-p", postgres_at.port, "-U", "postgres", "-n"),
            *("-M", mode, "-b", script, "-c", clients, "-t", each, "postgres"),
        ]
    )
    transactions = clients * each
    assert f"number of transactions actually processed: {transactions}/{transactions}" in done.stdout
    assert re.search(r"number of failed transactions: 0\b", done.stdout), done.stdout
    if DIRECT:
        return
    wanted = {"select": transactions}
    if script == "tpcb-like":
        wanted = {name: transactions for name in ("begin", "insert", "select", "commit")} | {"update": 3 * transactions}

    def equal():
        got = postgres_counts.difference()
        got.pop("prepare", None)
        # It says END for COMMIT.
        got["commit"] = got.get("commit", 0) + got.pop("end", 0)
        # Before it begins it asks once for the partitioning of its tables, and at most once for the scale.
        own = got.pop("select") - transactions
        assert 0 <= own <= 2, f"{own} statements beyond those of the transactions"
        assert {name: n for name, n in got.items() if n} == {name: n for name, n in wanted.items() if name != "select"}
        return True

    eventually("the counts of pgbench", equal, limit=5)


def test_psql(postgres_at, postgres_server):
    script = r"""
create temp table t (n int, s text);
\copy t from pstdin
1	one
2	two
\.
select * from t order by n;
\copy t to pstdout
begin; insert into t values (3, 'three'); rollback;
select count(*) from t;
select 1/0;
\d t
select * from generate_series(1, 3) \gdesc
"""
    outputs = []
    for at in (postgres_server, postgres_at):
        url = f"postgresql://postgres@{at.address}/postgres?sslmode=disable"
        done = run([postgres_program("psql"), "--no-psqlrc", url], check=False, input=script)
        # The temporary schema is numbered by backend.
        outputs.append((done.returncode, re.sub(r"pg_temp_\d+", "pg_temp", done.stdout), done.stderr))
    assert outputs[0] == outputs[1]
    assert "division by zero" in outputs[0][2]


def test_a_backend_that_is_terminated(postgres_at, postgres_server):
    """FATAL and the end of the connection reach the client as they are."""
    errors = []
    for at in (postgres_server, postgres_at):
        url = f"postgresql://postgres@{at.address}/postgres?sslmode=disable"
        done = run(
            [postgres_program("psql"), "--no-psqlrc", url, "-c", "select pg_terminate_backend(pg_backend_pid())"], check=False
        )
        errors.append((done.returncode, done.stderr))
    assert errors[0] == errors[1]
    assert "terminating connection due to administrator command" in errors[0][1]
