"""A headless Chromium, driven over its DevTools protocol: one page, what it asked for, and what its console said."""

import base64
import contextlib
import json
import re
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

from .process import Process, eventually

_LISTENING = re.compile(r"DevTools listening on ws://([^/]+)/")
NAMES = ("chromium", "chromium-browser", "google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


# WCAG 2.2, 1.4.3: every text that is shown has a contrast of 4.5 to 1 with what is behind it. Signs that stand for a colour of a picture
# are no text.
CONTRAST = """(() => {
  const parse = (text) => { const p = text.match(/[\\d.]+/g).map(Number); return p.length < 4 ? [...p, 1] : p; };
  const light = (c) => { const l = c.slice(0, 3).map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; }
    return [255, 255, 255]; };
  const ink = (e) => { const s = getComputedStyle(e); return parse(e.namespaceURI.endsWith('svg') ? s.fill : s.color); };
  const pale = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.disabled || e.ariaHidden === 'true' || e.tagName === 'title') continue;
    const [a, b] = [light(ink(e)), light(behind(e))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) pale.push(`${e.tagName} ${e.className.baseVal ?? e.className} ${e.textContent.slice(0, 30)} ${contrast.toFixed(2)}`);
  }
  return pale;
})()"""

# What lies outside of the window to the right, and nowhere where it could be scrolled to.
OUTSIDE = """(() => {
  const scrolled = (e) => ['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX);
  const kept = (e) => { for (e = e.parentElement; e && e !== document.body; e = e.parentElement) if (scrolled(e)) return true; return false; };
  return [...document.querySelectorAll('body *')]
    .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5 && !kept(e))
    .map((e) => `${e.tagName} ${e.className.baseVal ?? e.className} ${e.textContent.slice(0, 40)}`).slice(0, 5);
})()"""


class Page:
    """One tab. ``problems`` are errors of its console, ``asked`` the addresses that it asked for."""

    def __init__(self, address):
        self._socket = websocket.create_connection(address, timeout=20, suppress_origin=True)
        self._last = 0
        self.problems, self.asked, self.refused = [], [], []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        self._last += 1
        mine = self._last
        self._socket.send(json.dumps({"id": mine, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == mine:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message)

    def _note(self, message):
        what, of = message.get("method"), message.get("params", {})
        if what == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(of["exceptionDetails"])[:500])
        elif what == "Runtime.consoleAPICalled" and of["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(of["args"])[:500])
        elif what == "Log.entryAdded" and of["entry"]["level"] in ("error", "warning"):
            entry = of["entry"]
            # A status that the page has to reckon with is told apart from what is wrong in the page.
            kept = self.refused if entry["source"] == "network" else self.problems
            kept.append(f"{entry['text']} {entry.get('url', '')}")
        elif what == "Network.requestWillBeSent":
            self.asked.append(of["request"]["url"])

    def open(self, url):
        self.send("Page.navigate", url=url)
        self.wait("the page", "document.readyState === 'complete'")

    def js(self, expression):
        """The value of an expression in the page."""
        reply = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, (expression, reply["exceptionDetails"])
        return reply["result"].get("value")

    def wait(self, what, expression, limit=30):
        """Until an expression is true in the page."""
        eventually(what, lambda: self.js(f"Boolean({expression})") or None, limit)

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def click(self, selector):
        """A real click in the middle of an element: what covers it takes it."""
        place = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1
            )

    def type(self, text):
        self.send("Input.insertText", text=text)

    def key(self, key, code, **more):
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def look(self, width, height, scheme):
        """As on a screen of that size, in light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.send("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def paper(self, scheme):
        """As it is printed on A4 with the usual margins, by somebody who reads in light or dark."""
        self.send("Emulation.setDeviceMetricsOverride", width=718, height=1047, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path):
        shot = self.send("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(shot["data"]))


class Browser:
    """The browser process, with a profile of its own that is gone afterwards."""

    def __init__(self):
        program = next((found for found in map(shutil.which, NAMES) if found), None)
        assert program, "no Chromium; tests/run installs it"
        self._home = tempfile.TemporaryDirectory(prefix="brownout-browser-", ignore_cleanup_errors=True)
        flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-port=0"
        flags += " --disable-background-networking --disable-component-update --disable-sync --no-proxy-server"
        self.process = Process([program, *flags.split(), f"--user-data-dir={self._home.name}", "about:blank"])
        found = self.process.wait_for("DevTools", lambda: _LISTENING.search(self.process.stderr), limit=60)
        self._at = found[1]

    def page(self):
        request = urllib.request.Request(f"http://{self._at}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=20) as reply:
            return Page(json.load(reply)["webSocketDebuggerUrl"])

    def stop(self):
        self.process.end()
        with contextlib.suppress(OSError):
            time.sleep(0.1)
            self._home.cleanup()
