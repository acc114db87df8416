"""`init` on real servers: what a process needs before its first start, as often as one likes."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from dagmanager.cli.commands.init import Step, StepDone
from dagmanager.cli.main import dagmanager
from tests.waiting import TIMEOUT_S, until

NAMES = ("submissions", "diffs", "dead-letters", "admin-log", "queue", "weights")


@pytest.fixture
def config(empty_neo4j: str, kafka: str, topic_prefix: str, tmp_path: Path) -> Path:
    fields = {
        "neo4j_dsn": empty_neo4j,
        "neo4j_password": "",
        "kafka_dsn": kafka,
        "controlbus_dsn": kafka,
        "submissions_topic": f"{topic_prefix}submissions",
        "diffs_topic": f"{topic_prefix}diffs",
        "dead_letters_topic": f"{topic_prefix}dead-letters",
        "admin_log_topic": f"{topic_prefix}admin-log",
        "controlbus_queue_topic": f"{topic_prefix}queue",
        "controlbus_sentinel_topic": f"{topic_prefix}weights",
    }
    path = tmp_path / "dagmanager.json"
    path.write_bytes(orjson.dumps({"profile": "dev", "dagmanager": fields}))  # JSON is YAML
    return path


def init(config: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, list[str]]:
    code = dagmanager(["init", "--config", str(config), "--json", *more])
    out = capsys.readouterr()
    assert code == 0, out.err
    steps = orjson.loads(out.out)["steps"]
    assert list(steps) == ["graph", "topics"]
    return dict(steps["topics"])


def test_topics_are_made_once_and_a_dry_run_makes_none(
    config: Path, kafka_admin: AdminClient, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {topic_prefix + name for name in NAMES}
    assert set(init(config, capsys, "--dry-run")["made"]) == wanted
    assert not wanted & set(kafka_admin.list_topics(timeout=TIMEOUT_S).topics)
    assert init(config, capsys) == {"made": [*init_order(topic_prefix)], "there": []}
    until(lambda: wanted <= set(kafka_admin.list_topics(timeout=TIMEOUT_S).topics))
    assert init(config, capsys) == {"made": [], "there": [*init_order(topic_prefix)]}


def init_order(prefix: str) -> list[str]:
    return [prefix + name for name in NAMES]


def test_no_line_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(
        "dagmanager.cli.commands.init.STEPS",
        [
            Step(
                "topics",
                lambda _: True,
                lambda _: StepDone("6 topics created (" + "a.topic, " * 20 + ")", {}),
            )
        ],
    )
    assert dagmanager(["init"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 80
