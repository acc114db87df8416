"""Checks of values that have the right type: addresses, options of the client library, and settings that go together.

Offline. The Kafka client is imported only where options of it are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from dagmanager.edit_distance import misspelt
from dagmanager.errors import SettingsError
from dagmanager.graph.neo4j.address import check_address
from dagmanager.kafka.bootstrap_servers import problems_of
from dagmanager.settings.finding import FindingCode
from dagmanager.settings.table import Settings

_SERVERS: Final = ("kafka_dsn", "controlbus_dsn")
_OPTIONS: Final = ("kafka_options", "controlbus_options")


class ValueProblem(NamedTuple):
    """One invalid value: its field, its entry if the field is a table, and what to do."""

    field: str
    message: str
    hint: str = ""
    entry: str = ""
    code: FindingCode = FindingCode.WRONG_TYPE


def value_problems(settings: Settings) -> Iterator[ValueProblem]:
    """Every problem of these settings, in order of fields. Messages show no secret."""
    yield from _address_problems(settings)
    yield from _option_problems(settings)
    yield from _share_problems(settings)
    yield from _half_embedded(settings)


def _address_problems(settings: Settings) -> Iterator[ValueProblem]:
    if settings.neo4j_dsn.strip():
        try:
            check_address(settings.neo4j_dsn)
        except SettingsError as error:
            yield ValueProblem("neo4j_dsn", f"`neo4j_dsn`: {error}", "for example `bolt://localhost:7687`")
    for field in _SERVERS:
        for problem in problems_of(getattr(settings, field)):
            yield ValueProblem(field, f"`{field}`: {problem}", "for example `localhost:9092`")


def _option_problems(settings: Settings) -> Iterator[ValueProblem]:
    for field in _OPTIONS:
        options = getattr(settings, field)
        if not options:
            continue
        # Imported here: it loads the client library, and most settings have no options.
        from dagmanager.kafka.option_check import USUAL, option_problems

        for option, message, is_unknown in option_problems(options):
            near = misspelt(option, USUAL) if is_unknown else None
            hint = f"did you mean `{near}`?" if near else "CONFIGURATION.md of librdkafka lists every option"
            yield ValueProblem(field, f"`{field}.{option}`: {message}", hint, option)


def _share_problems(settings: Settings) -> Iterator[ValueProblem]:
    if settings.submissions_partitions.strip():
        from operators.sources.partition_share import share_problem

        if problem := share_problem(settings.submissions_partitions):
            yield ValueProblem(
                "submissions_partitions",
                f"`submissions_partitions`: {problem}",
                "for example `0-3,6` or `0/2`",
            )


def _half_embedded(settings: Settings) -> Iterator[ValueProblem]:
    """A graph on a server would list topics that no broker has, for every process that shares it. In the reverse case
    topics that exist would be unknown to every other process."""
    code = FindingCode.HALF_EMBEDDED
    if settings.profile == "prod":  # refuses each empty address by itself
        return
    if settings.neo4j_dsn.strip() and not settings.kafka_dsn.strip():
        words = "`neo4j_dsn` is set but `kafka_dsn` is empty: the graph would list topics that no broker has"
        yield ValueProblem("neo4j_dsn", words, code=code)
    elif settings.kafka_dsn.strip() and not settings.neo4j_dsn.strip():
        words = (
            "`kafka_dsn` is set but `neo4j_dsn` is empty: the graph of real topics would not be on a server"
        )
        yield ValueProblem("kafka_dsn", words, code=code)
    elif settings.controlbus_dsn.strip() and not settings.kafka_dsn.strip():
        words = "`controlbus_dsn` is set but `kafka_dsn` is empty: no event would be sent there"
        hint = "set `neo4j_dsn` and `kafka_dsn` too, or none of the three"
        yield ValueProblem("controlbus_dsn", words, hint, code=code)
