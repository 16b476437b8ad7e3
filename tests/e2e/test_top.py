"""`brownout top` in a real terminal (a pty), on a real proxy: what it shows, what its keys do, and what it leaves behind."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import pyte
import pytest
import redis
from harness.process import eventually
from harness.proxy import binary

pytestmark = pytest.mark.proxy


class Terminal:
    """`brownout top` in a terminal, 24 lines high; what it writes is drawn by a terminal emulator."""

    def __init__(self, admin, columns=80):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.screen = pyte.Screen(columns, 24)
        self.written = b""
        stream = pyte.ByteStream(self.screen)
        self.child = subprocess.Popen(
            [binary(), "top", "--admin", admin],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )

        def read():
            with contextlib.suppress(OSError):
                while data := os.read(self.master, 65536):
                    self.written += data
                    stream.feed(data)

        threading.Thread(target=read, daemon=True).start()

    def text(self):
        return "\n".join(self.screen.display)

    def wait(self, what, limit=30):
        def shown():
            assert what in self.text(), self.text()
            return True

        eventually(f"{what!r} on the screen", shown, limit)

    def keys(self, text):
        os.write(self.master, text.encode())

    def ended(self, code):
        """It ended so, and the terminal is as it was: modes, screen, cursor."""
        assert self.child.wait(20) == code
        assert termios.tcgetattr(self.slave) == self.before

        def left():
            assert self.written.rfind(b"\x1b[?1049l") > self.written.rfind(b"\x1b[?1049h")
            assert self.written.rfind(b"\x1b[?25h") > self.written.rfind(b"\x1b[?25l")
            return True

        eventually("the screen as it was", left)

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            self.child.kill()
        self.child.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def terminal(disturbed):
    terminal = Terminal(disturbed.admin)
    yield terminal
    terminal.stop()


def test_a_profile_is_enabled_and_halted_by_keys(disturbed, terminal):
    terminal.wait("no fault is on")
    terminal.wait("redis (0 open)")
    terminal.keys("p")
    terminal.wait("profiles")
    terminal.keys("/redis-slow\r")
    terminal.wait(" 1 profiles ")
    terminal.keys("\r")
    terminal.wait("redis-slow is on for 5m")
    terminal.wait("1 fault is on")
    assert [f["profile"] for f in disturbed.get_json("/v1/faults")["faults"]] == ["redis-slow"]
    terminal.wait("on, 4m")
    terminal.keys("h")
    terminal.wait("HALTED")
    assert disturbed.get_json("/v1/faults") == {"halted": True, "faults": []}
    terminal.keys("r")
    terminal.wait("resumed")
    terminal.keys("q")
    terminal.ended(0)


def test_a_narrow_terminal_has_fewer_columns_with_whole_figures(disturbed):
    at = disturbed.endpoint("redis")
    terminal = Terminal(disturbed.admin, 60)
    try:
        with disturbed.fault(name="late", proxy="redis", action="latency", delay="50ms"), redis.Redis(at.host, at.port) as client:
            terminal.wait("1 fault is on")
            for _ in range(20):
                client.get("k")

            def shown():
                rows = {line.split()[0]: line.split()[1:] for line in terminal.screen.display if line.strip()}
                if not {"Operation", "GET"} <= set(rows):
                    return None
                names, figures = rows["Operation"], rows["GET"]
                assert len(figures) == len(names)
                of = dict(zip(names, figures, strict=True))
                # Too few for a percentile, which a mark says.
                assert re.fullmatch(r"~?[5-9]\d\.\dms|~?\d{3}ms", of["p95"]), of
                return names

            names = eventually("figures", shown)
        assert "open" not in names and "/s" in names
        assert "no room for" in terminal.text() and "open" in terminal.text()
    finally:
        terminal.stop()


@pytest.mark.parametrize(("end", "code"), [("key", 130), (signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_terminal_is_restored_however_it_ends(terminal, end, code):
    terminal.wait("no fault is on")
    if end == "key":
        terminal.keys("\x03")
    else:
        terminal.child.send_signal(end)
    terminal.ended(code)


def test_a_lost_connection_is_said(disturbed, terminal):
    terminal.wait("no fault is on")
    os.kill(disturbed.pid, signal.SIGSTOP)
    try:
        terminal.wait("OLD FIGURES", limit=60)
    finally:
        os.kill(disturbed.pid, signal.SIGCONT)
    eventually("new figures", lambda: "OLD FIGURES" not in terminal.text() or None, 60)
    terminal.keys("q")
    terminal.ended(0)


def test_without_a_terminal_it_says_so(disturbed):
    done = subprocess.run(
        [binary(), "top", "--admin", disturbed.admin], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs a terminal" in done.stderr and "stats --watch" in done.stderr
