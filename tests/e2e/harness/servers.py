"""Private servers: free port, fresh directory, asked who they are before a test may write to them."""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from .process import Process, free_port

HERE = Path(__file__).parent
ADVICE = "tests/run --install gets what is missing"


def program(name, *directories):
    """Path of a program on the PATH or in one of the directories (glob patterns), or an error that says what to do."""
    found = shutil.which(name)
    for pattern in directories:
        for directory in sorted(glob.glob(pattern), reverse=True):
            found = found or shutil.which(name, path=directory)
    if not found:
        raise RuntimeError(f"{name} was not found; {ADVICE}")
    return found


def postgres_program(name):
    return program(name, "/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin")


class Server:
    """What all have: host, port, a directory, an end."""

    host = "127.0.0.1"

    def __init__(self):
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="brownout-e2e-")

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def stop(self):
        self.process.end(self.stop_signal)
        shutil.rmtree(self.directory, ignore_errors=True)

    stop_signal = signal.SIGTERM


class Redis(Server):
    """redis-server with a second user ``tester`` (password ``tester-password``) and room for big values."""

    def __init__(self):
        super().__init__()
        self.process = Process(
            [
                *(program("redis-server"), "--bind", self.host, "--port", self.port),
                *("--save", "", "--appendonly", "no", "--dir", self.directory),
                *("--user", "tester", "on", ">tester-password", "~*", "&*", "+@all"),
                *("--enable-debug-command", "yes", "--client-query-buffer-limit", "1gb"),
            ]
        )
        self.process.wait_for("the first answer", self._is_ours)

    def _is_ours(self):
        info = self.command("INFO", "server")
        if not info.startswith("$"):
            return None
        assert f"process_id:{self.process.pid}\r" in info, f"port {self.port} belongs to another Redis"
        return True

    def command(self, *words):
        """One command on a connection of its own, past the proxy; the reply as text."""
        with socket.create_connection((self.host, self.port), timeout=5) as s, s.makefile("rb") as replies:
            encoded = b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
            s.sendall(b"*%d\r\n%s" % (len(words), encoded))
            head = replies.readline()
            body = replies.read(int(head[1:])) if head.startswith(b"$") and head != b"$-1\r\n" else b""
            return (head + body).decode("utf-8", "replace")

    def calls(self):
        """How often the server ran each command, from INFO commandstats."""
        calls = {}
        for line in self.command("INFO", "commandstats").splitlines():
            if line.startswith("cmdstat_"):
                name, _, fields = line.removeprefix("cmdstat_").partition(":")
                values = dict(field.split("=") for field in fields.split(","))
                calls[name] = int(values["calls"]) + int(values.get("rejected_calls", 0))
        return calls


class Postgres(Server):
    """A PostgreSQL server with trust authentication; TCP and a unix socket in its directory."""

    stop_signal = signal.SIGINT  # fast shutdown: does not wait for clients
    user = "postgres"
    database = "postgres"

    def __init__(self):
        super().__init__()
        data = os.path.join(self.directory, "data")
        identity = _unprivileged(self.directory)
        subprocess.run(
            [
                *(postgres_program("initdb"), "--auth=trust", f"--username={self.user}"),
                *("--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata", data),
            ],
            check=True,
            capture_output=True,
            cwd="/",
            **identity,
        )
        self.process = Process(
            [
                *(postgres_program("postgres"), "-D", data, "-p", self.port, "-k", self.directory),
                *("-c", f"listen_addresses={self.host}", "-c", "fsync=off", "-c", "max_connections=100"),
            ],
            cwd="/",
            **identity,
        )
        served = self.process.wait_for("the first answer", lambda: self._ask("show data_directory"))
        assert os.path.realpath(served.strip()) == os.path.realpath(data), f"port {self.port} belongs to another server"

    def _ask(self, sql):
        done = self._psql(sql)
        return done.stdout if done.returncode == 0 else None

    def _psql(self, sql):
        url = f"postgresql://{self.user}@{self.address}/{self.database}?connect_timeout=5"
        command = [postgres_program("psql"), "--no-psqlrc", "-qtAX", "-v", "ON_ERROR_STOP=1", "-c", sql, url]
        return subprocess.run(command, capture_output=True, text=True)

    def query(self, sql):
        """Runs SQL with psql, past the proxy; the unaligned rows as text."""
        done = self._psql(sql)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _unprivileged(directory):
    """PostgreSQL refuses to run as root: who runs it then, as arguments for subprocess."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(directory, user.pw_uid, user.pw_gid)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("run as root, and there is neither a user postgres nor nobody to run PostgreSQL as")


class Web(Server):
    """The plain HTTP server of ``web.py``, in a process of its own."""

    def __init__(self):
        super().__init__()
        self.process = Process([sys.executable, HERE / "web.py", self.port])
        self.process.wait_for("the first answer", self._answers)

    def _answers(self):
        with socket.create_connection((self.host, self.port), timeout=5):
            return True


class Nginx(Server):
    """nginx before a server of ``web.py``: the HTTP that a client meets is nginx's."""

    stop_signal = signal.SIGQUIT

    def __init__(self):
        super().__init__()
        self.web = Web()
        directory = Path(self.directory)
        temporary = " ".join(
            f"{kind}_temp_path {directory / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Workers of a root's nginx would be another user, who may not write here.
        user = "user root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(
            f"daemon off; pid {directory}/pid; error_log stderr error; worker_processes 1; {user}\n"
            "events { worker_connections 500; }\n"
            f"http {{\n  access_log off; {temporary}\n"
            f"  upstream web {{ server {self.web.address}; keepalive 8; }}\n"
            f"  server {{ listen {self.address}; client_max_body_size 0; location / {{\n"
            '    proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; }\n'
            "  location /tunnel { proxy_pass http://web; proxy_http_version 1.1;\n"
            '    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; } }\n}\n'
        )
        command = [program("nginx", "/usr/sbin"), "-e", "stderr", "-p", directory, "-c", directory / "nginx.conf"]
        self.process = Process(command)
        self.process.wait_for("the first answer", self._answers)

    def _answers(self):
        with urllib.request.urlopen(f"http://{self.address}/hello", timeout=5) as reply:
            assert reply.headers["Server"].startswith("nginx"), f"port {self.port} belongs to another server"
            return True

    def stop(self):
        super().stop()
        self.web.stop()
