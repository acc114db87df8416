"""What `assemble` connects on a real broker."""

from __future__ import annotations

from dagmanager.assembly import assemble
from dagmanager.connect import FLOW_TOPICS
from dagmanager.kafka.topic_id_leak_workaround import TOPIC_IDS
from dagmanager.metrics import PrometheusObserver
from dagmanager.settings.table import Settings


def test_leaked_topic_ids_are_exported(kafka: str, topic_prefix: str) -> None:
    own = {name: f"{topic_prefix}{name}" for name in FLOW_TOPICS}
    observer = assemble(Settings(kafka_dsn=kafka, **own)).observer  # type: ignore[arg-type]  # all are text
    assert isinstance(observer, PrometheusObserver)
    exported = observer.registry.get_sample_value("dagmanager_kafka_leaked_topic_ids_total")
    assert exported == TOPIC_IDS.leaked()
