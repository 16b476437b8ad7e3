"""Bare sockets for what no client library does on purpose: half-closes, resets, odd splits."""

import fcntl
import queue
import shutil
import socket
import struct
import tempfile
import termios
import threading

from .process import eventually


class RawServer:
    """A listener that hands every accepted socket to the test."""

    host = "127.0.0.1"

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="brownout-e2e-")
        self._listener = socket.create_server((self.host, 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._accepted = queue.Queue()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def _accept(self):
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(20)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted.put(accepted)

    def accepted(self):
        return self._accepted.get(timeout=10)

    def stop(self):
        self._listener.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def dial(at, timeout=20):
    s = socket.create_connection((at.host, at.port), timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_to_end(s):
    """All that still comes, and how it ends: "fin" or "rst"."""
    pieces = []
    try:
        while piece := s.recv(1 << 16):
            pieces.append(piece)
        return b"".join(pieces), "fin"
    except ConnectionResetError:
        return b"".join(pieces), "rst"


def read_exactly(s, length):
    pieces, missing = [], length
    while missing:
        piece = s.recv(min(missing, 1 << 16))
        assert piece, f"the stream ended {missing} bytes early"
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def reset(s):
    """Closes with RST, after the kernel has got rid of what was written: a reset drops what is not yet sent."""

    def sent():
        unsent = struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4))[0]
        return unsent == 0 or None

    eventually("the socket to send what it holds", sent)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
