"""Child processes that end with the test run, and waiting with a deadline."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time


# Below those that kernels give to outgoing connections, one of which could have taken the port by the time it is listened on.
PORTS = range(12_000, 32_000)
_given = set()


def free_port():
    """A loopback port that is free and was not given before, for servers that cannot take port 0."""
    while True:
        port = random.choice(PORTS)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def eventually(what, probe, limit=10.0):
    """Polls until ``probe`` returns something that is not None; an AssertionError or OSError in it means "not yet"."""
    deadline = time.monotonic() + limit
    while True:
        failure = None
        try:
            result = probe()
            if result is not None:
                return result
        except (AssertionError, OSError) as e:
            failure = e
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit} s in vain for {what}: {failure}") from failure
        time.sleep(0.01)


class Process:
    """A child in a session of its own; its stderr is read by a thread and kept as text."""

    def __init__(self, command, **options):
        self.command = [str(word) for word in command]
        options.setdefault("stdout", subprocess.DEVNULL)
        self.child = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **options,
        )
        self._lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.child.stderr:
            self._lines.append(line.decode("utf-8", "replace"))

    @property
    def pid(self):
        return self.child.pid

    @property
    def stderr(self):
        return "".join(self._lines)

    def wait_for(self, what, probe, limit=20.0):
        """As :func:`eventually`, but the end of the child ends the wait."""

        def alive():
            assert_running(self)
            return probe()

        return eventually(f"{what} of {self.command[0]}", alive, limit)

    def end(self, sig=signal.SIGTERM, limit=10.0):
        """Asks it to end, insists after ``limit``, and returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(sig)
        try:
            code = self.child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        self._reader.join(limit)
        return code


class Ended(Exception):
    """The child ended while something was expected of it."""


def assert_running(process):
    code = process.child.poll()
    if code is not None:
        process._reader.join(1)
        raise Ended(f"{' '.join(process.command)} ended with {code}:\n{process.stderr}")
