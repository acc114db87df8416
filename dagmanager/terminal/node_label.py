"""How people read a node: by its name, and by its id only where the name does not tell it from another."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from dagmanager.terminal.text import visible

SHORT_ID: Final = 15  # `blake3:` and the 8 digits that the topic's name has too
NODE_ID: Final = re.compile("blake3:[0-9a-f]{64,128}")


def short_id(node_id: str) -> str:
    """An id for people: `blake3:1e2feb89…`. The whole id is in `--json` and `--wide`."""
    return node_id if len(node_id) <= SHORT_ID + 1 else node_id[:SHORT_ID] + "…"


class NodeLabels:
    """The names of a DAG's nodes. Immutable; what it returns is safe to print."""

    def __init__(self, names: Iterable[tuple[str, str]] = (), *, whole_ids: bool = False) -> None:
        """`names` are (id, name), a name may be ''; `whole_ids`: every id is shown, and in full."""
        self._names = dict(names)
        self._uses = Counter(self._names.values())
        self._whole_ids = whole_ids

    def label(self, node_id: str) -> str:
        """`ema`; with its id if two nodes have this name; the id alone if there is no name."""
        name = visible(self._names.get(node_id, ""))
        shown = visible(node_id if self._whole_ids else short_id(node_id))
        if not name:
            return shown
        return f"{name} ({shown})" if self._whole_ids or self._uses[self._names[node_id]] > 1 else name

    def labelled(self, text: str) -> str:
        """The text with a label in place of each id."""
        return NODE_ID.sub(lambda found: self.label(found[0]), text)
