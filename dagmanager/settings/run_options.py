"""The options of `dagmanager run`: the command line shows and completes them, the flow's process parses them."""

from __future__ import annotations

from typing import Final, NamedTuple


class RunOption(NamedTuple):
    """One option. `kind` converts its text (bool: a flag); `setting` is the settings field that it overrides, or empty."""

    flag: str
    metavar: str
    help: str
    kind: type = str
    setting: str = ""
    default: object = None


RUN_OPTIONS: Final = (
    RunOption("--config", "FILE", "settings file (default: DAGMANAGER_CONFIG)"),
    RunOption(
        "--submissions",
        "PATH",
        "file, folder or `-` (stdin) to read, without Kafka",
        setting="submissions_path",
    ),
    RunOption("--results", "DIR", "folder for answers and events, without Kafka", setting="results_path"),
    RunOption("--store", "FILE", "SQLite file for the graph, without Neo4j", setting="memory_repo_path"),
    RunOption("--world", "W", "world_id of submissions that name none"),
    RunOption(
        "--domain", "D", "execution domain of submissions that name none (without it they run isolated)"
    ),
    RunOption("--recovery", "DIR", "folder with the flow's snapshots: continue where the last run stopped"),
    RunOption(
        "--heartbeat",
        "FILE",
        "file updated while the flow is alive: `ok`, or what it waits for; for health checks",
    ),
    RunOption(
        "--workers",
        "N",
        "worker threads",
        int,
        default=1,
    ),
    RunOption(
        "--partitions",
        "P",
        "partitions of the topic to read, such as 0-3,6",
        setting="submissions_partitions",
    ),
    RunOption("--index", "I", "share of the partitions to read, from 0; with --of", int),
    RunOption("--of", "N", "number of shares that the partitions are divided into; with --index", int),
    RunOption("--fail-on-refused", "", "exit 1 if a submission was refused", bool, default=False),
    RunOption("--epoch-seconds", "S", "time between snapshots", float, default=0.5),
)
