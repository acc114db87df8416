"""YAML text to values that know their line: safe, bounded, duplicate keys reported.

May not live here: field names, profiles, anything that knows what a setting means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    import yaml

TEXT_BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 32
ALIASES_MAX: Final = 100
NODES_MAX: Final = 20_000  # aliases expanded
MERGE_TAG: Final = "tag:yaml.org,2002:merge"

# What PyYAML's own constructors let through for a tag that does not fit its text (`!!int x`).
_MISFIT_TAG = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


class YamlProblem(msgspec.Struct, frozen=True):
    """Why a text cannot be read, and where; lines and columns count from 1."""

    code: str
    message: str
    line: int = 1
    column: int = 1


class YamlError(ValueError):
    """The text, or one value in it, is not what it should be."""

    def __init__(self, problem: YamlProblem) -> None:
        """Keep the place beside the words."""
        super().__init__(problem.message)
        self.problem = problem


class YamlValue:
    """One value of the text, built only when asked for; `line` and `column` are its key's, if it has one."""

    def __init__(self, loader: yaml.SafeLoader, node: yaml.Node, key: yaml.Node | None = None) -> None:
        """Point at the key where there is one: that is where a reader looks."""
        self._loader = loader
        self._node = node
        mark = (key or node).start_mark
        self.line = mark.line + 1
        self.column = mark.column + 1
        self.value_column = node.start_mark.column + 1
        self.value_line = node.start_mark.line + 1

    def is_mapping(self) -> bool:
        """Whether `entries` has something to say."""
        import yaml

        return isinstance(self._node, yaml.MappingNode)

    def entries(self) -> tuple[dict[str, YamlValue], tuple[YamlProblem, ...]]:
        """The keys of a mapping with their values (the last of two equal keys), and what is wrong with them."""
        import yaml

        if not isinstance(self._node, yaml.MappingNode):
            return {}, ()
        problems = tuple(_repeated_keys(self._node))
        try:
            self._loader.flatten_mapping(self._node)
        except yaml.YAMLError as error:
            raise YamlError(_from_yaml(error)) from error
        found: dict[str, YamlValue] = {}
        for key, value in self._node.value:
            if isinstance(key, yaml.ScalarNode):
                found[key.value] = YamlValue(self._loader, value, key)
        return found, problems

    def build(self) -> Any:
        """The plain Python value; raises YamlError where a tag asks for more than data."""
        import yaml

        try:
            return self._loader.construct_object(self._node, deep=True)
        except yaml.YAMLError as error:
            raise YamlError(_from_yaml(error)) from error
        except _MISFIT_TAG as error:
            place = (self.value_line, self.value_column)
            raise YamlError(YamlProblem("invalid_yaml", f"cannot be read: {error}", *place)) from error


def read_yaml(text: str) -> YamlValue | None:
    """The text's one document, None when it is empty; raises YamlError."""
    import yaml

    if len(text) > TEXT_BYTES_MAX:
        raise YamlError(
            YamlProblem("too_large", f"more than {TEXT_BYTES_MAX:,} characters: no settings file")
        )
    try:
        _refuse_bombs(text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count_expanded(node, {}, set())
        return YamlValue(loader, node)
    except yaml.YAMLError as error:
        raise YamlError(_from_yaml(error)) from error


def _refuse_bombs(text: str) -> None:
    import yaml

    depth = aliases = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > DEPTH_MAX or aliases > ALIASES_MAX:
            what = f"nested deeper than {DEPTH_MAX}" if depth > DEPTH_MAX else f"over {ALIASES_MAX} aliases"
            raise YamlError(YamlProblem("too_large", what, *_place(event.start_mark)))


def _place(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _count_expanded(node: yaml.Node, known: dict[int, int], open_nodes: set[int]) -> int:
    """How many nodes there are once every alias is written out; refuses too many and circles."""
    import yaml

    if id(node) in known:
        return known[id(node)]
    if id(node) in open_nodes:
        raise YamlError(YamlProblem("invalid_yaml", "an alias holds itself", *_place(node.start_mark)))
    open_nodes.add(id(node))
    total = 1
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    else:
        children = list(node.value) if isinstance(node, yaml.SequenceNode) else []
    for child in children:
        total += _count_expanded(child, known, open_nodes)
    if total > NODES_MAX:
        raise YamlError(YamlProblem("too_large", f"over {NODES_MAX:,} values", *_place(node.start_mark)))
    open_nodes.discard(id(node))
    known[id(node)] = total
    return total


def _repeated_keys(node: yaml.MappingNode) -> Iterator[YamlProblem]:
    import yaml

    first: dict[str, int] = {}
    for key, _ in node.value:
        place = _place(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            yield YamlProblem("invalid_yaml", "a key must be a word", *place)
        elif key.tag != MERGE_TAG:
            if key.value in first:
                message = f"`{key.value}` is already given on line {first[key.value]}"
                yield YamlProblem("duplicate_key", message, *place)
            first.setdefault(key.value, place[0])


def _from_yaml(error: Exception) -> YamlProblem:
    import yaml

    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        return YamlProblem("invalid_yaml", words or "not YAML", *_place(mark))
    return YamlProblem("invalid_yaml", " ".join(str(error).split()))
