"""YAML text to values with their line and column. Loads plain data only (SafeLoader) and reports duplicate keys.

Knows no field names and no profiles. The file is the operator's own: its size is not limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dagmanager.settings.finding import FindingCode

if TYPE_CHECKING:
    import yaml

MERGE_TAG: Final = "tag:yaml.org,2002:merge"

# Unquoted values that are not what is written once they are built.
_REWRITTEN: Final = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "timestamp", "value")
)
# Raised by PyYAML's constructors for a value that does not fit its tag (`!!int x`).
_MISFIT_TAG = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


class YamlProblem(msgspec.Struct, frozen=True):
    """What is wrong in the text, and where; lines and columns count from 1."""

    code: FindingCode
    message: str
    line: int = 1
    column: int = 1


class YamlError(ValueError):
    """The text, or one value in it, cannot be read."""

    def __init__(self, problem: YamlProblem) -> None:
        """`problem` has the message and the place."""
        super().__init__(problem.message)
        self.problem = problem


class YamlValue:
    """One value of the text, converted on demand. `line` and `column` are those of its key, if it has one."""

    def __init__(self, loader: yaml.SafeLoader, node: yaml.Node, key: yaml.Node | None = None) -> None:
        """The key's place is kept because that is where a reader looks first."""
        self._loader = loader
        self._node = node
        mark = (key or node).start_mark
        self.line = mark.line + 1
        self.column = mark.column + 1
        self.value_column = node.start_mark.column + 1
        self.value_line = node.start_mark.line + 1

    def is_mapping(self) -> bool:
        """Whether the value is a mapping, so that `entries` may be called."""
        import yaml

        return isinstance(self._node, yaml.MappingNode)

    def entries(self) -> tuple[dict[str, YamlValue], tuple[YamlProblem, ...]]:
        """The mapping's keys and values (of equal keys the last), and problems with keys; empty for other values."""
        import yaml

        if not isinstance(self._node, yaml.MappingNode):
            return {}, ()
        problems = tuple(_repeated_keys(self._node))  # before merging, which adds keys that may be overridden
        try:
            self._loader.flatten_mapping(self._node)
        except (yaml.YAMLError, RecursionError) as error:
            raise YamlError(_problem_of(error)) from error
        found: dict[str, YamlValue] = {}
        for key, value in self._node.value:
            if isinstance(key, yaml.ScalarNode):
                found[key.value] = YamlValue(self._loader, value, key)
        return found, problems

    def written(self) -> str | None:
        """An unquoted number, date or truth value as it is written: `0123`, where `build` gives 83. Else None."""
        import yaml

        node = self._node
        if not isinstance(node, yaml.ScalarNode) or node.style is not None or node.tag not in _REWRITTEN:
            return None
        return str(node.value)

    def build(self) -> Any:
        """The plain Python value. Raises `YamlError` for unknown tags, and for values that do not fit their tag."""
        import yaml

        try:
            return self._loader.construct_object(self._node, deep=True)
        except (yaml.YAMLError, RecursionError) as error:
            raise YamlError(_problem_of(error)) from error
        except _MISFIT_TAG as error:
            place = (self.value_line, self.value_column)
            raise YamlError(
                YamlProblem(FindingCode.INVALID_YAML, f"cannot be read: {error}", *place)
            ) from error


def read_yaml(text: str) -> YamlValue | None:
    """The only document of the text, None when it is empty. Raises `YamlError`."""
    import yaml  # late: commands without a settings file start faster

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlError(_problem_of(error)) from error
    return None if node is None else YamlValue(loader, node)


def _place(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _repeated_keys(node: yaml.MappingNode) -> Iterator[YamlProblem]:
    import yaml

    first: dict[str, int] = {}
    for key, _ in node.value:
        place = _place(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            yield YamlProblem(FindingCode.INVALID_YAML, "a key must be a word", *place)
        elif key.tag != MERGE_TAG:  # `<<` may be given several times
            if key.value in first:
                message = f"`{key.value}` is already given on line {first[key.value]}"
                yield YamlProblem(FindingCode.DUPLICATE_KEY, message, *place)
            first.setdefault(key.value, place[0])


def _problem_of(error: Exception) -> YamlProblem:
    import yaml

    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        return YamlProblem(FindingCode.INVALID_YAML, words or "not YAML", *_place(mark))
    if isinstance(error, RecursionError):  # thousands of brackets, or an alias within itself
        return YamlProblem(FindingCode.INVALID_YAML, "nested too deeply")
    return YamlProblem(FindingCode.INVALID_YAML, " ".join(str(error).split()))
