"""How to run it again, in every form of a report: the whole command, which works; and no secret is in it."""

import html
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from harness.proxy import binary

pytestmark = pytest.mark.proxy

PROFILE = """
[[proxy]]
name = "redis"
protocol = "redis"
listen = 0
upstream = "{{redis}}"
[[fault]]
proxy = "redis"
action = "error"
preset = "LOADING"
probability = 0.5
[[load]]
proxy = "redis"
rate = "50/s"
commands = ["SET {{a key|x}} {{url|y}}"]
[[phase]]
kind = "fault"
for = "2500ms"
[[expect]]
lane = "redis"
error_rate = 1.0
"""
PASSWORD = "hun'ter 2x"
FORMS = ("--html", "--junit", "--markdown", "--text", "--csv", "--github")


def commands(form, text):
    """Those that a form shows, first the one for all."""
    if form == "--html":
        section = text.partition('id="again"')[2]
        return [html.unescape(line) for block in re.findall(r"<pre[^>]*>(.*?)</pre>", section, re.S) for line in block.splitlines()]
    if form == "--junit":
        return [html.unescape(value) for value in re.findall(r'<property name="again" value="([^"]*)"', text)]
    if form == "--markdown":
        blocks = re.finditer(r"\n(```+)sh\n(.*?)\n\1\n", text, re.S)
        return [line for block in blocks for line in block[2].splitlines()]
    if form == "--csv":
        return [re.search(r',("?)(brownout test .*)\1\r?$', line)[2].replace('""', '"') for line in text.splitlines()[1:]]
    if form == "--github":
        return re.findall(r"^::notice title=How to run it again::(.*)$", text, re.M)
    return re.findall(r"^  (brownout test .*)$", text, re.M)


def shell(command, folder):
    """As somebody does who has the program on his path, whatever its file is called here."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    if not (programs / "brownout").exists():
        (programs / "brownout").symlink_to(Path(binary()).resolve())
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=90, env=environment, cwd=folder)


def test_the_command_that_is_printed_works_and_gives_the_same(redis_server, tmp_path):
    folder = tmp_path / "some profiles"
    folder.mkdir()
    (folder / "one.toml").write_text(PROFILE)
    (folder / "two.toml").write_text(PROFILE.replace("{{a key|x}}", "b").replace("error_rate = 1.0", "error_rate = 0.0"))
    service = 'echo "$0 $1"; exec sleep 60'
    arguments = ["test", "some profiles", "--var", f"redis={redis_server.address}", "--var", "a key=it's"]
    arguments += ["--var", f"url=redis://tester:{PASSWORD.replace(' ', '')}@127.0.0.1/0", "--quick", "--report", "out"]
    arguments += ["--", "sh", "-c", service, "--password", PASSWORD]
    first = subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=90, cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    seeds = {run["seed"] for run in report["runs"]}
    assert len(seeds) == 1, "one of the clock for all"
    whole, parts = report["again"], [run["again"] for run in report["runs"]]
    assert f"--seed {seeds.pop()} " in whole and "'some profiles'" in whole and " --quick " in whole
    assert "some profiles/one.toml" in parts[0] and "some profiles/two.toml" in parts[1]
    assert "a key" in parts[0] and "a key" not in parts[1], "of a part what it takes"
    everything = [report, *(path.read_text() for path in (tmp_path / "out").iterdir() if path.suffix != ".log")]
    assert not any(secret in str(form) for form in everything for secret in ("hun'", "ter2x", "ter 2x"))

    def form(option):
        done = subprocess.run([binary(), "report", "out/report.json", option], capture_output=True, cwd=tmp_path)
        assert done.returncode == 0
        return commands(option, done.stdout.decode())

    shown = {option: form(option) for option in FORMS}
    assert shown["--html"] == [whole, *parts]
    assert shown["--text"] == shown["--markdown"] == [whole, *parts]
    assert shown["--github"] == [whole]
    assert shown["--junit"] == shown["--csv"] == parts
    assert "a secret was left out" in (tmp_path / "out" / "report.html").read_text()

    # It works as it is printed; the service is told *** in place of its password.
    for command, code in ((whole, 1), (parts[0], 0), (parts[1], 1)):
        again = shell(command, tmp_path)
        assert again.returncode == code, again.stderr
        assert json.loads((tmp_path / "out" / "report.json").read_text())["runs"][0]["seed"] == report["runs"][0]["seed"]
        assert (tmp_path / "out" / "service.log").read_text() == "--password ***\n"
    last = json.loads((tmp_path / "out" / "report.json").read_text())
    assert last["again"] == last["runs"][0]["again"] == parts[1]


def test_seeds_of_the_profiles_stay_theirs(redis_server, tmp_path):
    names = []
    for seed in (3, 4):
        names.append(f"seed{seed}.toml")
        (tmp_path / names[-1]).write_text(f"seed = {seed}\n" + PROFILE)
    (tmp_path / "none.toml").write_text(PROFILE)

    def again(*profiles):
        command = [binary(), "test", *profiles, "--var", f"redis={redis_server.address}", "--quick", "--report", "out"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        return report.get("again"), [run["again"] for run in report["runs"]]

    rest = f"--var redis={redis_server.address} --report out --quick"
    whole, parts = again(*names)
    assert whole == f"brownout test seed3.toml seed4.toml {rest}"
    assert parts == [f"brownout test seed3.toml --seed 3 {rest}", f"brownout test seed4.toml --seed 4 {rest}"]
    whole, parts = again("none.toml", "seed3.toml")
    assert whole is None, "no single --seed is that of both"
    assert re.fullmatch(rf"brownout test none\.toml --seed \d+ {re.escape(rest)}", parts[0])
