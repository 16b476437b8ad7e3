"""What a service says that `brownout test` starts: in a file beside the report, bounded, and its last words where it dies. And what
becomes of a run whose report cannot be written."""

import json
import resource
import shutil
import signal
import subprocess
import time

import pytest
from harness.process import free_port
from harness.proxy import binary

pytestmark = pytest.mark.proxy

PROFILE = """
[[proxy]]
name = "redis"
protocol = "redis"
listen = 0
upstream = "{upstream}"
[[load]]
proxy = "redis"
rate = "50/s"
commands = ["GET a"]
[[phase]]
kind = "baseline"
for = "2s"
{more}
[[expect]]
lane = "redis"
error_rate = 0.0
"""
HEAD, TAIL = 4 << 20, 64 << 10


@pytest.fixture
def run(redis_server, tmp_path):
    """Runs the test with a shell script as the service."""

    def started(script=None, *options, more="", upstream=redis_server.address, **settings):
        profile = tmp_path / "said.toml"
        profile.write_text(PROFILE.format(upstream=upstream, more=more))
        command = [binary(), "test", profile, *options]
        if script is not None:
            command += ["--", "sh", "-c", script]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=90, **settings)

    return started


def test_what_the_service_says_is_in_a_file(run, tmp_path):
    done = run("echo to stdout; echo to stderr >&2; echo \"at $0 {proxy:redis}\"; exec sleep 60", "--report", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        assert "to stdout" not in text and "to stderr" not in text
    log = tmp_path / "report" / "service.log"
    first, second, third = log.read_text().splitlines()
    assert (first, second) == ("to stdout", "to stderr") and third.startswith("at sh 127.0.0.1:")
    assert log.stat().st_mode & 0o777 == 0o600, "who knows what a service says"
    # The next run begins anew, and nothing is appended to a file that somebody else put there.
    log.unlink()
    (tmp_path / "theirs").write_text("theirs")
    log.symlink_to(tmp_path / "theirs")
    done = run("echo again; exec sleep 60", "--report", tmp_path / "report")
    assert done.returncode == 0 and log.read_text() == "again\n" and (tmp_path / "theirs").read_text() == "theirs"


def test_a_service_that_dies_says_why(run):
    done = run("echo one; echo 'fatal: \033[31mno memory' >&2; sleep 1; exit 7")
    said = "service has ended by itself (exit code 7); it said last:\n  | one\n  | fatal: \ufffd[31mno memory\n"
    assert said in done.stderr, done.stderr
    assert done.stderr.count("no memory") == 1 and "\033" not in done.stderr
    assert "no memory" not in done.stdout


def test_a_service_that_cannot_begin_is_not_waited_for(run):
    began, port = time.monotonic(), free_port()
    done = run("echo 'no such module' >&2; exit 3", upstream=f"127.0.0.1:{port}")
    # Half a minute is what one that lives is given.
    assert time.monotonic() - began < 25
    assert done.returncode == 4
    assert "service: it said last:\n  | no such module\n" in done.stderr, done.stderr
    assert f"it ended with exit code 3 before 127.0.0.1:{port} accepted connections" in done.stderr


def test_what_it_says_is_bounded_and_does_not_stop_it(run, tmp_path):
    script = "echo first; yes 0123456789 | head -c 20000000; echo last; : > done; exec sleep 60"
    done = run(script, "--report", tmp_path / "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "done").exists(), "it got rid of all that it had to say"
    log = (tmp_path / "report" / "service.log").read_bytes()
    left_out = 20_000_000 + len("first\nlast\n") - HEAD - TAIL
    note = b"\n[brownout: %d bytes are left out here]\n" % left_out
    assert len(log) == HEAD + len(note) + TAIL
    assert log.startswith(b"first\n0123456789\n") and log.endswith(b"last\n") and log[HEAD:].startswith(note)


def test_a_watched_command_has_a_file_of_its_own(run, tmp_path):
    more = '[[watch]]\nname = "Helper 1"\ncommand = ["sh", "-c", "echo help; exec sleep 60"]'
    done = run("echo serve; exec sleep 60", "--report", tmp_path / "report", more=more)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "said-helper-1.log").read_text() == "help\n"
    assert (tmp_path / "report" / "service.log").read_text() == "serve\n"


def test_last_words_are_told_where_the_service_cannot_be_judged(run):
    """All that is asked fails: is it the service? What it said helps to know."""
    more = '[[fault]]\nproxy = "redis"\naction = "error"\npreset = "LOADING"\n[[phase]]\nkind = "fault"\nfor = "1s"'
    more = more.replace("[[fault]]", '[[load]]\nlane = "nowhere"\nurl = "http://127.0.0.1:9"\npath = "/"\nrate = "20/s"\n[[fault]]')
    done = run("echo warming up; exec sleep 60", more=more)
    assert done.returncode == 4, done.stderr
    assert "service: it said last:\n  | warming up\n" in done.stderr, done.stderr


def test_a_part_that_could_not_run_is_in_the_results(run, tmp_path):
    gone = f"127.0.0.1:{free_port()}"
    alone = run("exit 3", "--output", "json", upstream=gone)
    assert alone.returncode == 4, alone.stderr
    told = json.loads(alone.stdout)
    assert told["profile"] == "said" and told["result"] == "error" and gone in told["why"], told
    # Two parts are an array of two, whatever became of them.
    shutil.copy(tmp_path / "said.toml", tmp_path / "again.toml")
    both = run("exit 3", "again.toml", "--output", "json", cwd=tmp_path, upstream=gone)
    assert [part["result"] for part in json.loads(both.stdout)] == ["error", "error"], both.stdout
    text = run("exit 3", "again.toml", cwd=tmp_path, upstream=gone)
    assert text.returncode == 4 and text.stdout.count(": error, could not run: ") == 2, text.stdout


@pytest.mark.parametrize("folder", ["said.toml", "said.toml/below", "/sys/kernel"])
def test_a_folder_that_cannot_be_written_is_known_before_the_run(run, tmp_path, folder):
    began = time.monotonic()
    done = run(None, "--report", tmp_path / folder)
    assert done.returncode == 4 and done.stdout == ""
    assert f"the report cannot be written into {tmp_path / folder}: " in done.stderr, done.stderr
    assert "change: " in done.stderr and "phase baseline" not in done.stderr
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["junit.xml", "report.json", "report.html"])
def test_a_form_that_cannot_be_written_is_named_and_the_others_are_there(run, tmp_path, name):
    folder = tmp_path / "report"
    (folder / name).mkdir(parents=True)
    done = run(None, "--report", folder, "--output", "json")
    assert done.returncode == 4
    assert f"the report cannot be written into {folder}: {name}: Is a directory" in done.stderr, done.stderr
    assert json.loads(done.stdout)["result"] == "pass", "the verdict is told all the same"
    assert {path.name for path in folder.iterdir()} == {"report.json", "report.html", "junit.xml", "report.md", "report.csv"}


def test_a_full_disk_is_named_and_leaves_nothing_half_written(run, tmp_path):
    def bounded():
        # A write beyond it fails as on a disk that is full, but with another number.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))

    folder = tmp_path / "report"
    done = run(None, "--report", folder, preexec_fn=bounded)
    assert done.returncode == 4
    assert "report.json: File too large" in done.stderr and "junit.xml" not in done.stderr, done.stderr
    names = {path.name for path in folder.iterdir()}
    assert "report.json" not in names and "junit.xml" in names
    assert not [name for name in names if name.startswith("unfinished")]
