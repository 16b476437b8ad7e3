"""What is compared: a direct connection, HAProxy, nginx, brownout. Each stands before the same upstreams, with two threads,
without logs."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.process import Process, free_port
from harness.sockets import dial

KINDS = ("redis", "postgres", "http")


class Address:
    def __init__(self, port, host="127.0.0.1"):
        self.host, self.port = host, port

    def __str__(self):
        return f"{self.host}:{self.port}"


class Subject:
    """Something between client and upstream: where it listens for each kind, and the processes that are its cost."""

    process = None

    def __init__(self, upstreams):
        self.upstreams = upstreams
        self.at = {kind: Address(free_port()) for kind in KINDS}
        self.directory = tempfile.mkdtemp(prefix="brownout-compare-")

    def start(self):
        for kind in KINDS:
            self.process.wait_for(kind, lambda kind=kind: dial(self.at[kind]).close() or True)
        return self

    def stop(self):
        if self.process:
            self.process.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write(self, name, text):
        path = Path(self.directory) / name
        path.write_text(text)
        return path

    def pids(self):
        """The process and its children."""
        if not self.process:
            return []
        pids = [self.process.pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pids.extend(int(child) for child in children)
        return pids

    def cpu_seconds(self):
        """CPU time of all its living threads, user and system, to the nanosecond."""
        total = 0
        for pid in self.pids():
            for thread in os.listdir(f"/proc/{pid}/task"):
                total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
        return total / 1e9

    def resident_kib(self):
        """Resident memory of all its processes, what they share counted once (Pss)."""
        total = 0
        for pid in self.pids():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1])
        return total


class Direct(Subject):
    name = "direct"

    def start(self):
        self.at = self.upstreams
        return self

    @staticmethod
    def version():
        return ""


class HAProxy(Subject):
    name = "HAProxy"

    def start(self):
        sections = "".join(
            f"listen {kind}\n  bind {self.at[kind]}\n  server upstream {self.upstreams[kind]}\n" for kind in KINDS
        )
        # Its defaults, but for the number of threads, room for the idle sessions, and limits that none of the runs meets.
        config = self._write(
            "haproxy.cfg",
            "global\n  nbthread 2\n  maxconn 9000\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n" + sections,
        )
        self.process = Process(["haproxy", "-db", "-q", "-f", config])
        return super().start()

    @staticmethod
    def version():
        return re.search(r"version (\S+)", output("haproxy", "-v"))[1]


class Nginx(Subject):
    name = "nginx"

    def start(self):
        servers = "".join(
            f"  server {{ listen {self.at[kind]}; proxy_pass {self.upstreams[kind]}; }}\n" for kind in KINDS
        )
        config = self._write(
            "nginx.conf",
            stream_module() + "daemon off; pid nginx.pid; worker_processes 2; worker_rlimit_nofile 20000; error_log stderr crit;\n"
            "events { worker_connections 18000; }\n"
            "stream {\n  proxy_timeout 1h; proxy_socket_keepalive on; access_log off;\n" + servers + "}\n",
        )
        self.process = Process(["nginx", "-p", self.directory, "-c", config])
        return super().start()

    @staticmethod
    def version():
        return re.search(r"nginx/(\S+)", output("nginx", "-v"))[1]


class Brownout(Subject):
    name = "brownout"
    binary = None

    def start(self):
        proxies = [f"--{kind}={kind}@{self.at[kind]}={self.upstreams[kind]}" for kind in KINDS]
        self.process = Process([self.binary, "run", "--admin", "127.0.0.1:0", *proxies])
        found = self.process.wait_for("the admin line", lambda: re.search(r"admin listening on (\S+)", self.process.stderr))
        self.admin = found[1]
        return super().start()

    @classmethod
    def version(cls):
        return output(cls.binary, "--version").split()[-1]


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


def stream_module():
    """Debian builds nginx's TCP proxy as a module, others build it in."""
    for directory in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"):
        module = Path(directory) / "ngx_stream_module.so"
        if module.exists():
            return f"load_module {module};\n"
    return ""


class Web:
    """nginx as the HTTP upstream: a small reply and a large file."""

    LARGE = 1 << 30

    def __init__(self):
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="brownout-compare-web-")
        os.chmod(self.directory, 0o755)
        root = Path(self.directory)
        with open(root / "large", "w+b") as file:
            file.truncate(self.LARGE)
            # Into the page cache: a hole is filled with zeros when it is first read.
            while file.read(1 << 20):
                pass
        (root / "nginx.conf").write_text(
            "daemon off; pid nginx.pid; worker_processes 1; worker_rlimit_nofile 20000; error_log stderr crit;\n"
            "events { worker_connections 18000; }\n"
            "http {\n  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; sendfile on; tcp_nopush on;\n"
            f"  server {{ listen 127.0.0.1:{self.port} backlog=4096; root {root};\n"
            '    location = /small { default_type text/plain; return 200 "a small reply\\n"; } } }\n'
        )
        self.process = Process(["nginx", "-p", root, "-c", root / "nginx.conf"])
        self.process.wait_for("the first answer", lambda: dial(Address(self.port)).close() or True)

    def stop(self):
        self.process.end()
        shutil.rmtree(self.directory, ignore_errors=True)


