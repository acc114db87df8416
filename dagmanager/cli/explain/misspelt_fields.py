"""Fields of a file that are ignored, and were probably meant to be known ones. Pure.

The product ignores fields that it does not know (docs/contract.md, DAG JSON), so that a misspelt optional field has no
other sign.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dagmanager.dag.nodes.node_fields import KNOWN_FIELDS
from dagmanager.edit_distance import edits, misspelt

_CONTEXT: Final = frozenset(
    {"world_id", "world_ids", "execution_domain", "as_of", "partition", "dataset_fingerprint"}
)
_SUBMISSION: Final = _CONTEXT | {
    "strategy_id",
    "dag",
    "dag_json",
    "dag_base64",
    "node_ids_crc32",
    "compute_context",
}
_DAG: Final = frozenset({"nodes", "meta", "compute_context", "schema_version"})
_META: Final = frozenset(
    {"strategy_name", "version", "topic_namespace", "execution_domain", "compute_context"}
)
# In a short word two edits make too many words: `lag` is not `tags`.
SHORT_WORD: Final = 4


def misspelt_fields(text: str) -> Iterator[tuple[str, str]]:
    """The JSON pointer of each such field, and the name that was probably meant; nothing for a text that is not JSON."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    yield from _near(document, _SUBMISSION | _DAG, "")
    pointer = "/dag" if isinstance(document.get("dag"), dict) else ""
    dag = document["dag"] if pointer else document
    if pointer:
        yield from _near(dag, _DAG, pointer)
    yield from _near(dag.get("meta"), _META, f"{pointer}/meta")
    nodes = dag.get("nodes")
    for number, node in enumerate(nodes if isinstance(nodes, list) else ()):
        yield from _near(node, KNOWN_FIELDS, f"{pointer}/nodes/{number}")


def _near(fields: object, known: frozenset[str], pointer: str) -> Iterator[tuple[str, str]]:
    if not isinstance(fields, Mapping):
        return
    for name in fields:
        meant = misspelt(name, known - fields.keys())
        if name not in known and meant and (len(name) > SHORT_WORD or edits(name, meant) == 1):
            yield f"{pointer}/{name}", meant
