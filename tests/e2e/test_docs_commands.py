"""Commands of README.md and docs/ that tests/readme.rs and tests/toxiproxy do not run: each is run here, or at least all that it
names is there. A command that is new on a page has to be run somewhere before this passes."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from harness.proxy import ROOT, binary

pytestmark = pytest.mark.proxy

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Their `sh` blocks are run by tests/readme.rs, and those of the last one by tests/toxiproxy/docs.rs.
RUN_BY_CARGO = ["README", "first-ten-minutes", "matching", "operating", "writing-a-test", "from-toxiproxy"]
PROGRAMS = ["brownout", "cargo", "kubectl", "curl", "redis-cli", "pytest", "docker", "git"]
PROGRAMS += ["tests/run", "./tests/run", "benches/compare/run"]
# Commands in blocks that are not run line by line, and what has them run or checked.
ELSEWHERE = {
    "cargo run --release -- demo": "tests/demo.rs",
    "./tests/run": "this is run by it",
    "brownout test cos --report reports -- uvicorn app:app --port 8000": "test_cos_suite.py",
    "cargo build --release && benches/compare/run --brownout target/release/brownout": "test_the_sources_have_what_is_named",
    "cargo test --lib fault::": "test_the_sources_have_what_is_named",
    "cargo test --test adding_a_fault": "test_the_sources_have_what_is_named",
    "cargo test --release --test datapath numbered:: -- --nocapture --test-threads 1": "test_the_sources_have_what_is_named",
    "tests/run -k docs_faults": "test_the_sources_have_what_is_named",
    "cargo install --path .": "tests/package",
    "brownout test cos --record recordings -- uvicorn app:app --port 8000": "test_recordings.py",
    "brownout insight --from recordings/cos-circuit-breaker.jsonl": "test_recordings.py",
    "brownout report compare main/report.json reports/report.json --limit 20": "test_the_commands_of_the_page_on_pipelines",
    "brownout exec --profile redis-slow --report reports -- pytest": "test_a_suite_of_pytest_is_led_through",
    "kubectl kustomize deploy/kubernetes/example": "test_what_is_said_of_kubernetes_is_there",
    "kubectl port-forward deploy/modules 8474 &": "test_what_is_said_of_kubernetes_is_there",
    "brownout profile enable slow-dependencies --ttl 5m": "test_what_is_said_of_kubernetes_is_there",
}


def blocks(page):
    return re.findall(r"^```([\w-]*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(text):
    """Lines that are commands: without what they set before, comments, and line ends within."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        command = re.sub(r"^(?:[A-Z_]+=\S+\s+)*", "", line.split("  #")[0].strip())
        if command.split(" ")[0] in PROGRAMS:
            yield command


def of(page):
    return ROOT / "docs" / f"{page}.md"


def shell(command, folder, **environment):
    path = os.pathsep.join([str(Path(binary()).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "panicked" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_block_is_run_somewhere(page):
    for language, text in blocks(page):
        if language in ("toml", "json", "rust", "yaml") or (language == "sh" and page.stem in RUN_BY_CARGO):
            continue
        for command in commands(text):
            assert command in ELSEWHERE, f"{page.name}: {command} is run by no test"


def test_what_is_run_elsewhere_stands_on_a_page():
    shown = {command for page in PAGES for _, text in blocks(page) for command in commands(text)}
    assert ELSEWHERE.keys() <= shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_flag_of_brownout_is_one(page):
    text = page.read_text()
    inline = re.findall(r"`(brownout [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    shown = [command for _, block in blocks(page) for command in commands(block) if command.startswith("brownout ")]
    for command in [re.sub(r"\s+", " ", command) for command in inline] + shown:
        words = command.split(" -- ")[0].split(" ")[1:]
        nested = words[0] in ("profile", "fault", "audit") or words[:2] == ["report", "compare"]
        asked = words[: 2 if nested and len(words) > 1 else 1]
        known = subprocess.run([binary(), *asked, "--help"], capture_output=True, text=True)
        assert known.returncode == 0, command
        for flag in (word for word in words if word.startswith("--")):
            assert re.search(rf"{flag.split('=')[0]}\b", known.stdout), f"{page.name}: {command} has no {flag}"


@pytest.fixture(scope="module")
def ran(redis_server, tmp_path_factory):
    """A folder with the reports of two short runs, as the pages name them."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "short.toml").write_text(
        f'[[proxy]]\nname = "redis"\nprotocol = "redis"\nlisten = 0\nupstream = "{redis_server.address}"\n'
        '[[load]]\nproxy = "redis"\nrate = "200/s"\ncommands = ["GET a"]\n'
        '[[phase]]\nkind = "steady"\nfor = "1s"\n[[expect]]\nlane = "redis"\np95 = "5s"\n'
        '[[expect]]\nlane = "redis"\nmax = "1us"\nseverity = "alert"\n'
    )
    for reports in ("main", "reports"):
        done = shell(f"brownout test short.toml --report {reports}", folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_the_commands_of_the_page_on_pipelines(ran):
    (github, gitlab) = (yaml.safe_load(text) for language, text in blocks(of("in-ci")) if language == "yaml")
    steps = [step["run"] for step in github["jobs"]["survives"]["steps"] if "run" in step]
    (reports,) = [run for run in steps if run.startswith("brownout report")]
    done = shell(reports, ran, GITHUB_STEP_SUMMARY="summary.md")
    assert done.returncode == 0 and "::warning" in done.stdout, done.stderr
    assert "How to run it again" in (ran / "summary.md").read_text()
    for name in gitlab["survives"]["artifacts"]["paths"] + [gitlab["survives"]["artifacts"]["reports"]["junit"]]:
        assert (ran / name).exists()
    (compare,) = [c for _, text in blocks(of("in-ci")) for c in commands(text) if c.startswith("brownout report compare")]
    done = shell(compare, ran)
    # Two runs of a second may differ, and so may the machine.
    assert done.returncode in (0, 1, 3) and "compared: parts 1" in done.stdout, done.stderr


def test_a_suite_of_pytest_is_led_through(redis_server, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import os, redis\n\n\ndef test_it():\n    assert redis.Redis.from_url(os.environ['REDIS_URL']).set('a', 1)\n"
    )
    (command,) = [c for _, text in blocks(of("in-ci")) for c in commands(text) if c.startswith("brownout exec")]
    done = shell(command, tmp_path, REDIS_URL=f"redis://{redis_server.address}/0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert list((tmp_path / "reports").iterdir())


def test_the_commands_of_the_page_on_verdicts(ran):
    spans = re.findall(r"`(brownout [^`]+|--markdown [^`]+)`", of("reading-a-verdict").read_text())
    folder = ran / "reports"
    tried = []
    for span in spans:
        names = span.replace("BEFORE", "../main/report.json").replace("AFTER", "report.json")
        if span.startswith("--"):
            done = shell(f"brownout report report.json {span}", folder, GITHUB_STEP_SUMMARY="summary.md")
        elif span.startswith("brownout report "):
            done = shell(names, folder)
        else:
            continue
        assert done.returncode == 0 or (done.returncode in (1, 3) and "compare" in span), f"{span}: {done.stderr}"
        tried.append(span)
    assert len(tried) >= 3, tried


def test_the_sources_have_what_is_named():
    assert (ROOT / "src" / "fault").is_dir() and (ROOT / "tests" / "adding_a_fault.rs").exists()
    assert (ROOT / "tests" / "e2e" / "test_docs_faults.py").exists()
    numbered = (ROOT / "tests" / "datapath" / "numbered").exists() or (ROOT / "tests" / "datapath" / "numbered.rs").exists()
    assert numbered and (ROOT / "tests" / "datapath").is_dir()
    sources = "".join(path.read_text() for path in (ROOT / "tests" / "datapath").rglob("*.rs"))
    for variable in re.findall(r"\b(BROWNOUT_PROOF_\w+)=", of("proof-log").read_text()):
        assert f'"{variable}"' in sources, variable
    run = ROOT / "tests" / "run"
    assert os.access(run, os.X_OK) and "-k" in run.read_text()
    bench = ROOT / "benches" / "compare" / "run"
    assert os.access(bench, os.X_OK)
    assert any("--brownout" in path.read_text(errors="ignore") for path in bench.parent.rglob("*") if path.is_file())


def test_what_is_said_of_kubernetes_is_there():
    text = "".join(text for language, text in blocks(of("operating")) if language == "text")
    (folder,) = re.findall(r"kubectl kustomize (\S+)", text)
    assert (ROOT / folder / "kustomization.yaml").exists()
    (deployment, port) = re.search(r"kubectl port-forward deploy/(\w+) (\d+)", text).groups()
    made = [one for path in (ROOT / folder).glob("*.yaml") for one in yaml.safe_load_all(path.read_text())]
    assert any(one["kind"] == "Deployment" and one["metadata"]["name"] == deployment for one in made)
    config = (ROOT / "deploy" / "kubernetes" / "base" / "brownout.toml").read_text()
    assert f":{port}" in tomllib.loads(config)["admin"]["listen"]
    (profile,) = re.findall(r"brownout profile enable (\S+)", text)
    assert (ROOT / "deploy" / "kubernetes" / "base" / "profiles" / f"{profile}.toml").exists()
