"""Keys of computations and of their messages (docs/contract.md, ComputeKey; docs/requirements.md R5)."""

from __future__ import annotations

from typing import Final

from blake3 import blake3

from dagmanager.dag.model import ComputeContext

SEPARATOR: Final = "\x1f"


def compute_key(node_id: str, context: ComputeContext) -> str:
    """The key of one node in one resolved context: `blake3:` and 64 hex digits.

    `dataset_fingerprint` and namespace are not part of it.
    """
    parts = (node_id, context.world_id, context.execution_domain, context.as_of, context.partition)
    return "blake3:" + blake3(SEPARATOR.join(parts).encode()).hexdigest()


def partition_key(
    node_id: str, interval: int | None, bucket_ts: int | None, compute_key: str | None = None
) -> str:
    """`node_id:interval:bucket_ts` with 0 for None, and `#ck=` with the compute key if there is one.

    `interval` in seconds, `bucket_ts` in seconds since the epoch.
    """
    plain = f"{node_id}:{interval or 0}:{bucket_ts or 0}"
    return f"{plain}#ck={compute_key}" if compute_key else plain


def message_key(partition_key: str, input_window_hash: str) -> str:
    """The Kafka key of one computed message: log compaction keeps the last message per key."""
    return f"{partition_key}:{input_window_hash}"
