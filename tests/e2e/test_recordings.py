"""Recordings of tests and of commands: read again they say what was judged, and damaged ones say that they are."""

import json
import os
import shutil
import subprocess

import pytest
from harness.judged import judge
from harness.proxy import binary
from harness.service import FASTAPI

pytestmark = pytest.mark.proxy

# A machine that is too busy for an answer has said so, and that is right.
BUSY = "the proxy itself was late"

PROFILE = """
[[proxy]]
name = "redis"
protocol = "redis"
listen = 0
upstream = "{upstream}"
[[load]]
proxy = "redis"
rate = "50/s"
commands = ["GET a"]
[[phase]]
kind = "baseline"
for = "1s"
[[expect]]
lane = "redis"
error_rate = 0.0
"""


def brownout(*words, **options):
    return subprocess.run([binary(), *(str(word) for word in words)], capture_output=True, text=True, timeout=90, **options)


def insight(recording, *options):
    return brownout("insight", "--from", recording, "--output", "json", *options)


def records(recording):
    return [json.loads(line) for line in recording.read_text().splitlines()]


@pytest.fixture(scope="module")
def judged(redis_server, postgres_server, tmp_path_factory):
    """What a test said of a service with a breaker of five failures, and its recording."""
    folder = tmp_path_factory.mktemp("judged")
    options = ("--record", folder / "recordings")
    document, _ = judge(FASTAPI, "well", "told", 8474, (redis_server, postgres_server), folder, options=options)
    return document, folder / "recordings" / "judged.jsonl"


def test_a_recording_says_what_the_report_says(judged):
    document, recording = judged
    read = insight(recording)
    assert (read.returncode, read.stderr) == (0, "")
    assert json.loads(read.stdout) == document["insights"], "the same threshold and all else, on the same baseline"
    assert insight(recording).stdout == read.stdout, "to the byte"
    (redis,) = (one for one in document["insights"]["dependencies"] if one["proxy"] == "redis")
    opening = redis["breakers"][0]["opening"]["answer"]
    assert redis["affected"] and ("Ok" in opening or opening["Err"]["reason"].startswith(BUSY)), opening
    warm_up = next(phase for phase in document["phases"] if phase["kind"] == "warm-up")
    assert json.loads(read.stdout)["baseline"]["from"] == warm_up["to"] > 0


def test_phases_and_calls_of_the_load_are_in_it(judged):
    document, recording = judged
    header, *lines, end = records(recording)
    assert header["service"] == {"api": "api", "workers": 1}
    assert end == {"record": "end", "records": len(lines)}
    phases = [(line["phase"], line.get("kind")) for line in lines if line["record"] == "phase"]
    # The end of the last one is marked: what comes later are late replies.
    assert phases == [*((phase["name"], phase["kind"]) for phase in document["phases"]), ("", None)]
    calls = [line for line in lines if line["record"] == "call"]
    assert {call["lane"] for call in calls} == set(document["lanes"])
    assert len(calls) == sum(lane["ended"] for lane in document["lanes"].values())
    assert document["again"].count("--record") == 1
    assert recording.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [True, False])
def test_a_recording_that_was_cut_off_does_not_pass_for_a_whole_one(judged, tmp_path, torn):
    lines = judged[1].read_bytes().splitlines(keepends=True)
    kept = lines[: len(lines) * 3 // 4]
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(kept) + (lines[len(kept)][:20] if torn else b""))
    read = insight(cut)
    assert read.returncode == 1 and json.loads(read.stdout)["dependencies"]
    assert f"{cut}: the end is missing behind line {len(kept)}: " in read.stderr, read.stderr


def test_lines_that_are_gone_from_the_middle_are_missed(judged, tmp_path):
    lines = judged[1].read_bytes().splitlines(keepends=True)
    holed = tmp_path / "holed.jsonl"
    holed.write_bytes(b"".join(lines[:100] + lines[110:]))
    read = insight(holed)
    assert read.returncode == 1
    assert f"speaks of {len(lines) - 2} records, and {len(lines) - 12} are there" in read.stderr, read.stderr
    (redis,) = (one for one in json.loads(read.stdout)["dependencies"] if one["proxy"] == "redis")
    reason = redis["breakers"][0]["threshold"]["answer"]["Err"]["reason"]
    assert reason == "the recording has lost records" or reason.startswith(BUSY), "nobody knows what they were"


@pytest.mark.parametrize(
    ("ended", "said"), [("1", "`ended` is 1, before `begun`"), (str(2**64 - 1), f"`ended` is {2**64 - 1} ns, which is more than ten years")]
)
def test_times_that_cannot_be_are_refused(judged, tmp_path, ended, said):
    lines = judged[1].read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if '"record":"attempt"' in line and n > 50)
    attempt = json.loads(lines[at])
    lines[at] = lines[at].replace(f'"ended":{attempt["ended"]}', f'"ended":{ended}')
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("\n".join(lines) + "\n")
    read = insight(wrong)
    assert (read.returncode, read.stdout) == (2, ""), read.stderr
    assert read.stderr.startswith(f"{wrong}: line {at + 1}: {said}"), read.stderr
    assert read.stderr.endswith("; take the file as brownout wrote it\n"), read.stderr


def test_each_part_has_a_recording_of_its_own(redis_server, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part.toml").write_text(PROFILE.format(upstream=redis_server.address))
    other = tmp_path / "other.toml"
    # No request passes the proxy that something is expected of: there is no report of it, and a recording all the same.
    unused = '[[proxy]]\nname = "unused"\nprotocol = "redis"\nlisten = 0\nupstream = "127.0.0.1:1"\n[[expect]]\nproxy = "unused"\nerror_rate = 0.0\n'
    other.write_text(PROFILE.format(upstream=redis_server.address) + unused)
    kept = tmp_path / "recordings"
    for _ in range(2):
        done = brownout("test", tmp_path / "one", tmp_path / "two", other, "--record", kept)
        assert done.returncode == 4, done.stderr
        names = ["other.jsonl", "part-2.jsonl", "part.jsonl"]
        assert sorted(path.name for path in kept.iterdir()) == names, "a second run takes the place of the first"
        for name in names:
            assert f"recording written to {kept / name}" in done.stderr
            assert insight(kept / name).returncode == 0, name


def test_a_folder_that_cannot_be_written_is_known_before_the_run(redis_server, tmp_path):
    profile = tmp_path / "part.toml"
    profile.write_text(PROFILE.format(upstream=redis_server.address))
    done = brownout("test", profile, "--record", profile)
    assert done.returncode == 4 and "phase baseline" not in done.stderr
    assert f"recordings cannot be written into {profile}: " in done.stderr and "--record" in done.stderr, done.stderr


def test_a_command_is_recorded(redis_server, tmp_path):
    environment = {"PATH": os.environ["PATH"], "REDIS_URL": f"redis://{redis_server.address}/0"}
    script = "redis-cli -u $REDIS_URL SET recorded 1; exit 3"
    if shutil.which("redis-cli") is None:
        pytest.skip("there is no redis-cli")
    done = brownout("exec", "--record", tmp_path / "kept", "--", "sh", "-c", script, env=environment)
    assert done.returncode == 3, done.stderr
    (recording,) = (tmp_path / "kept").iterdir()
    assert f"recording to {recording}" in done.stderr
    asked = [line["operation"] for line in records(recording) if line.get("record") == "attempt"]
    assert "SET" in asked and insight(recording).returncode == 0
    # A command that is not there leaves a whole recording of nothing.
    done = brownout("exec", "--record", tmp_path / "empty", "--", "/no/such/command", env=environment)
    (recording,) = (tmp_path / "empty").iterdir()
    assert done.returncode == 4 and insight(recording).returncode == 0
