"""The server's own count of commands, as the oracle for what the proxy counted."""

from .proxy import DIRECT, Counting, eventually

# Sent by redis-py by itself, and unknown to servers before 7.2 and 8: refused, which INFO does not count. `client` is what the
# proxy calls a CLIENT whose subcommand it does not know.
DRIVER = ("client", "client|setinfo", "client|maint_notifications")

# Sent by the harness past the proxy.
OURS = ("info", "flushall")


class ServerCalls:
    """Compares what redis-server says it ran since with what the proxy counted since, operation by operation."""

    def __init__(self, brownout, server):
        self._server = server
        self._counting = Counting(brownout, "redis", handshakes=True)
        self._before = server.calls()

    def expect_equal(self, ignore=()):
        if DIRECT:
            return
        ignored = {*OURS, *DRIVER, *ignore}

        def equal():
            now = self._server.calls()
            ran = {name: n - self._before.get(name, 0) for name, n in now.items() if name not in ignored}
            ran = {name: n for name, n in ran.items() if n}
            counted = {name: n for name, n in self._counting.difference().items() if name not in ignored}
            assert counted == ran, f"the proxy counted {counted}, the server ran {ran}"
            return True

        eventually("the proxy's counts to equal the server's", equal, limit=5)
