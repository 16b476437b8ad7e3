"""What is inferred from the wire against the truth: services that are built well or badly in one way each, on real servers.

Nothing that is said may be wrong. What is not said has to have a reason, and where the wire shows it, it has to be said.
"""

import concurrent.futures

import pytest
from harness.judged import detection, judge, recovery, rows
from harness.service import FASTAPI, NODE, observe

# The fixture runs them all: the first test waits for it.
pytestmark = [pytest.mark.proxy, pytest.mark.timeout(500)]

WORK = {"class": ["read", "write", "ping"]}
# Answered at once with an error; nothing is answered; the reply to a commit is lost.
TOLD = {"proxy": "redis", "action": "error", "code": "ERR", "message": "disturbed", "match": WORK}
SILENT = {"proxy": "redis", "action": "stall", "match": WORK}
STUCK = {"proxy": "postgres", "action": "stall", "match": {"operation": "INSERT"}}
LOST = {"proxy": "postgres", "action": "lose_reply", "match": {"operation": "COMMIT"}}
# Four who write, each for a fifth of a second.
CROWD = {"proxy": "postgres", "action": "latency", "delay": "200ms", "match": {"operation": "INSERT"}}

# Two of three fail.
HALF = {"proxy": "redis", "action": "error", "code": "ERR", "message": "disturbed", "probability": 0.65, "match": WORK}

# All bytes of the server, those of its greetings, too.
HOLE = {"proxy": "redis", "action": "blackhole"}

KINDS = {"told": TOLD, "half": HALF, "silent": SILENT, "hole": HOLE, "stuck": STUCK, "lost": LOST, "crowd": CROWD}
WRITERS = {"stuck": 1, "lost": 1, "crowd": 4}

OF_POSTGRES = ("idle-in-transaction", "pool-of-one", "retries-commit", "memory-leak")
PYTHON = {
    "told": [variant for variant in FASTAPI.variants if variant not in OF_POSTGRES],
    "half": ["well", "breaker-ratio"],
    "silent": ["well", "no-timeout", "timeout-only", "leaks", "retries-fixed", "breaker-8"],
    "hole": ["well", "no-timeout"],
    "stuck": ["idle-in-transaction", "well"],
    "lost": ["retries-commit", "well"],
    "crowd": ["pool-of-one", "well"],
}
JAVASCRIPT = {
    "told": list(NODE.variants),
    "half": ["well"],
    "silent": ["well", "no-timeout", "timeout-only", "retries-jitter", "leaks"],
    "hole": ["well"],
    "stuck": ["well"],
    "lost": ["well"],
    "crowd": ["well"],
}
CASES = {f"{variant}-{kind}": (FASTAPI, variant, kind) for kind, variants in PYTHON.items() for variant in variants}
CASES |= {f"node-{variant}-{kind}": (NODE, variant, kind) for kind, variants in JAVASCRIPT.items() for variant in variants}
NAMES = list(CASES)


class Observed:
    def __init__(self, app, variant, kind, result):
        self.variant, self.kind, self.fault, self.truth = variant, kind, KINDS[kind], app.truth(variant)
        self.insight, self.service, self.callers, self.ended = result
        (self.dependency,) = (d for d in self.insight["dependencies"] if d["proxy"] == self.fault["proxy"])

    def answer(self, what):
        """The answer, or None and the reason."""
        return unpack(self.dependency[what])

    @property
    def told_of_breaker(self):
        return self.dependency["breakers"][0]

    @property
    def breaker(self):
        # Of several processes that are told apart each has one, built in the same way.
        breaker = self.told_of_breaker
        return {key: unpack(breaker[key]) for key in ("opening", "threshold", "open_seconds", "probes", "closing", "fails_fast")}

    @property
    def gives_up(self):
        """It stops asking after so many failures."""
        return self.truth["breaker"] != "none" or self.truth["gone_s"] > 0

    @property
    def trips_after(self):
        """Failures in a row; where its breaker goes by a share of them, it says itself how many they were."""
        if self.truth["breaker"] in BY_SHARE:
            return self.service.said("open")[0]["failures"]
        return self.truth["threshold"] if self.truth["breaker"] != "none" else 1

    @property
    def comes_back(self):
        """Before the recording ends."""
        return self.truth["half_open"] != "never" and not self.truth["gone_s"] and self.truth["open_s"] < 3

    @property
    def hides(self):
        """It leaves a connection open on which it waits for nothing any more, so that nobody sees when it gave up."""
        return self.kind in ("silent", "hole") and (self.truth["leaks"] or self.truth.get("gives_up") == "call") and self.truth["cache_timeout_s"] > 0


# Breakers that open when too large a share of the calls of a window failed.
BY_SHARE = ("ratio", "opossum")


# Several services, servers and proxies share the cores: a machine that is too busy for an answer has said so, and that is right.
BUSY = ("the proxy itself was",)


def busy(reason):
    return reason.startswith(BUSY)


def unpack(finding):
    answer = finding["answer"]
    return (answer["Ok"], "") if "Ok" in answer else (None, answer["Err"]["reason"])


@pytest.fixture(scope="module")
def observed(request, redis_server, postgres_server, tmp_path_factory):
    """All cases that are asked for, some at once: each takes a dozen seconds, most of them waiting."""
    ours = [item for item in request.session.items if item.module is request.module]
    calls = [item.callspec.params for item in ours if hasattr(item, "callspec")]
    names = {params["case"] for params in calls if "case" in params}
    asked = {name: case for name, case in CASES.items() if name in names}
    # Here and not where they run at once: pytest would make its base folder more than once.
    folders = {name: tmp_path_factory.mktemp(name) for name in asked}

    def one(case):
        name, (app, variant, kind) = case
        result = observe(
            app,
            variant,
            KINDS[kind],
            (redis_server, postgres_server),
            folders[name],
            workers=2 if variant == "two-workers" else 1,
            writers=WRITERS.get(kind, 0),
            # Keys of its own: those that run at once use this Redis, too.
            database=NAMES.index(name) % 15,
        )
        return Observed(app, variant, kind, result)

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        return dict(zip(asked, pool.map(one, asked.items()), strict=True))


@pytest.fixture(params=NAMES)
def case(request, observed):
    return observed[request.param]


def on_redis(case):
    if case.fault["proxy"] != "redis":
        pytest.skip("its fault is on Postgres, which has no breaker in any variant")


def test_the_service_was_disturbed(case):
    assert case.dependency["affected"], "else nothing below says anything"
    assert all(len(caller.statuses) > 50 for caller in case.callers)


def test_whether_a_breaker_opens(case):
    opening, reason = case.breaker["opening"]
    if case.fault["proxy"] == "postgres" or not case.gives_up:
        assert opening is None or opening["state"] == "stayed_closed", opening
        assert opening or reason
    elif case.hides:
        assert reason or opening["state"] == "opened", opening
    else:
        assert busy(reason) or (opening and opening["state"] == "opened"), opening or reason


def test_after_how_many_failures(case):
    on_redis(case)
    threshold, reason = case.breaker["threshold"]
    if not case.gives_up:
        assert threshold is None and reason
        return
    if busy(reason) or (case.hides and reason):
        return
    if case.kind == "half" and case.truth["breaker"] in BY_SHARE and reason:
        assert "had not opened it before" in reason
        return
    assert threshold, reason
    assert threshold["low"] <= case.trips_after <= threshold["high"], (threshold, case.trips_after)
    # Errors that come at once tell each failure from the next, where the proxy itself comes at once.
    prompt = case.told_of_breaker["threshold"]["evidence"]["figures"]["proxy_late_ms"] < 5
    if case.kind == "told" and case.variant != "two-workers" and prompt:
        assert threshold["high"] - threshold["low"] <= 1, threshold


def test_how_long_it_stays_open(case):
    on_redis(case)
    open_seconds, reason = case.breaker["open_seconds"]
    if case.truth["breaker"] == "none" or not case.comes_back:
        assert open_seconds is None and reason
        return
    if busy(reason) or (case.hides and reason):
        return
    assert open_seconds, reason
    # A machine that is busy wakes a service late, never early.
    assert open_seconds["low"] <= case.truth["open_s"] + 0.02 and open_seconds["high"] >= case.truth["open_s"] - 0.005, open_seconds


def test_how_it_closes(case):
    on_redis(case)
    closing, reason = case.breaker["closing"]
    if not case.gives_up or not case.comes_back:
        assert closing is None and reason
        return
    if busy(reason) or (case.hides and reason):
        return
    assert closing, reason
    if closed := [one["at"] for one in case.service.said("closed") if one["at"] > case.ended - 0.5]:
        assert closing["after_seconds"] == pytest.approx(max(0, closed[0] - case.ended), abs=0.6)


def test_when_it_notices(case):
    found, reason = case.answer("detection")
    if found is None:
        assert reason
        return
    if pair := detection(case.dependency, case.insight["started"], case.service.said()):
        inferred, own = pair
        assert inferred >= own - 0.1, "nobody sees it before the service does"
        # One that leaves the connection open is seen to go on when its caller is answered.
        assert case.hides or inferred <= own + 0.5, "what it wrote into its own log"


def test_how_long_it_waits(case):
    on_redis(case)
    timeout, reason = case.answer("timeout")
    greeted = case.kind == "hole" and case.variant != "no-timeout"
    if case.kind in ("told", "half") or case.hides or greeted:
        assert timeout is None and reason, "of a greeting that vanishes it is not known"
    elif busy(reason):
        return
    elif case.variant == "no-timeout":
        assert timeout["waits"] == "without"
    else:
        assert timeout, reason
        assert timeout["waits"] == "gives_up"
        assert timeout["ms"] == pytest.approx(case.truth["cache_timeout_s"] * 1000, rel=0.03, abs=15), timeout


def test_how_often_it_asks_again(case):
    retries, reason = case.answer("retries")
    if retries is None:
        assert reason
        return
    most = case.truth["commit_attempts"] if case.kind == "lost" else case.truth["attempts"]
    attempts = retries["most_attempts"]
    if case.variant == "retries-without-end":
        assert attempts["high"] > 20
    elif case.fault["proxy"] == "redis" or case.kind == "lost":
        assert attempts["low"] <= most <= attempts["high"], attempts
    if retries["backoff"] and case.kind == "told" and most > 1 and case.variant != "retries-without-end":
        assert retries["backoff"] == ("growing" if case.truth["backoff"] == "exponential" else "fixed"), retries
    if retries["jitter"] and case.kind == "told":
        assert (retries["jitter"] != "none") == case.truth["jitter"], retries


def test_when_it_is_itself_again(case):
    on_redis(case)
    found, reason = case.answer("recovery")
    if not case.comes_back:
        assert found is None and ("not itself again" in reason or busy(reason))
        return
    if found is None:
        assert reason
        return
    if pair := recovery(case.dependency, case.insight["started"], case.service.said()):
        inferred, own = pair
        # Not before the service itself says so; and not long after, but for what the machine may have added.
        assert inferred >= own - 0.1
        least = case.dependency["recovery"]["evidence"]["figures"].get("seconds_at_least", inferred)
        assert least <= own + 1


def test_whether_the_damage_stays_where_it_is(case):
    on_redis(case)
    containment, reason = case.answer("containment")
    if containment is None:
        assert reason
        return
    health = next(route for route in containment["routes"] if route["route"] == "GET /health")
    if case.variant == "error-spreads":
        assert health["suffered"] or health["needs_it"], containment
    else:
        assert not health["needs_it"] and not health["suffered"], containment


def test_what_it_leaves_behind(case):
    leftovers, reason = case.answer("leftovers")
    if leftovers is None:
        assert reason
        return
    if case.variant == "leaks":
        assert leftovers["extra_connections"] + leftovers["stuck_connections"] > 0, leftovers
    elif case.variant == "idle-in-transaction":
        assert leftovers["forgotten_transactions"] > 0, leftovers
    else:
        assert leftovers["forgotten_transactions"] == 0 and leftovers["stuck_connections"] == 0, leftovers


def test_what_is_done_twice(case):
    duplicates, reason = case.answer("duplicates")
    if case.kind != "lost":
        assert duplicates is None and reason
        return
    assert duplicates["untold"] > 5
    if case.variant == "retries-commit":
        assert duplicates["done_twice"] > 0, duplicates
    else:
        assert duplicates["done_twice"] == 0, "the caller asks anew, and the service once for each"


def test_how_much_of_its_pool_is_in_use(case):
    pool, reason = case.answer("pool")
    if case.fault["proxy"] == "redis":
        return
    assert pool, reason
    assert pool["most_busy"] <= case.truth["table_pool"], pool
    if case.kind == "crowd":
        assert pool["most_busy"] >= min(4, case.truth["table_pool"]), pool


@pytest.fixture(scope="module")
def grown(redis_server, postgres_server, tmp_path_factory):
    """What a test of a quarter of a minute says of memory, by variant."""

    def one(variant):
        document, _ = judge(FASTAPI, variant, "leak", 8474, (redis_server, postgres_server), tmp_path_factory.mktemp(variant))
        return {name: (verdict, why) for name, verdict, why in rows(document)}["memory_growth_at_most"]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip(("well", "memory-leak"), pool.map(one, ("well", "memory-leak")), strict=True))


@pytest.mark.parametrize(("variant", "verdict"), [("well", "pass"), ("memory-leak", "fail")])
def test_whether_its_memory_grows(grown, variant, verdict):
    assert grown[variant][0] == verdict, grown[variant]
