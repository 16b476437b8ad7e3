"""Brownout with faults loaded that hit nothing: what being ready costs."""

from subjects import Brownout
from work import admin

FAULTS = 50
# What redis-benchmark does not send.
COMMANDS = ("SET", "HGETALL", "LPUSH", "ZADD", "PUBLISH")


class Idle(Brownout):
    """No fault."""

    name = "no fault"

    def start(self):
        super().start()
        for number in range(FAULTS):
            if spec := self.fault(number):
                spec |= {"name": f"compare-{number}", "action": "latency", "delay": "5ms"}
                admin(self, "POST", "/v1/faults", spec)
        return self

    def fault(self, number):
        return None


class OtherCommands(Idle):
    name = "50 on other commands"

    def fault(self, number):
        return {"proxy": "redis", "match": {"operation": COMMANDS[number % len(COMMANDS)]}}


class OtherKeys(Idle):
    """Each of them must look at the key of each request."""

    name = "50 on other keys of GET"

    def fault(self, number):
        return {"proxy": "redis", "match": {"operation": "GET", "key": f"session:{number}:*"}}


class OtherProxy(Idle):
    name = "50 on another proxy"

    def fault(self, number):
        return {"proxy": "postgres"}


KINDS = [Idle, OtherCommands, OtherProxy, OtherKeys]
