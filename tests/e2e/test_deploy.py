"""deploy/: what it says of Kubernetes is valid, its alerts fire, and its queries ask for what a running proxy shows."""

import json
import re
import subprocess
import tomllib

import jsonschema
import kubernetes_validate
import psycopg
import pytest
import redis
import yaml
from harness.process import eventually
from harness.proxy import ROOT, Brownout, binary
from harness.servers import program

pytestmark = pytest.mark.proxy

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
# The first one with sidecar containers in its stable API, and the newest that the schemas have.
VERSIONS = ("1.29.0", "1.36.0")


def documents(folder):
    return [one for path in sorted((KUBERNETES / folder).glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]


def kinds():
    return {one["kind"]: one for folder in ("base", "example") for one in documents(folder) if one["kind"] != "Kustomization"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_fit_the_schemas_of_kubernetes(version):
    checked = 0
    for one in kinds().values():
        if one["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        kubernetes_validate.validate(one, version, strict=True)
        checked += 1
    assert checked == 3


# Of the Prometheus operator's API (monitoring.coreos.com/v1) the fields that are used here; the cluster refuses unknown ones.
POD_MONITOR = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PodMonitor"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["selector", "podMetricsEndpoints"],
            "additionalProperties": False,
            "properties": {
                "selector": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}},
                },
                "podMetricsEndpoints": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": "string", "maxLength": 15},
                            "path": {"type": "string", "pattern": "^/"},
                            "interval": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"},
                        },
                    },
                },
            },
        },
    },
}


def test_the_pod_monitor_fits_what_the_operator_takes():
    monitor = kinds()["PodMonitor"]
    jsonschema.validate(monitor, POD_MONITOR)
    monitor["spec"]["podMetricsEndpoints"][0]["interval"] = 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(monitor, POD_MONITOR)


def test_what_is_wrong_does_not_fit():
    deployment = kinds()["Deployment"]
    deployment["spec"]["template"]["spec"]["initContainers"][0]["restartPolcy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


def test_kustomizations_name_what_is_there_and_all_of_it():
    for folder in ("base", "example"):
        here = KUBERNETES / folder
        kustomization = yaml.safe_load((here / "kustomization.yaml").read_text())
        named = {name for name in kustomization["resources"] if not name.startswith("..")}
        assert named == {path.name for path in here.glob("*.yaml")} - {"kustomization.yaml"}
        files = {name for made in kustomization.get("configMapGenerator", []) for name in made["files"]}
        assert files == {str(path.relative_to(here)) for path in here.rglob("*.toml")}


def test_the_sidecar_is_locked_down_and_its_ports_are_those_of_its_configuration():
    pod = kinds()["Deployment"]["spec"]["template"]
    (sidecar,) = pod["spec"]["initContainers"]
    assert sidecar["restartPolicy"] == "Always", "a sidecar, not a step"
    security = sidecar["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    ports = {port["name"]: port["containerPort"] for port in sidecar["ports"]}
    # Probes ask for its own state: a fault on a database must not have the pod taken out.
    for probe, path in (("startupProbe", "/readyz"), ("livenessProbe", "/healthz")):
        assert sidecar[probe]["httpGet"] == {"path": path, "port": "bo-metrics"}
    done = subprocess.run(
        [binary(), "check", KUBERNETES / "base" / "brownout.toml", KUBERNETES / "base" / "profiles"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    config = (KUBERNETES / "base" / "brownout.toml").read_text()
    assert f'metrics = "0.0.0.0:{ports["bo-metrics"]}"' in config
    assert f'listen = "0.0.0.0:{ports["http"]}"' in config
    assert 'listen = "127.0.0.1:8474"' in config, "the admin endpoint is not for the network"
    (policy, monitor, service) = (kinds()[kind] for kind in ("NetworkPolicy", "PodMonitor", "Service"))
    labels = pod["metadata"]["labels"]
    for selector in (policy["spec"]["podSelector"], monitor["spec"]["selector"]):
        assert selector["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    open_ports = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert open_ports == set(ports.values()), "and not 8474"
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in ports and endpoint["path"] == "/metrics"


def test_the_sidecar_mounts_what_its_arguments_and_files_name():
    spec = kinds()["Deployment"]["spec"]["template"]["spec"]
    (sidecar,) = spec["initContainers"]
    mounts = {mount["mountPath"]: mount for mount in sidecar["volumeMounts"]}
    assert sidecar["args"][-1].rpartition("/")[0] in mounts
    assert mounts["/etc/brownout"]["readOnly"]
    config = (KUBERNETES / "base" / "brownout.toml").read_text()
    for path in re.findall(r'^(?:audit|halt_file) = "(.*)"', config, re.MULTILINE):
        assert path.rpartition("/")[0] in mounts and not mounts[path.rpartition("/")[0]].get("readOnly")
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert {mount["name"] for mount in mounts.values()} <= volumes.keys()
    made = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["configMapGenerator"]
    made = {one["name"]: {name.rpartition("/")[2] for name in one["files"]} for one in made}
    for source in volumes["brownout"]["projected"]["sources"]:
        items = {item["key"] for item in source["configMap"].get("items", [])}
        assert items <= made[source["configMap"]["name"]]


def test_the_image_is_static_without_root_and_asks_itself_for_its_health():
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    build, image = stages
    assert build.splitlines()[0].endswith("alpine AS build"), "musl links statically"
    assert image.splitlines()[0] == "scratch"
    assert "COPY --from=build" in image and "RUN" not in image
    (user,) = re.findall(r"^USER (\S+)", image, re.MULTILINE)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, so that runAsNonRoot can be checked"
    assert health_check()[0] == json.loads(re.search(r"^ENTRYPOINT (\[.*\])", image, re.MULTILINE)[1])[0], "there is no shell"


def health_check():
    return json.loads(re.search(r"HEALTHCHECK .*\\\n +CMD (\[.*\])", (ROOT / "Dockerfile").read_text())[1])


def test_the_health_check_of_the_image_knows_life_from_death(redis_server, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("read:0123456789abcdef0123456789abcdef\n")
    tokens.chmod(0o600)
    config = tmp_path / "b.toml"
    proxy = f'[[proxy]]\nname = "r"\nprotocol = "redis"\nlisten = 0\nupstream = "{redis_server.address}"\n'
    for guards, environment in (("", {}), ('[admin]\ntoken_file = "tokens"\n', {"BROWNOUT_TOKEN_FILE": str(tokens)})):
        config.write_text(guards + proxy)
        process = Brownout([], "--config", str(config))
        _, *arguments = health_check()
        command = [binary(), *arguments[:-1], f"http://{process.admin}"]

        def healthy():
            return subprocess.run(command, capture_output=True, env=environment, timeout=30).returncode == 0

        assert arguments[-2:] == ["--admin", "http://127.0.0.1:8474"]
        assert healthy(), guards
        process.stop()
        assert not healthy(), "it is gone"


# --- alerts and dashboard ---


def promtool(*arguments):
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, cwd=DEPLOY / "prometheus")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_alert_is_valid_and_fires_where_it_should():
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts.test.yml")
    rules = [rule for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts.test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules}


def test_scrapes_come_often_enough_for_every_alert():
    windows = [int(n) for n in re.findall(r"\[(\d+)s\]", (DEPLOY / "prometheus" / "alerts.yml").read_text())]
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    (endpoint,) = kinds()["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert windows
    for interval in (scrape, endpoint["interval"]):
        assert int(interval.removesuffix("s")) * 4 <= min(windows), "a rate of fewer samples has gaps"


@pytest.fixture(scope="module")
def shown(redis_server, postgres_server, web_server, tmp_path_factory):
    """Names and labels of a proxy that has seen some of everything."""
    config = tmp_path_factory.mktemp("deploy") / "brownout.toml"
    config.write_text(
        "".join(
            f'[[proxy]]\nname = "{name}"\nprotocol = "{protocol}"\nlisten = 0\nupstream = "{server.address}"\npool = 5\nslo = {{ p95 = "1us" }}\n'
            for name, protocol, server in (
                ("redis", "redis", redis_server),
                ("postgres", "postgres", postgres_server),
                ("web", "http", web_server),
            )
        )
    )
    process = Brownout([], "--config", str(config))
    at = process.endpoint("redis")
    with process.fault(name="late", proxy="*", action="latency", delay="1ms"), redis.Redis(at.host, at.port) as client:
        client.get("k")
        subscriber = client.pubsub()
        subscriber.subscribe("c")
        subscriber.get_message(timeout=2)
        client.publish("c", "x")
        subscriber.get_message(timeout=2)
        subscriber.close()
        at = process.endpoint("postgres")
        with psycopg.connect(f"host={at.host} port={at.port} user=postgres dbname=postgres sslmode=disable") as c:
            c.execute("select 1")
        at = process.endpoint("web")
        subprocess.run(["curl", "-sf", f"http://{at.host}:{at.port}/hello"], check=True, capture_output=True)
        # Not what it carries, so that something is lost.
        subprocess.run(["curl", "-s", f"http://{process.endpoint('redis').host}:{process.endpoint('redis').port}/"], capture_output=True)

        def measured():
            _, text = process.get("/metrics")
            return text if "brownout_worker_lag_seconds" in text else None

        text = eventually("the first look at the workers", measured)
    process.stop()
    metrics = {}
    for line in text.splitlines():
        if match := re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+", line):
            metrics.setdefault(match[1], set()).update(re.findall(r'(\w+)="', match[2] or ""))
    return metrics


ADDED_BY_PROMETHEUS = {"instance", "le"}


def asked(expression):
    """The metrics of a query, each with the labels that it compares; and the labels that it groups by."""
    grouping = r"\b(?:by|on) \(([^)]*)\)"
    metrics = re.findall(r"\b((?:brownout|db|http)_\w+)(?:\{([^}]*)\})?", re.sub(grouping, "", expression))
    compared = [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))) for name, labels in metrics]
    grouped = {label.strip() for labels in re.findall(grouping, expression) for label in labels.split(",")}
    return compared, grouped


def expressions():
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads((DEPLOY / "grafana" / "brownout.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0]


@pytest.mark.parametrize(("where", "expression"), [pytest.param(*one, id=f"{n}-{one[0]}") for n, one in enumerate(expressions())])
def test_every_query_asks_for_what_is_shown(shown, where, expression):
    compared, grouped = asked(expression)
    assert compared, f"{where} asks for nothing"
    known = set()
    for name, labels in compared:
        assert name in shown, f"{where}: no metric {name}"
        missing = labels - shown[name] - ADDED_BY_PROMETHEUS
        assert not missing, f"{where}: {name} has no label {missing}, but {shown[name]}"
        known |= shown[name]
    assert grouped <= known | ADDED_BY_PROMETHEUS, where


def test_the_dashboard_has_a_place_for_each_panel():
    panels = json.loads((DEPLOY / "grafana" / "brownout.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_the_pipelines_are_valid_and_every_flag_in_them_exists():
    page = (ROOT / "docs" / "in-ci.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2 and all(yaml.safe_load(block) for block in blocks)
    commands = re.findall(r"brownout (report compare|\w+) ((?:[^`\n]|\n +--)*)", "\n".join(re.findall(r"```\w+\n(.*?)```", page, re.DOTALL)))
    checked = 0
    for command, rest in commands:
        shown = subprocess.run([binary(), *command.split(), "--help"], capture_output=True, text=True)
        assert shown.returncode == 0, command
        for flag in re.findall(r"(--[a-z-]+)", rest.partition(" -- ")[0]):
            assert flag in shown.stdout, f"{command} has no {flag}"
            checked += 1
    assert checked > 5
    for part in re.findall(r"\bcos/([\w-]+)", page):
        assert (ROOT / "profiles" / "cos" / f"{part}.toml").exists(), part


def test_the_pipelines_install_what_they_run():
    """In the repository of a service: nothing of brownout's own is checked out there."""
    page = (ROOT / "docs" / "in-ci.md").read_text()
    github, gitlab = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    steps = [step["run"] for step in github["jobs"]["survives"]["steps"] if "run" in step]
    lines = gitlab["survives"]["before_script"] + gitlab["survives"]["script"]
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    assert (ROOT / "Cargo.lock").exists(), "for --locked"
    help_of_cargo = subprocess.run(["cargo", "install", "--help"], capture_output=True, text=True, check=True).stdout
    for commands in (steps, lines):
        first = next(n for n, command in enumerate(commands) if command.startswith("brownout test"))
        (install,) = [command for command in commands[:first] if command.startswith("cargo install")]
        assert install.split()[-1] == package["name"] and '--git "$BROWNOUT_REPOSITORY"' in install
        assert all(flag in help_of_cargo for flag in re.findall(r"--[a-z]+", install))
        assert any("pip install -r requirements.txt" in command for command in commands[:first])
        # What starts the service is what pip made, or lies in the folder that it made.
        (program,) = re.findall(r" -- (\S+)", commands[first])
        assert program == "uvicorn" or any(program.rpartition("/")[0] in command for command in commands[:first])
    assert package["rust-version"] in page
