"""What `assemble` imports, and what it connects on a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagmanager.assembly import assemble
from dagmanager.connect import FLOW_TOPICS
from dagmanager.kafka.topic_id_leak_workaround import TOPIC_IDS
from dagmanager.metrics import PrometheusObserver
from dagmanager.settings.table import Settings
from tests.cli.running import call_script


def test_leaked_topic_ids_are_exported(kafka: str, topic_prefix: str) -> None:
    own = {name: f"{topic_prefix}{name}" for name in FLOW_TOPICS}
    observer = assemble(Settings(kafka_dsn=kafka, **own)).observer  # type: ignore[arg-type]  # all are text
    assert isinstance(observer, PrometheusObserver)
    exported = observer.registry.get_sample_value("dagmanager_kafka_leaked_topic_ids_total")
    assert exported == TOPIC_IDS.leaked()


@pytest.mark.slow
def test_a_flow_on_embedded_stores_does_not_import_the_driver_of_neo4j(tmp_path: Path) -> None:
    script = (
        "import sys\nimport flows.runner\nfrom dagmanager.assembly import assemble\n"
        "from dagmanager.settings.table import Settings\n"
        f"assemble(Settings(results_path={str(tmp_path / 'out')!r}))\nprint('neo4j' in sys.modules)"
    )
    done = call_script(script)
    assert (done.code, done.out) == (0, "False\n"), done.err
