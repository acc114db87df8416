"""Answers → output records: diff chunks for the requesters, dead letters for refused records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from bytewax.operators import KeyedStream

from dagmanager.dag.limits import TEXT_BYTES_MAX, Limits
from dagmanager.dag.model import Record, Submission
from dagmanager.dag.nodes.content import submission_id
from dagmanager.engine.caches.chunk_cache import ChunkCache
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.stages import Answer, Refused
from dagmanager.engine.wire.chunk_items import EncodedItems, encode_items
from dagmanager.engine.wire.chunks import chunks, result_headers
from dagmanager.engine.wire.message import Message
from dagmanager.engine.wire.refusals import (
    dead_letter_headers,
    dead_letter_value,
    rejected_record,
    whole_value,
)
from dagmanager.errors import Rejection
from operators.poison_quarantine import origin_of
from operators.step_guard import StepGuard

# A refusal of more worlds than this leaves its details to the dead letter.
DETAILED_WORLDS_MAX: Final = 20


def diff_messages(step_id: str, up: KeyedStream[Answer | Refused], guard: StepGuard) -> KeyedStream[Message]:
    """One message per chunk, or one `rejected` record."""
    known = ChunkCache()

    def messages(item: Answer | Refused) -> Iterable[Message]:
        return diff_messages_of(item, known.encode)

    return guard.each(step_id, up, messages)


def dead_letters(
    step_id: str, up: KeyedStream[Answer | Refused], guard: StepGuard, bytes_max: int = Limits().bytes_max
) -> KeyedStream[Message]:
    """The original bytes of what was refused, with reason and origin in the headers.

    `bytes_max` is the setting `submission_bytes_max`: a larger record is cut.
    """

    def letters(item: Answer | Refused) -> Iterable[Message]:
        return dead_letter_of(item, bytes_max)

    return guard.each(step_id, up, letters)


def diff_messages_of(
    item: Answer | Refused, encode: Callable[[Outcome], EncodedItems] = encode_items
) -> Iterable[Message]:
    """The answer as its requester reads it; keyed by strategy id, or by nothing when the record names none."""
    if isinstance(item, Refused):
        who, why, origin = item.strategy_id, item.rejection, item.record.origin
        if len(item.worlds) > DETAILED_WORLDS_MAX:
            why = msgspec.structs.replace(why, details=())
        # A DAG that is refused has no content digest. The bytes stand for it, so that a requester can tell answers apart.
        digest = whole_value(item.record).digest
        request_id = submission_id(digest, origin)
        headers = result_headers(request_id, digest)
        return [
            Message(who, rejected_record(why, who, world, request_id, digest, item.dry_run), headers, origin)
            for world in item.worlds
        ]
    submission, result = item.submission, item.result
    headers = result_headers(submission.submission_id, submission.submission_digest)
    values = (
        [_refusal(submission, result)] if isinstance(result, Rejection) else chunks(result, encode(result))
    )
    return [Message(submission.strategy_id, value, headers, origin_of(item)) for value in values]


def dead_letter_of(item: Answer | Refused, bytes_max: int = Limits().bytes_max) -> Iterable[Message]:
    """The dead letter of a refusal, if it is one; a record of more than `bytes_max` bytes is cut."""
    match item:
        case Refused(record=record, rejection=rejection, attempts=attempts, withheld=withheld):
            return [_letter(record, rejection, attempts, 0 if withheld else bytes_max)]
        case Answer(submission=submission, result=Rejection() as rejection):
            return [_letter(submission.record, rejection, 1, bytes_max)]
        case _:
            return []


def _letter(record: Record, rejection: Rejection, attempts: int, bytes_max: int) -> Message:
    # A key of any length would make a record that no topic takes, however much its value is cut.
    key = record.key if record.key and len(record.key) <= TEXT_BYTES_MAX else b""
    headers = dead_letter_headers(rejection, record, attempts, bytes_max)
    value = dead_letter_value(record, bytes_max) if bytes_max else b""
    return Message(key.decode("utf-8", "replace"), value, headers, record.origin)


def _refusal(submission: Submission, rejection: Rejection) -> bytes:
    return rejected_record(
        rejection,
        submission.strategy_id,
        submission.context.world_id,
        submission.submission_id,
        submission.submission_digest,
        submission.dry_run,
    )
