"""Every profile that comes with brownout, switched on and off by its name, as real clients meet it and as it is counted."""

import contextlib
import itertools
import re
import shutil
import time
from collections import Counter

import pytest
from harness import loads
from harness.loads import Clients, timed
from harness.process import eventually
from harness.proxy import DIRECT, ROOT, Brownout

pytestmark = pytest.mark.proxy

LIBRARY = ROOT / "profiles"
# The suite in cos/ is tested as a suite.
NAMES = sorted(str(path.relative_to(LIBRARY).with_suffix("")) for path in LIBRARY.rglob("*.toml") if path.parent.name != "cos")


class Expect:
    """What shows that a profile is on: rounds of ``work`` are done until each of ``signs`` was seen.

    ``spares`` must go on as ever meanwhile. ``held`` is a connection from before, which each round is done on, too.
    ``uncounted`` are faults of which nothing can be counted: where nothing listens, nobody can be turned away.
    """

    def __init__(self, work, *signs, spares=(), held=None, on_held=None, uncounted=()):
        self.work, self.signs, self.spares = work, signs, spares
        self.held, self.on_held, self.uncounted = held, on_held, uncounted


def failed(text):
    """The round failed with this in its error."""

    def sign(outcome):
        return text.lower() in outcome.error.lower() and outcome.error != ""

    sign.__name__ = f"failed({text})"
    return sign


def slow(seconds):
    """The round took at least so long."""

    def sign(outcome):
        return outcome.seconds >= seconds

    sign.__name__ = f"slow({seconds})"
    return sign


def lost(count):
    """Fewer than so many arrived."""

    def sign(outcome):
        return isinstance(outcome.found, int) and outcome.found < count

    sign.__name__ = f"lost({count})"
    return sign


def both(first, second):
    """Two signs in one round."""

    def sign(outcome):
        return first(outcome) and second(outcome)

    sign.__name__ = f"{first.__name__} and {second.__name__}"
    return sign


def well(outcome):
    """The round did not fail."""
    return not outcome.error


def unknown(truth):
    """The round failed, and this is what had become of it."""

    def sign(outcome):
        return outcome.error != "" and outcome.found == truth

    sign.__name__ = f"unknown({truth})"
    return sign


REDIS, POSTGRES, WEB = loads.redis_read, loads.postgres_read, loads.web_get
NOT_REDIS, NOT_POSTGRES, NOT_WEB = (POSTGRES, WEB), (REDIS, WEB), (REDIS, POSTGRES)


def redis_expect(work, *signs, spares=(), **options):
    return Expect(work, *signs, spares=(*NOT_REDIS, *spares), **options)


def postgres_expect(work, *signs, spares=(), **options):
    return Expect(work, *signs, spares=(*NOT_POSTGRES, *spares), **options)


def web_expect(work, *signs, spares=(), **options):
    return Expect(work, *signs, spares=(*NOT_WEB, *spares), **options)


def in_turn(*works):
    """One after the other, one a round."""
    endless = itertools.cycle(works)
    return lambda c: timed(next(endless), c)


CHANGES = loads.postgres_write

EXPECTED = {
    "redis-slow": redis_expect(REDIS, slow(0.015)),
    "redis-down": redis_expect(REDIS, failed("refused"), uncounted=["redis-down"]),
    "redis-flapping": redis_expect(REDIS, failed("connection")),
    "redis-errors": redis_expect(loads.redis_write, failed("BusyLoading"), failed("OutOfMemory")),
    "postgres-slow": postgres_expect(POSTGRES, slow(0.06)),
    "postgres-down": postgres_expect(POSTGRES, failed("timeout")),
    "postgres-errors": postgres_expect(in_turn(CHANGES, POSTGRES), failed("40001"), failed("40P01"), failed("57014")),
    "api-errors": web_expect(WEB, failed("503"), failed("Connection")),
    "api-slow": web_expect(WEB, slow(0.2)),
    # One exchange in two thousand falls silent: not waited for.
    "network-bad": Expect(loads.redis_burst(1000), slow(0.002), failed("connection"), uncounted=["network-silence"]),
    "redis/read-only": redis_expect(loads.redis_write, failed("ReadOnly"), spares=[REDIS]),
    "redis/out-of-memory": redis_expect(loads.redis_write, failed("OutOfMemory"), spares=[REDIS]),
    "redis/loading": redis_expect(REDIS, failed("BusyLoading")),
    "redis/credentials-rotated": redis_expect(
        loads.redis_login, failed("Authentication"), held=loads.held_redis, on_held=(loads.ping_on_held, well)
    ),
    "redis/connection-limit": redis_expect(loads.redis_crowd(20), failed("max number of clients")),
    "redis/busy-script": redis_expect(REDIS, failed("BUSY")),
    "redis/persistence-failed": redis_expect(loads.redis_write, failed("MISCONF"), spares=[REDIS]),
    "redis/slow-consumer": redis_expect(loads.redis_messages(3), slow(0.3), spares=[REDIS, loads.redis_write]),
    "redis/lossy-pubsub": redis_expect(loads.redis_messages(30), lost(30), spares=[REDIS, loads.redis_write]),
    "redis/cluster-resharding": redis_expect(
        loads.redis_burst(20), failed("127.0.0.1:1"), failed("TRYAGAIN"), failed("CLUSTERDOWN")
    ),
    "redis/lost-replies": redis_expect(loads.redis_increment, unknown("done"), spares=[REDIS]),
    "postgres/lock-timeouts": postgres_expect(loads.postgres_update, failed("55P03"), slow(1), spares=[POSTGRES]),
    "postgres/statement-timeouts": postgres_expect(POSTGRES, failed("57014"), slow(1), spares=[CHANGES]),
    "postgres/too-many-connections": postgres_expect(loads.postgres_crowd(20), failed("too many clients")),
    "postgres/lost-commit-ack": postgres_expect(loads.postgres_commit, unknown("done"), spares=[POSTGRES, CHANGES]),
    "postgres/lost-commit": postgres_expect(loads.postgres_commit, unknown("not done"), spares=[POSTGRES, CHANGES]),
    "postgres/slow-commits": postgres_expect(loads.postgres_commit, slow(0.1), spares=[POSTGRES, CHANGES]),
    "postgres/broken-results": postgres_expect(loads.postgres_rows, failed("OperationalError"), spares=[CHANGES]),
    "postgres/lost-notifications": postgres_expect(loads.postgres_notifications(30), lost(30), spares=[POSTGRES]),
    "http/rate-limited": web_expect(WEB, failed("429 Retry-After 5")),
    "http/one-route-down": web_expect(loads.web_item, failed("500"), spares=[WEB, loads.web_post]),
    "http/gateway-timeout": web_expect(loads.web_post, both(failed("504"), slow(2)), spares=[WEB]),
    "http/truncated-bodies": web_expect(loads.web_bytes(10_000), failed("IncompleteRead")),
    "http/slow-bodies": web_expect(loads.web_bytes(10_000), slow(0.4)),
    "http/rolling-restart": web_expect(WEB, failed("502"), failed("Connection")),
    "http/token-expired": web_expect(WEB, failed("401")),
    "http/overloaded": web_expect(loads.web_crowd(40), failed("503"), slow(0.025)),
    "http/unknown-outcome": web_expect(loads.web_post, failed("Connection"), spares=[WEB]),
    "network/packet-loss": Expect(loads.redis_burst(2000), slow(0.2), slow(1.2), spares=[POSTGRES, WEB]),
    "network/jitter": Expect(loads.redis_burst(200), slow(0.01), spares=[POSTGRES, WEB]),
    "network/far-away": Expect(loads.everything, slow(0.24), spares=[REDIS, POSTGRES, WEB]),
    "network/slow-link": Expect(loads.web_bytes(30_000), slow(0.4), spares=[REDIS, POSTGRES, WEB]),
    "network/half-open": Expect(loads.redis_impatient, failed("Timeout")),
    "network/fragmented": Expect(loads.web_bytes(2000), slow(0.08), spares=[REDIS, POSTGRES, WEB]),
    "network/resets": Expect(loads.redis_increment, unknown("done"), unknown("not done")),
    "network/slow-close": Expect(loads.redis_quit, slow(2), spares=[REDIS, POSTGRES, WEB]),
    "network/firewall": Expect(
        loads.redis_impatient, failed("Timeout"), held=loads.held_redis, on_held=(loads.ping_on_held, failed("timed out"))
    ),
    "incidents/failover": postgres_expect(
        CHANGES, failed("refused"), failed("starting up"), failed("25006"), uncounted=["failover-down"]
    ),
    "incidents/replica-lag": postgres_expect(
        in_turn(loads.postgres_commit, *[POSTGRES] * 9), failed("conflict with recovery"), slow(0.4)
    ),
    "incidents/connection-storm": postgres_expect(
        loads.postgres_crowd(10),
        failed("too many clients"),
        held=loads.held_postgres,
        on_held=(loads.read_on_held, failed("Operational")),
    ),
    "incidents/deadlock-wave": postgres_expect(CHANGES, failed("40P01"), spares=[POSTGRES]),
    "incidents/disk-full": postgres_expect(CHANGES, failed("53100"), spares=[POSTGRES]),
    "incidents/read-only": postgres_expect(CHANGES, failed("25006"), spares=[POSTGRES]),
    "incidents/expired-password": postgres_expect(
        POSTGRES, failed("password authentication"), held=loads.held_postgres, on_held=(loads.read_on_held, well)
    ),
    "incidents/brownout": Expect(loads.redis_burst(100), failed("BUSY"), slow(0.02), spares=[REDIS, POSTGRES, WEB]),
    "incidents/flapping": Expect(REDIS, failed("connection")),
    "incidents/cold-cache": postgres_expect(POSTGRES, slow(0.03), spares=[CHANGES]),
    "incidents/noisy-neighbour": Expect(loads.everything, slow(0.045), spares=[REDIS, POSTGRES, WEB]),
    "incidents/thundering-herd": postgres_expect(loads.postgres_herd(60), failed("53000"), slow(0.03), spares=[CHANGES]),
    "incidents/certificate-rotation": Expect(
        REDIS, failed("connection"), held=loads.held_redis, on_held=(loads.ping_on_held, well)
    ),
    "incidents/maintenance-window": postgres_expect(
        POSTGRES, failed("starting up"), held=loads.held_postgres, on_held=(loads.read_on_held, failed("57P01"))
    ),
}


@pytest.fixture(scope="module")
def clients(proxies, redis_server, postgres_server, tmp_path_factory):
    """A process beside a copy of the library in which what begins late begins soon."""
    if DIRECT:
        pytest.skip("profiles need the proxy")
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(LIBRARY, folder / "profiles")
    for path in folder.rglob("*.toml"):
        path.write_text(sooner(path.read_text()))
    postgres_server.query("drop table if exists profile_rows; create table profile_rows (n int)")
    process = Brownout(proxies, profiles=folder)
    yield Clients(process, redis_server, postgres_server)
    process.stop()


LATEST = 3.0  # seconds
_TIME = re.compile(r'(start|duration|repeat|ramp) = "(\d+)(ms|s|m)"')
_UNITS = {"ms": 0.001, "s": 1, "m": 60}


def sooner(text):
    """A profile with all times of its schedules divided by one number, so that its last fault starts by ``LATEST``."""
    times = [(key, int(number) * _UNITS[unit]) for key, number, unit in _TIME.findall(text)]
    factor = max([LATEST, *(time for key, time in times if key == "start")]) / LATEST
    return _TIME.sub(lambda m: f'{m[1]} = "{round(int(m[2]) * _UNITS[m[3]] * 1000 / factor)}ms"', text)


def test_every_profile_is_expected_to_do_something():
    assert set(EXPECTED) == set(NAMES)
    assert len(NAMES) >= 36


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_felt_counted_and_gone_afterwards(clients, name):
    expect = EXPECTED[name]
    before = statuses(clients)
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(expect.held(clients)) if expect.held else None
        with clients.process.profile(name):
            feel(clients, name, expect, held)
            for work in expect.spares:
                outcome = timed(work, clients)
                assert not outcome.error, f"{name} touches {work.__name__}: {outcome}"
    for status in promised(name):
        more = lambda status=status: statuses(clients)[status] > before[status] or None  # noqa: E731
        eventually(f"{status} in the statistics", more)
    for work in (REDIS, POSTGRES, WEB):
        eventually(f"{work.__name__} to be well again", lambda work=work: not timed(work, clients).error or None)


def feel(clients, name, expect, held):
    """Does rounds until every sign was seen and every fault was counted."""
    missing, missing_held = list(expect.signs), []
    if held is not None:
        on_held, sign = expect.on_held
        missing_held = [sign]
    deadline, seen = time.monotonic() + 20, []
    while missing or missing_held or (uncounted(clients, name) - set(expect.uncounted)):
        outcome = timed(expect.work, clients)
        missing = [sign for sign in missing if not sign(outcome)]
        if missing_held:
            of_held = timed(on_held, held)
            missing_held = [sign for sign in missing_held if not sign(of_held)]
            seen.append(of_held)
        seen.append(outcome)
        if time.monotonic() > deadline:
            signs = [sign.__name__ for sign in missing + missing_held]
            raise AssertionError(
                f"{signs} were not seen, {uncounted(clients, name)} not counted; the last rounds: {[str(one) for one in seen[-10:]]}"
            )


def uncounted(clients, name):
    """The faults of a profile which did nothing yet."""
    faults = clients.process.get_json("/v1/faults")["faults"]
    return {fault["name"] for fault in faults if fault["profile"] == name and not fault["injected"]}


def statuses(clients):
    """How many exchanges ended so, on all proxies."""
    counts = Counter()
    for proxy in clients.process.get_json("/v1/stats")["proxies"]:
        for operation in proxy["operations"]:
            counts.update(operation["by_status"])
    return counts


def promised(name):
    """What the profile's comment says that the statistics show: the names behind "error" and "status", "`closed` on"."""
    comment = " ".join(line.strip("# ") for line in (LIBRARY / f"{name}.toml").read_text().split("\n\n")[0].splitlines())
    _, _, stats = comment.partition("In `brownout stats")
    lists = re.findall(r"(?:errors?|status) ((?:`\w+`(?:, | and )?)+)", stats)
    return {status for one in lists for status in re.findall(r"`(\w+)`", one)} | set(re.findall(r"`(closed)` on", stats))


def test_each_is_built_in_and_can_be_switched_on_as_it_is_written(proxies, tmp_path):
    process = Brownout(proxies, profiles=tmp_path)
    try:
        listed = process.get_json("/v1/profiles")
        assert [one["name"] for one in listed["profiles"]] == sorted(NAMES) and not listed["broken"]
        for name in NAMES:
            with process.profile(name):
                assert {fault["profile"] for fault in process.get_json("/v1/faults")["faults"]} == {name}
    finally:
        process.stop()


def test_an_unknown_profile_is_not_found(disturbed):
    for wrong, right in (("redis-slwo", "redis-slow"), ("failover", "incidents/failover"), ("redis/loadnig", "redis/loading")):
        status, text = disturbed.request("POST", f"/v1/profiles/{wrong}/enable", {"ttl": "1m"})
        assert status == 404 and right in text, "the nearest name is offered"
