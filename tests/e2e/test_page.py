"""The page at `/` of the admin endpoint, in a real browser, over a real Redis under load."""

import contextlib
import http.client
import json
import os
import threading
import time
from pathlib import Path

import pytest
import redis
from harness.browser import CONTRAST, Browser
from harness.process import eventually
from harness.proxy import Brownout
from redis.backoff import ConstantBackoff
from redis.retry import Retry

pytestmark = pytest.mark.proxy

TOKEN = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
READER = "ffeeddccbbaa99887766554433221100"
SWITCH = "#profiles li[data-key='redis-slow'] button"
# Pictures for people, where they are wanted.
PICTURES = os.environ.get("BROWNOUT_E2E_PICTURES")


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.stop()


@contextlib.contextmanager
def load(endpoint):
    """GET and SET, as fast as one client goes with a pause, until the block ends."""
    ended = threading.Event()

    def work():
        client = redis.Redis(endpoint.host, endpoint.port, protocol=2)
        while not ended.is_set():
            with contextlib.suppress(redis.RedisError):
                client.set("page:key", "value")
                client.get("page:key")
            time.sleep(0.005)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(10)


def cell(operation, column):
    """The text of a cell in the table of the proxy `redis`."""
    row = f"#proxies .proxy[data-key='redis'] tbody tr[data-key$=' {operation}']"
    return f"document.querySelector(\"{row}\")?.cells[{column}].innerText ?? ''"


def microseconds(text):
    number, unit = text.lstrip("~").split()
    return float(number) * {"µs": 1, "ms": 1e3, "s": 1e6}[unit]


def blameless(page, admin):
    """Nothing was wrong in the page, and nothing left the endpoint; no address has a token in it."""
    assert page.problems == []
    assert page.asked, "it asked something"
    for url in page.asked:
        assert url.startswith((f"http://{admin}/", "data:")), url
        assert TOKEN not in url and READER not in url, url


def test_a_profile_is_enabled_bites_and_is_halted(browser, disturbed):
    page = browser.page()
    page.look(1280, 900, "light")
    with load(disturbed.endpoint("redis")):
        page.open(f"http://{disturbed.admin}/")
        page.wait("figures", f"parseInt({cell('GET', 2)}) > 100")
        before = microseconds(page.js(cell("GET", 6)))
        assert page.text("#state") == "No fault is on"
        assert page.text("#no-faults") == "No fault is on."

        page.js("document.getElementById('ttl').value = '30s'")
        page.click(SWITCH)
        page.wait("the switch", f"document.querySelector(\"{SWITCH}\").ariaChecked === 'true'")
        page.wait("the fault", "document.querySelectorAll('#faults tbody tr').length > 0")
        page.wait("that it is told", "/on$/.test(document.getElementById('state').innerText)")
        left = "parseInt(document.querySelector('#faults tbody tr').cells[5].innerText)"
        at_first = page.js(left)
        assert 0 < at_first <= 30
        page.wait("time to pass", f"{left} < {at_first} - 1")
        page.wait("it to bite", f"parseInt({cell('GET', 4)}) > 20", limit=60)
        slow = eventually(
            "the median to rise",
            lambda: (us := microseconds(page.js(cell("GET", 6)))) > 5 * before and us > 5_000 and us or None,
            limit=60,
        )
        redis_now = next(p for p in disturbed.get_json("/v1/stats?window=10s")["proxies"] if p["name"] == "redis")
        upstream = next(o for o in redis_now["operations"] if o["operation"] == "GET")["upstream"]
        assert slow > upstream["p50_us"], "the upstream is as fast as before"
        page.wait("its events", "document.getElementById('events').innerText.includes('acted on GET')")
        assert "fault redis-slow" in page.text("#events")
        pictures(page)

        page.look(1280, 900, "light")
        page.click("#halt")
        page.wait("the halt", "document.getElementById('state').innerText.startsWith('Halted')")
        page.wait("no fault", "document.querySelectorAll('#faults tbody tr').length === 0")
        assert disturbed.get_json("/v1/faults") == {"halted": True, "faults": []}
        assert page.js(f"document.querySelector(\"{SWITCH}\").disabled"), "nothing can be switched on"
        assert page.js("document.getElementById('halt').disabled")
        page.click("#resume")
        page.wait("the end of it", "document.getElementById('state').innerText === 'No fault is on'")
        assert not disturbed.get_json("/v1/faults")["halted"]
        page.wait("that it is told", "document.getElementById('events').innerText.includes('resumed')")
    blameless(page, disturbed.admin)
    assert page.refused == []


def pictures(page):
    """On a phone and on a desk, in light and dark: nothing sticks out, and everything can be read and reached."""
    for name, width, height in (("phone", 390, 844), ("desktop", 1280, 900)):
        for scheme in ("light", "dark"):
            page.look(width, height, scheme)
            page.js("scrollTo(0, 0)")
            assert page.js("document.documentElement.scrollWidth <= innerWidth"), (name, scheme)
            assert page.js("document.getElementById('halt').getBoundingClientRect().bottom < innerHeight")
            pale = page.js(CONTRAST)
            assert pale == [], (name, scheme, pale)
            if PICTURES:
                page.picture(Path(PICTURES) / f"page-{name}-{scheme}.png")


def test_the_keyboard_is_enough(browser, disturbed):
    page = browser.page()
    page.open(f"http://{disturbed.admin}/")
    page.wait("profiles", f"document.querySelector(\"{SWITCH}\")")
    page.js(f"document.querySelector(\"{SWITCH}\").focus()")
    page.key(" ", 32, text=" ")
    page.wait("the switch", f"document.querySelector(\"{SWITCH}\").ariaChecked === 'true'")
    # A list that is drawn anew must not take the focus away.
    time.sleep(2.5)
    assert page.js("document.activeElement.ariaLabel") == "Profile redis-slow"
    page.key(" ", 32, text=" ")
    page.wait("the switch", f"document.querySelector(\"{SWITCH}\").ariaChecked === 'false'")
    assert disturbed.get_json("/v1/faults")["faults"] == []
    named = page.js(
        "[...document.querySelectorAll('button, input, select')].filter((e) => "
        "!(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert named == []
    blameless(page, disturbed.admin)


@pytest.fixture
def guarded(proxies, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"read:{READER}\nadmin:{TOKEN}\n")
    tokens.chmod(0o600)
    config = tmp_path / "brownout.toml"
    config.write_text(f'[admin]\ntoken_file = "{tokens}"\n')
    process = Brownout(proxies, "--config", str(config))
    yield process
    process.stop()


def faults_as(process, token):
    status, text = process.request("GET", "/v1/faults", headers={"Authorization": f"Bearer {token}"})
    assert status == 200, text
    return json.loads(text)["faults"]


def enter(page, token):
    page.click("#token")
    page.type(token)
    page.key("Enter", 13, text="\r")


def test_a_locked_endpoint_asks_for_its_token(browser, guarded):
    page = browser.page()
    page.open(f"http://{guarded.admin}/")
    page.wait("the question", "!document.getElementById('ask').hidden")
    assert page.js("document.getElementById('live').hidden && document.getElementById('actions').hidden")
    assert "redis-slow" not in page.js("document.documentElement.outerHTML"), "nothing is told yet"
    if PICTURES:
        page.look(390, 844, "dark")
        page.picture(Path(PICTURES) / "page-locked.png")

    enter(page, "a" * 32)
    page.wait("the refusal", "document.getElementById('refused').innerText === 'This token is not known.'")
    assert page.js("document.getElementById('live').hidden")
    assert page.js("sessionStorage.length") == 0, "a wrong token is not kept"

    enter(page, READER)
    page.wait("the page", "!document.getElementById('live').hidden")
    page.wait("events, which need the token too", "document.getElementById('stream').innerText === 'live'")
    page.wait("profiles", f"document.querySelector(\"{SWITCH}\")")
    page.click(SWITCH)
    page.wait("that a reader may not", "document.getElementById('problem').innerText.includes('takes operate')")
    assert faults_as(guarded, READER) == []

    page.js("sessionStorage.clear()")
    page.open(f"http://{guarded.admin}/?again")
    page.wait("the question", "!document.getElementById('ask').hidden")
    enter(page, TOKEN)
    page.wait("profiles", f"document.querySelector(\"{SWITCH}\")")
    page.click(SWITCH)
    page.wait("the switch", f"document.querySelector(\"{SWITCH}\").ariaChecked === 'true'")
    assert page.js("localStorage.length + document.cookie.length") == 0
    assert page.js("location.href") == f"http://{guarded.admin}/?again"
    blameless(page, guarded.admin)
    assert all(" 401 " in one or " 403 " in one for one in page.refused), page.refused


def test_a_lost_connection_is_said_and_found_again(browser, proxies):
    process = Brownout(proxies)
    page = browser.page()
    page.open(f"http://{process.admin}/")
    page.wait("figures", "document.querySelectorAll('#proxies .proxy').length === 3")
    process.stop()
    page.wait("the loss", "document.getElementById('state').innerText.startsWith('Connection lost')")
    again = Brownout(proxies, admin=process.admin)
    try:
        page.wait("the return", "document.getElementById('state').innerText === 'No fault is on'")
        page.wait("events", "document.getElementById('stream').innerText === 'live'")
    finally:
        again.stop()
    assert page.problems == []


def insight(subject):
    """The cells of a line about redis: what is known, and on how much it rests."""
    row = f"#insights .proxy[data-key='redis'] tbody tr[data-key='{subject}']"
    return f"[...document.querySelector(\"{row}\")?.cells ?? []].map((c) => c.innerText)"


def test_insights_are_shown_as_they_arise(browser, disturbed):
    """A service that asks three times is watched while its Redis answers with errors."""
    page = browser.page()
    page.look(1280, 900, "light")
    page.open(f"http://{disturbed.admin}/")
    page.wait("what to do", "document.getElementById('watching').innerText.includes('--record DIR')")
    # Nothing moves any more under the pointer.
    page.wait("figures", "document.querySelectorAll('#proxies .proxy').length === 3 && document.querySelector('#profiles li')")
    page.click("#watch")
    page.wait("the recording", "document.getElementById('watching').innerText.includes('recorded in memory')")

    at = disturbed.endpoint("redis")
    retry = Retry(ConstantBackoff(0.02), 2, supported_errors=(redis.ResponseError,))
    client = redis.Redis(at.host, at.port, protocol=2, retry=retry)
    for n in range(100):
        client.get(f"watched:{n}")
    page.wait("the proxy", "document.getElementById('insights').innerText.includes('no fault has touched it')", limit=60)
    with disturbed.fault(name="wrong", proxy="redis", action="error", code="ERR", message="disturbed", match={"operation": "GET"}):
        # Each call asks for another key: what asks for the same again is a retry.
        for n in range(30):
            with contextlib.suppress(redis.ResponseError):
                client.get(f"watched:{n}")
        # While it goes on.
        page.wait("its retries", f"({insight('retries')})[1]?.includes('attempts a call at most')", limit=60)
    subject, said, samples = page.js(insight("retries"))
    assert subject == "retries" and "3 attempts a call at most" in said, said
    assert int(samples) >= 1
    assert page.js(insight("faults"))[1].startswith("felt from ")
    pictures(page)
    # The same for programs.
    told = disturbed.get_json("/v1/insights")
    (about,) = (d for d in told["insights"]["dependencies"] if d["proxy"] == "redis")
    assert about["retries"]["answer"]["Ok"]["most_attempts"]["high"] == 3
    assert told["recording"] == "memory" and not told["cut"]

    page.look(1280, 900, "light")
    page.click("#watch")
    page.wait("the end of it", "document.getElementById('watching').innerText.includes('--record DIR')")
    assert page.js("document.querySelectorAll('#insights .proxy').length") == 0
    assert disturbed.get_json("/v1/insights")["recording"] == "off"
    blameless(page, disturbed.admin)
    assert page.refused == []


def test_insights_are_not_asked_for_again_before_they_are_there(browser, disturbed):
    page = browser.page()
    page.open(f"http://{disturbed.admin}/")
    page.wait("figures", "document.querySelectorAll('#proxies .proxy').length === 3")
    # From here on no answer comes.
    page.js(
        "window.asked = 0; window.turns = 0; const real = window.fetch; window.fetch = (url, options) => {"
        " if (url.startsWith('/v1/stats')) window.turns += 1;"
        " if (!url.startsWith('/v1/insights')) return real(url, options);"
        " window.asked += 1; return new Promise((given) => { window.give = () => given(real(url, options)); }); }; 1"
    )
    page.wait("the first question", "window.asked === 1")
    page.wait("turns without another", "window.turns >= 6", limit=60)
    assert page.js("window.asked") == 1
    page.js("window.give(); 1")
    page.wait("the next one", "window.asked === 2", limit=60)
    blameless(page, disturbed.admin)


def test_which_proxy_is_the_services_own_api_is_chosen(browser, redis_server, web_server):
    process = Brownout([("redis", "redis", redis_server), ("http", "web", web_server), ("http", "other", web_server)])
    page = browser.page()
    try:
        assert process.request("POST", "/v1/recording")[0] == 201
        page.open(f"http://{process.admin}/")
        known = "[...document.querySelectorAll('#insights .proxy')].map((e) => e.dataset.key).sort().join()"
        page.wait("all three", f"{known} === 'other,redis,web'")
        choice = "[...document.getElementById('api').options].map((o) => o.text).join()"
        page.wait("the proxies of HTTP", f"{choice} === 'not said,other,web'")
        pictures(page)
        page.js("document.getElementById('api').value = 'web'; document.getElementById('api').onchange(); 1")
        page.wait("the others", f"{known} === 'other,redis'", limit=60)
        # It stays chosen while figures come.
        time.sleep(2.5)
        assert page.js("document.getElementById('api').value") == "web"
        blameless(page, process.admin)
        assert page.refused == []
    finally:
        process.stop()


def test_who_may_watch(guarded):
    reader = {"Authorization": f"Bearer {READER}"}
    status, text = guarded.request("GET", "/v1/insights", headers=reader)
    assert status == 200 and json.loads(text)["recording"] == "off"
    assert guarded.request("GET", "/v1/insights")[0] == 401
    for method in ("POST", "DELETE"):
        status, text = guarded.request(method, "/v1/recording", headers=reader)
        assert status == 403 and "operate" in json.loads(text)["detail"], text


def test_a_recording_to_a_file_is_read_and_not_ended(browser, proxies, tmp_path):
    process = Brownout(proxies, "--record", str(tmp_path))
    try:
        status, text = process.request("POST", "/v1/recording")
        assert (status, json.loads(text)) == (200, {"recording": "file"})
        status, text = process.request("DELETE", "/v1/recording")
        assert status == 409 and "a file" in json.loads(text)["detail"]
        page = browser.page()
        page.open(f"http://{process.admin}/")
        page.wait("the recording", "document.getElementById('watching').innerText.includes('recorded to a file')")
        assert page.js("document.getElementById('watch').hidden")
        blameless(page, process.admin)
    finally:
        process.stop()


def test_what_names_say_is_text(browser, proxies, tmp_path):
    """A name and a description from a file are shown as they are written, and nothing of them is run."""
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "bad.toml").write_text(
        f"description = '''{hostile}'''\n[[fault]]\nname = \"f\"\nproxy = \"redis\"\n"
        'action = "latency"\ndelay = "1ms"\n'
    )
    (folder / "none.toml").write_text("nonsense = 1\n")
    process = Brownout(proxies, profiles=tmp_path)
    page = browser.page()
    try:
        page.open(f"http://{process.admin}/")
        page.wait("the profile", "document.querySelector(\"#profiles li[data-key='bad']\")")
        assert hostile in page.text("#profiles")
        assert page.text("#broken") == "No profile, as `brownout check` says: none"
        assert page.js("document.querySelectorAll('#profiles img, #profiles script').length") == 0
        blameless(page, process.admin)
    finally:
        process.stop()


def test_foreign_pages_get_nothing_and_cannot_frame_it(disturbed):
    for path in ("/", "/dashboard.js", "/dashboard.css"):
        status, _ = disturbed.request("GET", path)
        assert status == 200, path
        for header in (
            {"Host": "evil.example"},
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            assert disturbed.request("GET", path, headers=header)[0] == 403, (path, header)
        assert disturbed.request("POST", path, headers={"Sec-Fetch-Site": "same-origin"})[0] == 405
    connection = http.client.HTTPConnection(disturbed.admin, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        headers = connection.getresponse().headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
