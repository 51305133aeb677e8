"""What lies in infra/ and is not run by other tests is checked by the tools that read it, and against the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.cluster.alerts import CASES
from tests.support.haproxy import Haproxy
from tests.support.server import ROOT

from raffia.errors import RaffiaError
from raffia.runtime.metrics import Metrics, MetricsCollector, expose
from raffia.settings import Settings
from raffia.sockets.server.run import make_config

INFRA = ROOT / "infra"
RULES = INFRA / "prometheus/raffia.rules.yml"
DASHBOARD = json.loads((INFRA / "grafana/raffia.json").read_text())
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
KUSTOMIZATION = yaml.safe_load((INFRA / "kubernetes/kustomization.yaml").read_text())
MANIFESTS = [
    document
    for name in KUSTOMIZATION["resources"]
    for document in yaml.safe_load_all((INFRA / "kubernetes" / name).read_text())
]
CLOSING_S = float(make_config(None).timeout_graceful_shutdown or 0)
DRAIN_S = float(Settings.model_fields["drain_s"].default)
UNITS = sorted((INFRA / "systemd").glob("*.service"))


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def manifest(kind: str, name: str = "raffia") -> Any:
    return next(one for one in MANIFESTS if one["kind"] == kind and one["metadata"]["name"] == name)


def settings_in(names: Any) -> set[str]:
    return {name.removeprefix("RAFFIA_").lower() for name in names if name.startswith("RAFFIA_")}


# -- Prometheus and Grafana


def test_promtool_takes_the_configuration_and_the_rules() -> None:
    done = run("promtool", "check", "config", "--lint=all", "--lint-fatal", INFRA / "prometheus/prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_every_alert_goes_off_when_it_should(tmp_path: Path) -> None:
    assert set(CASES) == set(rules())
    bare = yaml.safe_load(RULES.read_text())
    for group in bare["groups"]:
        for rule in group["rules"]:
            assert set(rule["annotations"]) == {"summary", "description"}
            del rule["annotations"]  # promtool would compare every word
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(bare))
    tests = []
    for name, case in CASES.items():
        expected = {"exp_labels": case.labels | rules()[name]["labels"]}
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
                "alert_rule_test": [
                    {"eval_time": f"{case.well_min}m", "alertname": name, "exp_alerts": []},
                    {"eval_time": f"{case.fires_min}m", "alertname": name, "exp_alerts": [expected]},
                ],
            }
        )
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    done = run("promtool", "test", "rules", "tests.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Names of samples that really come from Raffia and from HAProxy, with their labels."""
    metrics = Metrics()
    metrics.acks["stored"] += 1
    metrics.refusals["full"] += 1
    registry = CollectorRegistry()
    registry.register(MetricsCollector(metrics))
    ProcessCollector(registry=registry)
    with Haproxy(tmp_path_factory.mktemp("haproxy"), ["127.0.0.1:9"]) as haproxy:
        text = expose(registry).decode() + haproxy.metrics()
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def queries() -> dict[str, str]:
    """Every expression of the rules and the dashboard, by where it stands."""
    found = {f"alert {name}": rule["expr"] for name, rule in rules().items()}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = variable["query"]["query"]
    return found


@pytest.mark.parametrize("place", list(queries()))
def test_every_metric_that_is_asked_for_is_exported(place: str, exported: dict[str, set[str]]) -> None:
    query = queries()[place]
    names = set(re.findall(r"\b(?:raffia|haproxy|process|python)_[a-z0-9_]+|\bup\b", re.sub(r'"[^"]*"', "", query)))
    assert names, query
    assert names <= set(exported), f"{place} asks for {names - set(exported)}"
    for name, selector in re.findall(r"\b(\w+)\{([^}]*)\}", query):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"job", "instance"}
        assert labels <= exported[name], f"{name} has no label {labels - exported[name]}"


def test_reasons_in_the_alerts_are_reasons_of_errors() -> None:
    known: set[str] = set()
    kinds: list[type[RaffiaError]] = [RaffiaError]
    while kinds:
        kind = kinds.pop()
        known.add(kind.reason)
        kinds += kind.__subclasses__()
    for place, query in queries().items():
        for reasons in re.findall(r'reason=~?"([^"]*)"', query):
            assert set(reasons.split("|")) <= known, place


def test_the_dashboard_is_whole() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["description"] and panel["targets"] for panel in panels)
    assert {str(target["datasource"]["uid"]) for panel in panels for target in panel["targets"]} == {"${datasource}"}
    for one, other in pairwise(
        sorted(DASHBOARD["panels"], key=lambda item: (item["gridPos"]["y"], item["gridPos"]["x"]))
    ):
        a, b = one["gridPos"], other["gridPos"]
        assert b["y"] > a["y"] or b["x"] >= a["x"] + a["w"], f"{one['title']} lies over {other['title']}"
        assert b["x"] + b["w"] <= 24


# -- systemd


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    name = unit.name.replace("@.", "@8001.")
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/raffia/bin/raffia", "/bin/true"))  # it is not installed here
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / name)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", copy)
    assert done.returncode == 0, f"more exposed than 2.0\n{done.stdout}"
    stop_s = float(re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[0])
    assert stop_s > DRAIN_S + CLOSING_S
    assert settings_in(re.findall(r"\bRAFFIA_[A-Z_]+(?==)", text)) <= set(Settings.model_fields)


def test_systemd_s_two_units_differ_only_where_they_have_to() -> None:
    one, other = ({*unit.read_text().splitlines()} for unit in UNITS)
    assert len(one ^ other) <= 16


# -- containers


def test_compose_is_consistent() -> None:
    services, replicas = COMPOSE["services"], [f"replica{number}" for number in (1, 2, 3)]
    assert set(services) == {"redis", "haproxy", "prometheus", *replicas}
    network = {name: one["networks"] for name, one in services.items()}
    addresses = {name: one["inside"]["ipv4_address"] for name, one in network.items() if isinstance(one, dict)}
    lb = services["haproxy"]["environment"]
    assert [lb[f"REPLICA_{number}"] for number in (1, 2, 3)] == [f"{addresses[name]}:8000" for name in replicas]
    assert set(lb) <= set(re.findall(r"\b(?:LB_[A-Z_]+|REPLICA_\d)\b", (INFRA / "haproxy.cfg").read_text()))
    named = {volume.split(":")[0] for one in services.values() for volume in one.get("volumes", ()) if volume[0] != "."}
    assert named == set(COMPOSE["volumes"])
    for one in services.values():
        assert re.search(r":[\w.-]+$", one["image"]), "a tag"
        assert all(published.startswith("127.0.0.1:") for published in one.get("ports", ())), "open to the network"
        for volume in one.get("volumes", ()):
            if volume.startswith("."):
                assert (INFRA / volume.split(":")[0]).exists()
    for name in replicas:
        replica = services[name]
        assert replica["environment"]["RAFFIA_FORWARDED_ALLOW_IPS"] == addresses["haproxy"]
        assert settings_in(replica["environment"]) <= set(Settings.model_fields)
        assert float(replica["stop_grace_period"].removesuffix("s")) > DRAIN_S + CLOSING_S
        assert (INFRA / replica["build"]["context"] / replica["build"]["dockerfile"]).resolve() == INFRA / "Dockerfile"
    assert {"--appendonly", "everysec", "noeviction"} <= set(services["redis"]["command"])
    targets = str(yaml.safe_load((INFRA / "prometheus/prometheus.yml").read_text())["scrape_configs"])
    assert all(addresses[name] in targets for name in [*replicas, "haproxy"])


def test_dockerfile_copies_what_is_there() -> None:
    text = (INFRA / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))
    for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        if sources[0].startswith("--from="):
            assert sources[0].removeprefix("--from=") in stages
        else:
            assert all((ROOT / source).exists() for source in sources), line
    last = text.rpartition("\nFROM ")[2]
    assert all(word in last for word in ("USER 10001:10001", "HEALTHCHECK", "VOLUME /data", "STOPSIGNAL SIGTERM"))
    pip = [line for line in text.splitlines() if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps /tmp/wheels" in line for line in pip)
    assert settings_in(re.findall(r"\bRAFFIA_[A-Z_]+(?==)", text)) <= set(Settings.model_fields)
    minor = re.findall(r"python:(\d\.\d+)-slim", text)
    assert set(minor) == {"3.11"}, "requirements/*.txt are made for the oldest Python"
    health = json.loads(re.findall(r"^    CMD (\[.*\])$", text, re.MULTILINE)[0])
    compile(health[2], "HEALTHCHECK", "exec")


def test_dockerignore_leaves_everything_that_is_copied() -> None:
    kept = re.findall(r"^!(\S+)$", (INFRA / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    for line in re.findall(r"^COPY (?!--from)(.*)$", (INFRA / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert any(one.replace("*", "").startswith(source) or source.startswith(one.split("*")[0]) for one in kept)


# -- Kubernetes


def test_all_manifests_are_listed() -> None:
    there = {path.name for path in (INFRA / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == there


@pytest.mark.parametrize("version", ["1.27", "latest"])
@pytest.mark.parametrize("one", MANIFESTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_kubernetes_takes_the_manifests(one: dict[str, Any], version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import kubernetes_validate
    desired = kubernetes_validate.latest_version() if version == "latest" else version
    kubernetes_validate.validate(one, desired, strict=True)


def test_kubernetes_manifests_fit_together() -> None:
    deployment = manifest("Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["enableServiceLinks"] is False, "RAFFIA_PORT=tcp://... of the Service would be read as a setting"
    pre_stop_s = float(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] > pre_stop_s + DRAIN_S + CLOSING_S
    config = manifest("ConfigMap")["data"]
    assert float(config["RAFFIA_DRAIN_S"]) == DRAIN_S
    names = settings_in([*config, *(item["name"] for item in container["env"])])
    assert names <= set(Settings.model_fields)
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes == {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    labels = deployment["template"]["metadata"]["labels"]
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "raffia"
    assert "replicas" not in deployment, "the autoscaler decides"
    timeouts = manifest("Ingress")["metadata"]["annotations"]
    ping_s = (make_config(None).ws_ping_interval or 0) + (make_config(None).ws_ping_timeout or 0)
    assert float(timeouts["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > ping_s
    secrets = [item["valueFrom"]["secretKeyRef"] for item in container["env"] if "valueFrom" in item]
    readme = (INFRA / "README.md").read_text()
    assert all(f"--from-literal={secret['key']}=" in readme for secret in secrets)
    redis = manifest("StatefulSet", "raffia-redis")["spec"]
    assert {"--appendonly", "everysec", "noeviction"} <= set(redis["template"]["spec"]["containers"][0]["args"])
    assert f"@{redis['serviceName']}:6379/" in next(e["value"] for e in container["env"] if e["name"] == "RAFFIA_REDIS")


def test_uid_is_the_same_everywhere() -> None:
    assert manifest("Deployment")["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 10001
    assert "--uid 10001" in (INFRA / "Dockerfile").read_text()


# -- the table in the README


def test_the_readme_names_every_file() -> None:
    named = set(re.findall(r"^\| `([^`]+)`", (INFRA / "README.md").read_text(), re.MULTILINE))
    files = {path.relative_to(INFRA) for path in INFRA.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    files.discard(Path("README.md"))
    unnamed = {str(path) for path in files if not {str(path), f"{path.parent}/"} & named}
    assert not unnamed
    assert all((INFRA / name).exists() for name in named)
    assert sys.version_info >= (3, 11)
