"""The whole suite of COS on its service, with servers of its own."""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .process import free_port
from .proxy import ROOT, binary
from .servers import Postgres, Redis
from .service import FASTAPI

PASSWORD = "suite password"


@dataclass
class Ran:
    done: subprocess.CompletedProcess
    report: dict
    folder: Path
    seconds: float
    # Of the program and of the service that it starts; the servers' is not in it.
    cpu_seconds: float


def run(folder, seed=8474, options=("--quick",), variant="well"):
    """Once, as its team runs it: the folder, in one command."""
    servers = [Redis(), Postgres(), Postgres()]
    try:
        return once(folder, servers, seed, options, variant)
    finally:
        for server in servers:
            server.stop()


def once(folder, servers, seed, options, variant):
    redis, prod, dev = servers
    redis.command("CONFIG", "SET", "requirepass", PASSWORD)
    ports = {name: free_port() for name in ("redis", "postgres", "postgres_dev", "api")}
    service = free_port()
    values = {f"{name}_listen": f"127.0.0.1:{port}" for name, port in ports.items()}
    values |= {"redis": redis.address, "postgres": prod.address, "postgres_dev": dev.address, "api": f"127.0.0.1:{service}"}
    command = [binary(), "test", "profiles/cos", *options, "--seed", seed, "--report", folder]
    command += [word for name, value in values.items() for word in ("--var", f"{name}={value}")]
    command += ["--", sys.executable, "-m", "uvicorn", "app:app", "--port", service, "--no-access-log", "--log-level", "critical"]
    environment = os.environ | {
        "VARIANT": variant,
        "REDIS_PASSWORD": PASSWORD,
        "REDIS_URL": f"redis://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{ports['redis']}/0",
        "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{ports['postgres']}/postgres",
        "PYTHONPATH": str(FASTAPI.directory),
        # So that each row of the matrix is a line.
        "COLUMNS": "300",
    }
    began, before = time.monotonic(), cpu()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=900)
    took, used = time.monotonic() - began, cpu() - before
    return Ran(done, json.loads((folder / "report.json").read_text()), folder, took, used)


def cpu():
    """Of children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
