"""Defaults of the command line for what neither a submission nor its DAG names."""

from __future__ import annotations

import msgspec

from dagmanager.dag.model import UnresolvedContext
from dagmanager.engine.stages import Canonicalized


class ContextDefaults(msgspec.Struct, frozen=True):
    """Values for fields that neither the submission nor its DAG names, from the command line. Empty: no default."""

    world_id: str = ""
    execution_domain: str = ""
    as_of: str = ""
    partition: str = ""


def filled(item: Canonicalized, defaults: ContextDefaults) -> Canonicalized:
    """The item with defaults filled in where neither the submission nor its DAG names a value."""
    sent, own = item.envelope.context, item.dag.dag_context
    if item.envelope.form == "commit_log" and sent == UnresolvedContext():
        sent = own  # otherwise a single default would count as the sent context and hide that of the DAG
    changes = {
        name: value
        for name in ("execution_domain", "as_of", "partition")
        if (value := getattr(defaults, name)) and not getattr(sent, name) and not getattr(own, name)
    }
    worlds = item.envelope.worlds
    if defaults.world_id and worlds == ("",) and not own.world_id:
        worlds = (defaults.world_id,)
    sent = msgspec.structs.replace(sent, **changes)
    envelope = msgspec.structs.replace(item.envelope, context=sent, worlds=worlds)
    return msgspec.structs.replace(item, envelope=envelope)


def says_domain(item: Canonicalized) -> bool:
    """Whether the submission or its DAG names an execution domain; without one it is isolated (safe mode)."""
    return bool(item.envelope.context.execution_domain or item.dag.dag_context.execution_domain)
