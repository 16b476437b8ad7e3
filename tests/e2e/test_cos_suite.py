"""The whole suite of COS as its team runs it: the folder, in one command, quickly, on the service as it is built well."""

import pytest
from harness import suite as whole
from harness.suite import PASSWORD

pytestmark = [pytest.mark.proxy, pytest.mark.timeout(400)]

ORDER = ["services-health", "api-benchmarks", "redis-benchmarks", "postgres-benchmarks", "resources", "redis-interruption"]
ORDER += ["circuit-breaker", "network-timeout", "high-error-rate", "unknown-outcome", "capacity"]
# A limit on time or on the machine that a crowded one breaks is not the service's; nothing else may fail. What two or three seconds of
# load cannot show is inconclusive, whichever it is.
CROWDED = {"fails_fast_within", "mean", "p50", "p95", "p99", "throughput", "cpu_mean_at_most", "cpu_peak_at_most"}
CROWDED |= {"pool_utilisation_at_most", "headroom_at_least", "recovers_within", "detects_within"}
CODES = {"pass": 0, "inconclusive": 3, "fail": 1, "error": 4}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    ran = whole.run(tmp_path_factory.mktemp("suite"))
    return ran.done, ran.report, ran.folder, ran.seconds


def test_every_part_runs_in_its_order(suite):
    done, report, _, took = suite
    assert report["errors"] == [], done.stderr
    assert [run["profile"] for run in report["runs"]] == ORDER
    parts = [line.split(": ")[1].split(",")[0] for line in done.stderr.splitlines() if line.startswith("part ")]
    assert parts == ORDER
    print(f"the suite took {took:.0f} s")


def test_the_service_fails_nothing_that_time_does_not_explain(suite):
    done, report, *_ = suite
    rows = [(run["profile"], row) for run in report["runs"] for row in run["expectations"]]
    failed = [(part, row) for part, row in rows if row["verdict"] in ("fail", "error") and row["severity"] == "limit"]
    wrong = [(part, row["field"], row["measured"], row["why"]) for part, row in failed if row["field"].rpartition(".")[2] not in CROWDED]
    assert not wrong, wrong
    passed = sum(row["verdict"] == "pass" for _, row in rows)
    assert passed > len(rows) / 2, [(part, row["field"], row["verdict"], row.get("reason")) for part, row in rows]


def test_it_ends_with_one_matrix(suite):
    done, report, *_ = suite
    lines = done.stdout.splitlines()
    head = "part component phase target measured samples verdict".split()
    assert [line.split() for line in lines].count(head) == 1 and lines[0].split() == head
    count = sum(len(run["expectations"]) for run in report["runs"])
    matrix = lines[1 : 1 + count]
    assert [line.split()[0] for line in matrix if not line.startswith(" ")] == ORDER, "each part is named once, in its row"
    words = {"pass", "FAIL", "inconclusive", "quiet", "RAISED", "error"}
    assert all(line.split()[-1] in words for line in matrix), matrix
    results = [line for line in lines if line.endswith("(seed 8474)")]
    assert results == [f"{run['profile']}: {run['result']} (seed 8474)" for run in report["runs"]]


def test_the_exit_code_is_that_of_the_gravest_part(suite):
    done, report, *_ = suite
    gravest = max((run["result"] for run in report["runs"]), key=list(CODES).index)
    assert done.returncode == CODES[gravest]
    assert report["result"] == gravest


def test_the_report_is_one_page_and_no_password_is_in_it(suite):
    done, report, folder, _ = suite
    assert (folder / "report.html").stat().st_size < 1_000_000
    page = (folder / "report.html").read_text()
    places = [page.index(f">{part}: ") for part in ORDER]
    assert places == sorted(places), "a section a part, in the order of the suite"
    for path in folder.iterdir():
        assert PASSWORD not in path.read_text() and PASSWORD.replace(" ", "%20") not in path.read_text(), path
    assert "brownout test profiles/cos --seed 8474 " in report["again"] and " --quick -- " in report["again"]
