"""What ends `brownout test` and `brownout exec` ends what they started: faults first, then processes."""

import os
import signal
import socket
import time

import pytest
from harness.process import Process, eventually, free_port
from harness.proxy import binary

pytestmark = pytest.mark.proxy

PROFILE = """
[[proxy]]
name = "redis"
protocol = "redis"
listen = {listen}
upstream = "{upstream}"
[[fault]]
proxy = "redis"
action = "stall"
match = {{ class = ["write"] }}
[[load]]
proxy = "redis"
rate = "50/s"
commands = ["GET a"]
[[watch]]
name = "helper"
command = ["sh", "-c", "{helper}"]
[[phase]]
kind = "baseline"
for = "500ms"
[[phase]]
kind = "fault"
for = "{length}"
[[expect]]
lane = "redis"
phase = "baseline"
p50 = "1s"
"""
# It takes its time to end.
HELPER = "trap 'sleep 1; exit' TERM; echo $$ > helper.pid; while :; do sleep 0.1; done"
STARTED = "echo $$ > service.pid; exec sleep 600"


@pytest.fixture(autouse=True)
def heard():
    """Whoever runs the tests may have been told to ignore the end of his terminal, as by nohup, and so would they."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def start(redis_server, tmp_path):
    """Runs a test with a service and a helper; gives back the process and the port of its proxy."""
    started = []

    def run(*options, length="10m", **settings):
        listen = free_port()
        profile = tmp_path / "ended.toml"
        profile.write_text(PROFILE.format(listen=listen, upstream=redis_server.address, helper=HELPER, length=length))
        command = [binary(), "test", profile, *options, "--", "sh", "-c", STARTED]
        started.append(Process(command, cwd=tmp_path, **settings))
        started[-1].wait_for("the fault", lambda: "phase fault" in started[-1].stderr or None)
        return started[-1], listen

    yield run
    for process in started:
        process.end()


def number(folder, name):
    """What a shell wrote of itself; None until the line is whole."""
    file = folder / f"{name}.pid"
    text = file.read_text() if file.exists() else ""
    return int(text) if text.endswith("\n") else None


def pids(folder):
    return [eventually(f"the number of the {name}", lambda name=name: number(folder, name)) for name in ("service", "helper")]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_switches_faults_off_and_ends_what_was_started(start, tmp_path, sent, code):
    process, listen = start("--record", tmp_path / "kept")
    both = pids(tmp_path)
    with socket.create_connection(("127.0.0.1", listen), timeout=5) as client:
        client.sendall(b"*3\r\n$3\r\nSET\r\n$5\r\nended\r\n$1\r\n1\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(100)
        began = time.monotonic()
        process.child.send_signal(sent)
        client.settimeout(5)
        # What it held is released while the helper still takes its time.
        assert client.recv(100) == b"+OK\r\n"
        assert time.monotonic() - began < 0.9 and alive(both[1])
    assert process.child.wait(15) == code, process.stderr
    assert not any(map(alive, both))
    process.end()
    assert "interrupted; the faults are off" in process.stderr
    assert f"recording written to {tmp_path / 'kept' / 'ended.jsonl'}" in process.stderr


def test_a_second_signal_waits_for_nobody(start, tmp_path):
    process, _ = start()
    both = pids(tmp_path)
    began = time.monotonic()
    process.child.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.child.send_signal(signal.SIGTERM)
    assert process.child.wait(15) == 143
    assert time.monotonic() - began < 4
    eventually("their end", lambda: not any(map(alive, both)) or None)


def test_who_was_told_to_ignore_the_end_of_the_terminal_goes_on(start):
    process, _ = start(length="2s", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.child.send_signal(signal.SIGHUP)
    process.child.wait(20)
    assert "interrupted" not in process.stderr, process.stderr
    assert process.child.returncode in (0, 3), process.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_exec_passes_a_signal_on_and_leaves_nobody(redis_server, tmp_path, sent, code):
    environment = os.environ | {"REDIS_URL": f"redis://{redis_server.address}/0"}
    script = "echo $$ > service.pid; exec sleep 600"
    process = Process([binary(), "exec", "--env", "REDIS_URL", "--", "sh", "-c", script], cwd=tmp_path, env=environment)
    try:
        pid = process.wait_for("its number", lambda: number(tmp_path, "service"))
        process.child.send_signal(sent)
        assert process.child.wait(10) == code, process.stderr
        assert not alive(pid)
    finally:
        process.end()
