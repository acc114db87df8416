"""The options of the runner, once: the command line shows and completes them, the flow's process reads them."""

from __future__ import annotations

from typing import Final, NamedTuple


class RunOption(NamedTuple):
    """One option; `kind` converts its text, `setting` is the settings field it replaces ('' for none)."""

    flag: str
    metavar: str
    help: str
    kind: type = str
    setting: str = ""
    default: object = None


RUN_OPTIONS: Final = (
    RunOption("--config", "FILE", "settings file (default: DAGMANAGER_CONFIG)"),
    RunOption(
        "--submissions", "PATH", "file, folder or `-` (stdin), without Kafka", setting="submissions_path"
    ),
    RunOption("--results", "DIR", "folder for answers and events, without Kafka", setting="results_path"),
    RunOption("--store", "FILE", "SQLite file in which the graph persists", setting="memory_repo_path"),
    RunOption("--world", "W", "world_id, where a submission names none"),
    RunOption("--domain", "D", "execution domain, where a submission names none (else it runs isolated)"),
    RunOption("--recovery", "DIR", "folder with the flow's snapshots: go on where the last run stopped"),
    RunOption(
        "--heartbeat",
        "FILE",
        "written while the flow lives: `ok`, or what it waits for; for a container's health check",
    ),
    RunOption(
        "--workers",
        "N",
        "worker threads; with several, two strategies of one lineage may be answered `late`",
        int,
        default=1,
    ),
    RunOption(
        "--partitions",
        "P",
        "partitions of the topic to read, such as 0-3,6",
        setting="submissions_partitions",
    ),
    RunOption("--index", "I", "which share of the partitions to read, from 0; with --of", int),
    RunOption("--of", "N", "into how many shares the partitions are dealt; with --index", int),
    RunOption("--epoch-seconds", "S", "time between snapshots", float, default=0.5),
)
