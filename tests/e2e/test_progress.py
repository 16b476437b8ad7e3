"""What people see while `brownout test` runs: one line that is drawn anew on a terminal, plain lines elsewhere."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import threading

import pyte
import pytest
from harness.process import eventually
from harness.proxy import binary

pytestmark = pytest.mark.proxy

PROFILE = """
[[proxy]]
name = "redis"
protocol = "redis"
listen = 0
upstream = "{upstream}"
[[fault]]
proxy = "redis"
action = "error"
preset = "LOADING"
[[load]]
proxy = "redis"
rate = "50/s"
commands = ["GET a"]
[[phase]]
kind = "baseline"
for = "3500ms"
[[phase]]
kind = "fault"
for = "3500ms"
[[expect]]
proxy = "redis"
phase = "baseline"
error_rate = 0.0
"""
LIVE = re.compile(r"(baseline|fault), (\d)s left \| p50 (\S+ ms|-), p99 (\S+ ms|-) \| (\d+) of (\d+) failed \| breaker: -")


# The same where there are 80 columns.
SHORT = re.compile(r"(baseline|fault), (\d)s left \| p50 (\S+|-), p99 (\S+|-) ms \| (\d+)/(\d+) failed \| breaker -")


@pytest.fixture
def profile(redis_server, tmp_path):
    path = tmp_path / "seen.toml"
    path.write_text(PROFILE.format(upstream=redis_server.address))
    return path


class Screen:
    """A command whose stderr is a terminal of 80 by 24; stdout is a pipe."""

    def __init__(self, *arguments):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.screen, self.written = pyte.Screen(80, 24), b""
        stream = pyte.ByteStream(self.screen)
        environment = {**os.environ, "TERM": "xterm-256color"}
        command = [str(word) for word in (binary(), *arguments)]
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, env=environment)
        os.close(slave)

        def read():
            with contextlib.suppress(OSError):
                while data := os.read(master, 65536):
                    self.written += data
                    stream.feed(data)

        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, pattern):
        def shown():
            found = re.search(pattern, self.text())
            assert found, self.text()
            return found

        return eventually(f"{pattern!r} on the screen", shown, 60)

    def end(self):
        out, _ = self.child.communicate(timeout=60)
        self.reader.join(10)
        return out.decode()


def test_on_a_terminal_one_line_is_drawn_anew(profile):
    screen = Screen("test", profile)
    screen.wait(r"baseline, \ds left \| p50 \d+\.\d, p99 \d+\.\d ms \| 0/\d+ failed \| breaker -")
    # Every command fails while the fault is on.
    found = screen.wait(r"fault, \ds left \| p50 \d+\.\d, p99 \d+\.\d ms \| ([1-9]\d*)/\d+ failed")
    assert int(found[1]) > 0
    assert len(SHORT.findall(screen.text())) == 1, "drawn over the one before"
    out = screen.end()
    assert screen.child.returncode == 0, screen.text()
    assert "error_rate" in out or "pass" in out
    assert "\x1b" not in out and " left |" not in out, "results are results"
    said = screen.text()
    assert " left |" not in said, "the line is gone at the end"
    assert "phase baseline" in said and "phase fault" in said, "what happened stays"


def test_without_a_terminal_there_are_plain_lines(profile):
    done = subprocess.run([binary(), "test", str(profile)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    lines = done.stderr.splitlines()
    live = [line for line in lines if LIVE.fullmatch(line)]
    assert live, done.stderr
    assert len(live) <= 2, "every five seconds, not each second"
    assert [line for line in lines if line.startswith("phase ")] == ["phase baseline", "phase fault"]
    assert " left |" not in done.stdout


def test_with_json_stderr_has_lines_and_stdout_the_document(profile):
    screen = Screen("test", profile, "--output", "json")
    document = json.loads(screen.end())
    assert document["result"] == "pass"
    assert b"\x1b" not in screen.written, "a terminal is not drawn on"
    assert "phase fault" in screen.text()


def test_several_parts_are_counted(profile):
    done = subprocess.run([binary(), "test", str(profile), str(profile), "--quick"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    told = [line for line in lines if line.startswith(("part ", "1/2: phase", "2/2: phase"))]
    expected = ["part 1 of 2: seen, 4s", "1/2: phase baseline", "1/2: phase fault"]
    assert told == expected + [line.replace("1 of", "2 of").replace("1/2", "2/2") for line in expected], done.stderr


def test_the_demo_says_where_it_is():
    done = subprocess.run([binary(), "demo", "--quick"], capture_output=True, text=True, timeout=60)
    assert [line for line in done.stderr.splitlines() if line.startswith("phase ")] == ["phase before", "phase during", "phase after"]
    assert "\x1b" not in done.stderr
