"""`brownout test` on a service of known build: what each expectation has to come to, and what it came to.

A profile is written for each kind of disturbance, with lengths and rates drawn from a seed. The truth of an expectation follows
from how the variant is built. "Possible" says whether the wire can show it: where it cannot, to be inconclusive is right, and
where it can, it is not wrong, but it counts.
"""

import json
import os
import random
import subprocess
import sys

from .process import free_port
from .proxy import binary
from .servers import program
from .service import FASTAPI, NODE

COUNTING = ("own", "purgatory", "pybreaker", "aiobreaker")
REDIS = 'match = { class = ["read", "write", "ping"] }'
FAULTS = {
    "told": f'proxy = "redis"\naction = "error"\ncode = "ERR"\nmessage = "disturbed"\n{REDIS}',
    "silent": f'proxy = "redis"\naction = "stall"\n{REDIS}',
    "hole": 'proxy = "redis"\naction = "blackhole"',
    "stuck": 'proxy = "postgres"\naction = "stall"\nmatch = { operation = "INSERT" }',
    "lost": 'proxy = "postgres"\naction = "lose_reply"\nmatch = { operation = "COMMIT" }',
    "crowd": 'proxy = "postgres"\naction = "latency"\ndelay = "200ms"\nmatch = { operation = "INSERT" }',
    "leak": None,
}
EXPECTATIONS = {
    "told": [
        "breaker = { opens_after = 5, closes = true }",
        "retries_at_most = 1",
        'recovers_within = "4s"',
        "contained = true",
        "degrades = true",
    ],
    "silent": ['timeout_within = "300ms"', "cleans_up = true", 'detects_within = "1s"'],
    "hole": ['timeout_within = "300ms"', 'detects_within = "1s"'],
    "stuck": ["cleans_up = true"],
    "lost": ["no_duplicates = true", "transactions_intact = true"],
    # Four of ten connections, or all of one but for what the service itself takes between two transactions.
    "crowd": ["pool_utilisation_at_most = 0.6"],
    "leak": ['memory_growth_at_most = "50MB"\nmemory_window = "8s"'],
}

OF_POSTGRES = ("idle-in-transaction", "pool-of-one", "retries-commit", "memory-leak")
SILENT = ["well", "no-timeout", "timeout-only", "leaks", "retries-fixed", "breaker-8"]
CASES = [(FASTAPI, variant, "told") for variant in FASTAPI.variants if variant not in OF_POSTGRES]
CASES += [(FASTAPI, variant, "silent") for variant in SILENT]
CASES += [(FASTAPI, variant, "stuck") for variant in ("well", "idle-in-transaction")]
CASES += [(FASTAPI, variant, "lost") for variant in ("well", "retries-commit")]
CASES += [(FASTAPI, variant, "crowd") for variant in ("well", "pool-of-one")]
CASES += [(FASTAPI, variant, "leak") for variant in ("well", "memory-leak")]
CASES += [(NODE, variant, "told") for variant in NODE.variants]
CASES += [(NODE, variant, "silent") for variant in ("well", "no-timeout", "timeout-only", "retries-jitter", "leaks")]
CASES += [(NODE, "well", kind) for kind in ("stuck", "lost", "crowd")]
CASES += [(FASTAPI, variant, "hole") for variant in ("well", "no-timeout", "timeout-only")] + [(NODE, "well", "hole")]


def workers(variant):
    return 2 if variant == "two-workers" else 1


def truth(app, variant, kind):
    """By expectation: whether it holds, and whether that can be seen."""
    built = app.truth(variant)
    return {"told": told, "silent": silent, "hole": hole}.get(kind, elsewhere)(built, variant)


def told(built, variant):
    comes_back = built["half_open"] != "never" and built["open_s"] < 2 and not built["gone_s"]
    counts = built["breaker"] in COUNTING
    stops = built["breaker"] != "none" or built["gone_s"] > 0
    endless = built["attempts"] > 1000
    holds = {
        # One call that never ends is one failure.
        "opens_after": (counts and built["threshold"] == 5, not endless and workers(variant) == 1),
        # To give it up for a time is a breaker, too, of one failure.
        "closes": (stops and built["half_open"] != "never" and built["gone_s"] < 1000, stops and comes_back),
        "retries_at_most": (built["attempts"] <= 2, True),
        "recovers_within": (comes_back, True),
    }
    # Health that asks the cache may suffer with it; a request that hangs to the end of the fault is answered then.
    if not built["health_asks_cache"]:
        holds["contained"] = (True, True)
    if not endless:
        holds["degrades"] = (built["on_cache_failure"] != "error" or built["error_status"] != 500, True)
    return holds


def silent(built, variant):
    waits = built["cache_timeout_s"]
    # One that leaves the connection open shows nobody when it gave up.
    shown = not hides(built)
    return {
        "timeout_within": (0 < waits <= 0.3, shown or not waits),
        "cleans_up": (not built["leaks"], True),
        "detects_within": (0 < waits <= 1, True),
    }


def hole(built, variant):
    """Greetings vanish, too, and how long one waits for these is not how long one waits for a reply."""
    waits = built["cache_timeout_s"]
    return silent(built, variant) | {"timeout_within": (0 < waits <= 0.3, not waits)}


def elsewhere(built, variant):
    once = built["commit_attempts"] == 1
    return {
        "cleans_up": (not built.get("idle_in_transaction"), True),
        "no_duplicates": (once, True),
        "transactions_intact": (once, True),
        "pool_utilisation_at_most": (built["table_pool"] > 4, True),
        "memory_growth_at_most": (not built.get("memory_leak"), True),
    }


def profile(app, variant, kind, dice, servers):
    """The text of a test profile, and the ports that are in it."""
    ports = {name: free_port() for name in ("redis", "postgres", "api", "service")}
    redis_server, postgres_server = servers
    upstreams = {"redis": redis_server.address, "postgres": postgres_server.address, "api": f"127.0.0.1:{ports['service']}"}
    lines = [f'[service]\napi = "api"\nworkers = {workers(variant)}']
    for name, protocol in (("redis", "redis"), ("postgres", "postgres"), ("api", "http")):
        lines += [f'[[proxy]]\nname = "{name}"\nprotocol = "{protocol}"\nlisten = {ports[name]}\nupstream = "{upstreams[name]}"']
        if name == "postgres":
            lines += [f"pool = {app.truth(variant)['table_pool']}"]
        if name == "api":
            lines += ['routes = ["/health", "/modules", "/modules/{id}"]']
    if FAULTS[kind]:
        lines += [f'[[fault]]\nname = "{kind}"\n{FAULTS[kind]}']
    lines += loads(kind, dice) + phases(kind, dice)
    about = 'watch = "service"' if kind == "leak" else f'proxy = "{"redis" if kind in ("told", "silent", "hole") else "postgres"}"'
    if kind == "crowd":
        about += '\nphase = "fault"'
    if kind == "leak":
        lines += [f'[[watch]]\nname = "service"\nlistens = "127.0.0.1:{ports["service"]}"']
    lines += [f"[[expect]]\n{about}\n{expected}" for expected in EXPECTATIONS[kind]]
    return "\n".join(lines) + "\n", ports


def loads(kind, dice):
    think = dice.randint(15, 30)
    listed = f'[[load]]\nlane = "list"\nproxy = "api"\ncallers = 1\nthink = "{think}ms"\ntimeout = "20s"\npath = "/modules"'
    health = f'[[load]]\nlane = "health"\nproxy = "api"\nrate = "{dice.randint(26, 37)}/s"\ntimeout = "5s"\npath = "/health"'
    create = f'[[load]]\nlane = "create"\nproxy = "api"\ncallers = {4 if kind == "crowd" else 1}\nthink = "{think}ms"\ntimeout = "20s"\n'
    create += 'method = "POST"\npath = "/modules"\nheaders = { Content-Type = "application/json" }\nbody = \'{"name": "judged"}\''
    return [create] if kind in ("stuck", "lost", "crowd") else [listed, health]


def phases(kind, dice):
    # What a route does without is learned of requests that were alone in flight: a busy machine makes these few.
    length = {"warm-up": dice.uniform(1, 2), "baseline": dice.uniform(6, 7.5) if kind == "told" else dice.uniform(3, 4.5)}
    length |= {"steady": dice.uniform(12, 14)} if kind == "leak" else {"fault": dice.uniform(5, 6.5), "recovery": dice.uniform(8, 9.5)}
    return [f'[[phase]]\nkind = "{phase}"\nfor = "{seconds * 1000:.0f}ms"' for phase, seconds in length.items()]


class NotRun(Exception):
    """The test could not run: a port was taken, a service did not come up."""


def judge(app, variant, kind, seed, servers, folder, database=0, options=()):
    """What `brownout test` says: its document, and what the service said of itself. Raises `NotRun` with its words."""
    text, ports = profile(app, variant, kind, random.Random(f"{variant} {kind} {seed}"), servers)
    (folder / "judged.toml").write_text(text)
    environment = os.environ | {
        "VARIANT": variant,
        "REDIS_URL": f"redis://127.0.0.1:{ports['redis']}/{database}",
        "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{ports['postgres']}/postgres",
        "PORT": str(ports["service"]),
        "PYTHONPATH": str(FASTAPI.directory),
        "PYTHONUNBUFFERED": "1",
    }
    if app is FASTAPI:
        service = [sys.executable, "-m", "uvicorn", "app:app", "--port", ports["service"], "--no-access-log", "--log-level", "critical"]
        service += ["--workers", workers(variant)]
    else:
        service = [program("node"), app.directory / "app.mjs"]
    command = [binary(), "test", folder / "judged.toml", "--seed", seed, "--report", folder, "--output", "json", *options, "--", *service]
    where = folder if app is FASTAPI else app.modules
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment, cwd=where, timeout=150)
    document = json.loads(done.stdout or "{}")
    # Of no test that ran to its end there is no document.
    if "expectations" not in document:
        raise NotRun(f"exit code {done.returncode}: {done.stderr[-2000:]}")
    log = (folder / "service.log").read_text()
    said = [json.loads(line) for line in log.splitlines() if line.startswith('{"at":')]
    return document, said


def hides(built):
    """It leaves the connection open when it gives up: the wire shows that only when its own caller is answered."""
    return built["leaks"] or built.get("gives_up") == "call"


def detection(dependency, started, said):
    """When it noticed, as inferred and by its own log: seconds from the first request that was touched. `None`: one of them is silent.

    `started`: of the recording, in seconds since 1970.
    """
    found = dependency["detection"]["answer"].get("Ok")
    if not found or not dependency["affected"]:
        return None
    begun = started + dependency["affected"]["from"] / 1e9
    of = "cache" if dependency["proxy"] == "redis" else "table"
    own = [line["at"] - begun for line in said if line["what"] == "failed" and line["of"] == of and line["at"] >= begun - 0.1]
    return [found["first_seconds"], own[0]] if own else None


def recovery(dependency, started, said):
    """When its breaker closed and it was itself again, in the same form: seconds from the end of what the fault did."""
    found = dependency["recovery"]["answer"].get("Ok")
    if not found or not dependency["affected"]:
        return None
    ended = started + dependency["affected"]["to"] / 1e9
    own = [line["at"] - ended for line in said if line["what"] == "closed" and line["at"] > ended]
    return [found["seconds"], own[0]] if own else None


def rows(document):
    """Expectation, verdict, and what was measured or missing, one for each."""
    for row in document["expectations"]:
        why = row.get("reason") or row.get("why") or ""
        yield row["field"].rpartition(".")[2], row["verdict"], f"{row['measured']}: {why}".strip(": ")
