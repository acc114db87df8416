"""Answers → output records: diff chunks for the requesters, dead letters for refused records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from bytewax.operators import KeyedStream

from dagmanager.dag.limits import TEXT_BYTES_MAX, Limits
from dagmanager.dag.model import Record, Submission
from dagmanager.engine.caches.chunk_cache import ChunkCache
from dagmanager.engine.model.outcome import Outcome
from dagmanager.engine.stages import Answer, Refused
from dagmanager.engine.wire.chunk_items import EncodedItems, encode_items
from dagmanager.engine.wire.chunks import chunks, result_headers
from dagmanager.engine.wire.message import Message
from dagmanager.engine.wire.refusals import dead_letter_headers, dead_letter_value, rejected_record
from dagmanager.errors import Rejection
from operators.poison_quarantine import origin_of
from operators.step_guard import StepGuard

LETTER_BYTES: Final = Limits().bytes_max
# A refusal of more worlds than this leaves its details to the dead letter.
DETAILED_WORLDS_MAX: Final = 20


def diff_messages(step_id: str, up: KeyedStream[Answer | Refused], guard: StepGuard) -> KeyedStream[Message]:
    """One message per chunk, or one `rejected` record."""
    known = ChunkCache()

    def messages(item: Answer | Refused) -> Iterable[Message]:
        return diff_messages_of(item, known.encode)

    return guard.each(step_id, up, messages)


def dead_letters(step_id: str, up: KeyedStream[Answer | Refused], guard: StepGuard) -> KeyedStream[Message]:
    """The original bytes of what was refused, with reason and origin in the headers."""
    return guard.each(step_id, up, dead_letter_of)


def diff_messages_of(
    item: Answer | Refused, encode: Callable[[Outcome], EncodedItems] = encode_items
) -> Iterable[Message]:
    """The answer as its requester reads it; keyed by strategy id, or by nothing when the record names none."""
    if isinstance(item, Refused):
        who, why, origin = item.strategy_id, item.rejection, item.record.origin
        if len(item.worlds) > DETAILED_WORLDS_MAX:
            why = msgspec.structs.replace(why, details=())
        return [Message(who, rejected_record(why, who, world, ""), origin=origin) for world in item.worlds]
    submission, result = item.submission, item.result
    headers = result_headers(submission.submission_id, submission.submission_digest)
    values = (
        [_refusal(submission, result)] if isinstance(result, Rejection) else chunks(result, encode(result))
    )
    return [Message(submission.strategy_id, value, headers, origin_of(item)) for value in values]


def dead_letter_of(item: Answer | Refused) -> Iterable[Message]:
    """The dead letter of a refusal, if it is one."""
    match item:
        case Refused(record=record, rejection=rejection, attempts=attempts, withheld=withheld):
            return [_letter(record, rejection, attempts, 0 if withheld else LETTER_BYTES)]
        case Answer(submission=submission, result=Rejection() as rejection):
            return [_letter(submission.record, rejection)]
        case _:
            return []


def _letter(
    record: Record, rejection: Rejection, attempts: int = 1, bytes_max: int = LETTER_BYTES
) -> Message:
    # A key of any length would make a record that no topic takes, however much its value is cut.
    key = record.key if record.key and len(record.key) <= TEXT_BYTES_MAX else b""
    headers = dead_letter_headers(rejection, record.origin, attempts, record.value, bytes_max)
    value = dead_letter_value(record.value, bytes_max) if bytes_max else b""
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
