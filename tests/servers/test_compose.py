"""compose.yaml needs a Docker engine to run: here it is compared with the settings that the tests run with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from dagmanager.settings.source import ENV_PREFIX, load
from dagmanager.settings.table import fields
from flows import run
from servers.docker import IMAGES
from servers.kafka import TUNED as KAFKA
from servers.neo4j import TUNED as NEO4J

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# Settings that fit the few minutes of a test, but not a system that is kept.
OTHERWISE = {"num.network.threads", "num.io.threads", "log.index.size.max.bytes", "broker.session.timeout.ms"}
OTHERWISE |= {"broker.heartbeat.interval.ms", "log.cleaner.dedupe.buffer.size"}


def given(service: str) -> dict[str, str]:
    found: dict[str, str] = SERVICES[service]["environment"]
    return found


def kafka_settings() -> dict[str, str]:
    names = {name for name in given("kafka") if name.startswith("KAFKA_") and name != "KAFKA_HEAP_OPTS"}
    return {name.removeprefix("KAFKA_").replace("_", ".").lower(): given("kafka")[name] for name in names}


def neo4j_settings() -> dict[str, str]:
    """As the image reads them: `__` is `_`, and `_` is a dot."""
    names = {name for name in given("neo4j") if re.match(r"NEO4J_[a-z]", name)}
    spelled = {
        name: name.removeprefix("NEO4J_").replace("__", "\0").replace("_", ".").replace("\0", "_")
        for name in names
    }
    return {spelled[name]: given("neo4j")[name] for name in names}


def test_servers_are_of_the_versions_that_tests_run() -> None:
    assert {kind: SERVICES[kind]["image"] for kind in IMAGES} == IMAGES


def longer_in_tests() -> dict[str, str]:
    """Time limits that docs/contributing/servers.md gives in another value for production."""
    page = (ROOT / "docs/contributing/servers.md").read_text(encoding="utf-8")
    return {name: f"{value}s" for name, value in re.findall(r"`([\w.]+)` \(production too: (\d+) s\)", page)}


def test_servers_are_tuned_as_those_of_the_tests() -> None:
    for found, tuned in ((kafka_settings(), KAFKA), (neo4j_settings(), NEO4J | longer_in_tests())):
        shared = {name: value for name, value in found.items() if name in tuned}
        assert len(shared) >= 5
        assert shared == {name: tuned[name] for name in shared}
    required = ("auto.create.topics.enable", "message.max.bytes", "replica.fetch.max.bytes")
    assert set(required) <= kafka_settings().keys()
    assert {"db.lock.acquisition.timeout", "db.transaction.timeout"} <= neo4j_settings().keys()
    assert not OTHERWISE & kafka_settings().keys()


def test_the_flow_comes_to_where_the_servers_listen() -> None:
    environment = {
        name: value.replace("${NEO4J_PASSWORD:-", "").rstrip("}") for name, value in given("flow").items()
    }
    known = {ENV_PREFIX + field.name.upper() for field in fields()}
    assert environment.keys() <= known
    settings, findings = load(None, environment)
    assert not [finding for finding in findings if finding.code != "empty_field"], findings
    inside = dict(each.split("://") for each in given("kafka")["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert settings.kafka_dsn == settings.controlbus_dsn == inside["INSIDE"]
    assert inside["OUTSIDE"] == SERVICES["kafka"]["ports"][0].rpartition(":")[0]
    assert settings.neo4j_dsn == "bolt://neo4j:7687"
    assert given("neo4j")["NEO4J_AUTH"] == f"neo4j/{given('flow')['DAGMANAGER_NEO4J_PASSWORD']}"


def test_nothing_listens_but_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_must_be_kept_is_on_a_volume() -> None:
    mounts = dict(each.split(":") for service in SERVICES.values() for each in service["volumes"])
    assert mounts.keys() == COMPOSE["volumes"].keys()
    assert mounts["kafka"] == given("kafka")["KAFKA_LOG_DIRS"]
    assert f"VOLUME {mounts['flow']}" in DOCKERFILE


def test_the_flow_waits_for_servers_that_answer() -> None:
    for name, condition in SERVICES["flow"]["depends_on"].items():
        assert condition == {"condition": "service_healthy"}
        assert SERVICES[name]["healthcheck"]["test"]


def options_of(command: list[str]) -> dict[str, Any]:
    """What the flow's process makes of a command of the image."""
    assert command[:3] == ["service", "dagmanager", "run"]
    return vars(run.run_parser().parse_args(command[3:]))


def test_the_image_s_health_check_looks_at_the_heartbeat_that_the_run_touches() -> None:
    [looked_at] = re.findall(r"os\.stat\('([^']+)'\)", DOCKERFILE)
    [words] = re.findall(r"^CMD \[(.+)\]$", DOCKERFILE, re.MULTILINE)
    image = [word.rstrip(",") for word in shlex.split(words)]
    command = SERVICES["flow"]["command"]
    assert options_of(image)["heartbeat"] == looked_at
    assert options_of(command)["heartbeat"] == looked_at
    assert Path(options_of(command)["recovery"]).is_relative_to(Path(looked_at).parent)
