"""The OpenAPI document against the endpoint that it describes: thousands of requests that it makes up, valid and not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness.proxy import Brownout

pytestmark = pytest.mark.proxy

# Some rules bind several fields, which a schema cannot say: which action has which keys, which protocol has routes.
CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
HERE = Path(__file__).parent


def test_the_endpoint_keeps_its_own_description(redis_server, tmp_path):
    process = Brownout([("redis", "redis", redis_server)], profiles=tmp_path)
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml", "run"]
    # Events do not end.
    options = ["--exclude-path", "/v1/events", "--phases", "examples,coverage,fuzzing", "--max-time", "30", "--seed", "8474"]
    done = subprocess.run(
        [*command, f"http://{process.admin}/v1/openapi.json", *options, *CHECKS, "--request-timeout", "10", "--no-color"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    (generated,) = re.findall(r"(\d+) generated", done.stdout)
    assert int(generated) > 500, "too few to say anything"
    # Whatever came, it lives and forwards.
    assert process.get("/healthz")[0] == 200
    process.stop()
