"""A flow made to be killed: a topic → a step that blocks → thirty maps → another topic.

A layout in which outputs that do not join the snapshots lose records (docs/operating/kafka.md, Guarantees). `stock`
takes Bytewax's own sink instead of ours: the test's test.
"""

from __future__ import annotations

import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from dagmanager.dag.model import Record
from dagmanager.engine.wire.message import Message
from dagmanager.kafka.options import KafkaAddress
from dagmanager.kafka.producer import KafkaProducer
from flows.recovery import Reading, prepared
from flows.stop import Stop
from operators.sources.submission_topic import SubmissionsAt, SubmissionTopic
from operators.store_retry import RetryPolicy
from sinks.kafka_records import Destination, KafkaRecordsSink

MAPS = 30
BLOCKS_S = 0.01
EPOCH = timedelta(seconds=0.1)
Item = tuple[str, Record]


def blocked(item: Item) -> Item:
    time.sleep(BLOCKS_S)
    return item


def same(item: Item) -> Item:
    return item


def build(servers: str, source: str, target: str, kind: str, stopping: Stop) -> Dataflow:
    flow = Dataflow("killed")
    address = KafkaAddress(servers)
    # One record at once: so an epoch often ends with records on their way.
    stream = op.input(
        "input", flow, SubmissionTopic(SubmissionsAt(address, source, batch_records=1), stopping.is_set)
    )
    stream = op.map("blocked", stream, blocked)
    for number in range(MAPS):
        stream = op.map(f"same_{number}", stream, same)
    if kind == "stock":
        plain = op.map("plain", stream, lambda item: KafkaSinkMessage(item[0].encode(), item[1].value))
        op.output("output", plain, KafkaSink([servers], target))
    else:
        messages = op.map("message", stream, lambda item: (item[0], Message(item[0], item[1].value)))
        retry = RetryPolicy(stopping.wait, stopping.is_set)
        op.output("output", messages, KafkaRecordsSink(Destination(target, KafkaProducer(address), retry)))
    return flow


def main(servers: str, source: str, target: str, kind: str, recovery: str) -> None:
    stopping = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    flow = build(servers, source, target, kind, stopping)
    with prepared(Path(recovery), flow, Reading(source)) as config:
        cli_main(flow, epoch_interval=EPOCH, recovery_config=config)


if __name__ == "__main__":
    main(*sys.argv[1:])
