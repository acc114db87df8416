"""Reads settings from a YAML file, `${NAME}` and `DAGMANAGER_<FIELD>`, and reports all findings at once.

`check` and `resolve` are pure. PyYAML is imported only when there is a file.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from dagmanager.edit_distance import misspelt
from dagmanager.errors import SettingsError
from dagmanager.settings.conversion import InvalidValueError, convert, nearest
from dagmanager.settings.finding import HINTS, Finding, FindingCode, Level
from dagmanager.settings.table import Field, Settings, bare_type, fields
from dagmanager.settings.value_checks import value_problems
from dagmanager.settings.variables import expand
from dagmanager.settings.yaml_text import YamlError, YamlProblem, YamlValue, read_yaml

ENV_PREFIX: Final = "DAGMANAGER_"
CONFIG_VARIABLE: Final = "DAGMANAGER_CONFIG"
SECTION: Final = "dagmanager"
# Findings that do not concern commands without a server.
OF_SERVERS: Final = frozenset({FindingCode.EMPTY_FIELD, FindingCode.HALF_EMBEDDED})


class SettingsSource(msgspec.Struct, frozen=True):
    """All inputs of the settings: the text of the file (None without a file), its name, and the environment."""

    text: str | None = None
    file: str = ""
    environ: Mapping[str, str] = msgspec.field(default_factory=dict)


def resolve(source: SettingsSource, *, strict: bool = False) -> tuple[Settings, tuple[Finding, ...]]:
    """The settings of a source, and all findings about it in order of place. Pure; raises nothing.

    An invalid field keeps its default, so that one call reports every finding.
    """
    resolver = _Resolver(source, strict)
    resolver.read()
    return resolver.settings(), tuple(sorted(resolver.findings, key=lambda f: (f.file, f.line, f.column)))


def check(source: SettingsSource, *, strict: bool = False) -> tuple[Finding, ...]:
    """The findings that `config validate` reports. `strict` makes every unknown field an error. Pure."""
    return resolve(source, strict=strict)[1]


def find_source(config: str | None, environ: Mapping[str, str]) -> SettingsSource:
    """The file named by `--config`, else by DAGMANAGER_CONFIG, read. `SettingsError` when it cannot be read."""
    name = config or environ.get(CONFIG_VARIABLE) or ""
    if not name:
        return SettingsSource(environ=environ)
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: byte {error.start} is not UTF-8") from error
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        origin = "--config" if config else CONFIG_VARIABLE
        raise SettingsError(f"cannot read {name} (named by {origin}): {words}") from error
    return SettingsSource(text, name, environ)


def load(
    config: str | None, environ: Mapping[str, str], *, offline: bool = False
) -> tuple[Settings, tuple[Finding, ...]]:
    """Settings for a process that is about to start, and the warnings to show.

    Raises `SettingsError` with one line per error. `offline` is for commands that need no servers: empty addresses are
    then neither errors nor warnings.
    """
    settings, findings = resolve(find_source(config, environ))
    if offline:
        findings = tuple(finding for finding in findings if finding.code not in OF_SERVERS)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        lines = (f"{e.place()}: {e.message}" if e.place() else e.message for e in errors)
        raise SettingsError("\n".join(lines))
    return settings, findings


class _Resolver:
    """One pass over a source. `values` has the fields that were given and are valid."""

    def __init__(self, source: SettingsSource, strict: bool) -> None:
        self.source = source
        self.strict = strict
        self.values: dict[str, Any] = {}
        self.findings: list[Finding] = []
        self._rows = {row.name: row for row in fields()}
        self._places: dict[str, YamlValue] = {}

    def read(self) -> None:
        """Read the file, then the environment, then check what depends on both."""
        if self.source.text is not None:
            try:
                self._read_file(self.source.text)
            except YamlError as error:
                # Everything else would follow from it: that fields are empty, or do not go together.
                self._add_problem(error.problem)
                return
        self._read_environment()
        self._check_profile()
        self._check_topics()
        self._check_values()

    def settings(self) -> Settings:
        """The given values, over the defaults of the profile."""
        profile = self.values.get("profile", "dev")
        return Settings(**{r.name: r.default_in(profile) for r in self._rows.values()} | self.values)

    def _read_file(self, text: str) -> None:
        root = read_yaml(text)
        if root is None:
            return
        if not root.is_mapping():
            self._add(
                "error", FindingCode.INVALID_YAML, "the file must consist of `field: value` lines", root
            )
            return
        top, problems = root.entries()
        given, has_section = dict(top), False
        if SECTION in top:
            section, more = top[SECTION].entries()
            if not top[SECTION].is_mapping() and top[SECTION].build() is not None:
                self._add("error", FindingCode.WRONG_TYPE, f"`{SECTION}` must be a section", top[SECTION])
            given, has_section, problems = dict(section), True, problems + more
            self._check_outside(top)
        for problem in problems:
            self._add_problem(problem)
        if "profile" in top:
            given.setdefault("profile", top["profile"])
        for name, entry in given.items():
            if name in self._rows:
                self._places[name] = entry
                self._take(self._rows[name], entry)
            # Without a section, other tables at the top belong to other services, unless it is a misspelt section.
            elif has_section or not entry.is_mapping() or nearest(name, [SECTION]):
                self._unknown(name, entry, [*self._rows, *([] if has_section else [SECTION])])

    def _check_outside(self, top: Mapping[str, YamlValue]) -> None:
        """With a section, everything else at the top belongs to other services, but for `profile` or a misspelt one."""
        for name, entry in top.items():
            if name in self._rows and name != "profile":
                words = f"`{name}` is outside the section `{SECTION}` and is ignored"
                self._add(self._typo_level(), FindingCode.OUTSIDE_SECTION, words, entry, name)
            elif not entry.is_mapping() and misspelt(name, ["profile"]):
                self._unknown(name, entry, ["profile"])

    def _unknown(self, name: str, entry: YamlValue, known: list[str]) -> None:
        """An error where a field is misspelt: it would keep its default without a word."""
        meant, guess = misspelt(name, known), nearest(name, known)
        hint = (
            f"did you mean `{meant or guess}`?" if meant or guess else "see `config sample` for every field"
        )
        level: Level = "error" if meant else self._typo_level()
        self._add(level, FindingCode.UNKNOWN_FIELD, f"unknown field `{name}`", entry, name, hint)

    def _take(self, row: Field, entry: YamlValue) -> None:
        if typing.get_origin(bare_type(row.type)) is Mapping and entry.is_mapping():
            self._take_table(row, entry)
            return
        try:
            given, from_environment = self._filled(row, entry.build(), entry)
            if given is not None:
                self.values[row.name] = convert(row, given, from_text=from_environment)
        except YamlError as error:
            self._add_problem(error.problem, row.name)
        except InvalidValueError as error:
            self._add("error", FindingCode.WRONG_TYPE, str(error), entry, row.name, error.hint)

    def _take_table(self, row: Field, table: YamlValue) -> None:
        """Entry by entry, so that each invalid one is reported on its own line; absent ones keep their default."""
        entries, problems = table.entries()
        for problem in problems:
            self._add_problem(problem, row.name)
        taken: dict[str, Any] = dict(row.default)
        for key, entry in entries.items():
            self._places[f"{row.name}.{key}"] = entry
            try:
                given, _ = self._filled(row, {key: self._built(row, entry)}, entry)
                # None: a variable is not set, which is reported.
                taken |= {} if given is None else convert(row, given, from_text=False)
            except YamlError as error:
                self._add_problem(error.problem, row.name)
            except InvalidValueError as error:
                self._add("error", FindingCode.WRONG_TYPE, str(error), entry, row.name, error.hint)
        self.values[row.name] = taken

    def _filled(self, row: Field, value: Any, entry: YamlValue) -> tuple[Any, bool]:
        """The value with each `${NAME}` replaced, and whether it was text that contained one."""
        missing: list[str] = []
        invalid: list[str] = []
        has_variables = False

        def fill(text: str) -> str:
            nonlocal has_variables
            found = expand(text, self.source.environ)
            missing.extend(found.missing)
            invalid.extend(found.invalid)
            has_variables |= found.has_variables
            return found.text

        filled = _map_text(value, fill)
        for name in dict.fromkeys(missing):
            words = f"`{row.name}` uses `${{{name}}}`, which is not set in the environment"
            self._add("error", FindingCode.UNSET_VARIABLE, words, entry, row.name)
        if invalid:  # what it contains may be a part of a password
            words = f"`{row.name}` contains a `${{…}}` that is neither `${{NAME}}` nor `${{NAME:-default}}`"
            self._add("error", FindingCode.UNSET_VARIABLE, words, entry, row.name)
        if missing or invalid:
            return None, False  # the field keeps its default
        return filled, has_variables and isinstance(value, str)

    def _built(self, row: Field, entry: YamlValue) -> Any:
        """The value of a table's entry. Texts are kept as they are written, although YAML reads `0123` as a number."""
        written = entry.written() if bare_type(row.type) == Mapping[str, str] else None
        return entry.build() if written is None else written

    def _read_environment(self) -> None:
        names = {ENV_PREFIX + row.name.upper(): row for row in self._rows.values()}
        for variable, text in self.source.environ.items():
            row = names.get(variable)
            if row is None:
                self._check_variable(variable, names)
            # An empty variable counts as unset, except for texts, where empty is a value.
            elif text or bare_type(row.type) is str:
                try:
                    given = convert(row, text, from_text=True)
                    self.values[row.name] = row.default | given if isinstance(given, dict) else given
                    self._places.pop(row.name, None)  # later findings must not point to the file's value
                except InvalidValueError as error:
                    words = f"{variable}: {error}"
                    self._add("error", FindingCode.WRONG_TYPE, words, None, row.name, error.hint)

    def _check_variable(self, variable: str, names: Mapping[str, Field]) -> None:
        """Report near misses only: others use the prefix too (Kubernetes sets DAGMANAGER_SERVICE_HOST)."""
        import difflib

        if not variable.startswith(ENV_PREFIX) or variable == CONFIG_VARIABLE:
            return
        words = f"environment variable {variable} is not a setting"
        # Stricter than `nearest`: all variables share a long prefix.
        if meant := misspelt(variable, names):
            self._add("error", FindingCode.UNKNOWN_FIELD, words, None, None, f"did you mean {meant}?")
        elif near := difflib.get_close_matches(variable, names, n=1, cutoff=0.9):
            self._add("warning", FindingCode.UNKNOWN_FIELD, words, None, None, f"did you mean {near[0]}?")

    def _check_profile(self) -> None:
        settings = self.settings()
        refused = {finding.field for finding in self.findings if finding.level == "error"}
        for row in self._rows.values():
            if row.about.required_in_prod and not getattr(settings, row.name).strip():
                if row.name in refused:
                    continue  # it is empty because the given value is invalid, which is reported already
                place = self._places.get(row.name)
                words = f"`{row.name}` is empty: profile prod does not start without it"
                if settings.profile == "dev":
                    words = f"`{row.name}` is empty: {_IN_MEMORY[row.name]}"
                level: Level = "error" if settings.profile == "prod" else "warning"
                variable = f"set it in the file or as {ENV_PREFIX}{row.name.upper()}"
                self._add(level, FindingCode.EMPTY_FIELD, words, place, row.name, variable)

    def _check_topics(self) -> None:
        settings = self.settings()
        seen: dict[str, str] = {}
        for row in self._rows.values():
            if not row.name.endswith("_topic") or not getattr(settings, row.name):
                continue
            # Brokers refuse names that differ in `.` and `_` only; names that differ in case only are a mistake.
            topic = getattr(settings, row.name).lower().replace(".", "_")
            if topic in seen:
                words = f"`{row.name}` and `{seen[topic]}` name the same topic"
                self._add("error", FindingCode.SAME_TOPIC, words, self._places.get(row.name), row.name)
            seen.setdefault(topic, row.name)

    def _check_values(self) -> None:
        """Fields whose value was refused before have their default here, which would be reported for what it is not."""
        refused = {finding.field for finding in self.findings if finding.level == "error"}
        unknown = any(
            each.code == FindingCode.UNKNOWN_FIELD and each.level == "error" for each in self.findings
        )
        for field, message, hint, entry, code in value_problems(self.settings()):
            if (field in refused and not entry) or (unknown and code == FindingCode.HALF_EMBEDDED):
                continue
            place = self._places.get(f"{field}.{entry}") or self._places.get(field)
            self._add("error", code, message, place, field, hint)

    def _typo_level(self) -> Level:
        return "error" if self.strict else "warning"

    def _add_problem(self, problem: YamlProblem, field: str | None = None) -> None:
        place = (self.source.file, problem.line, problem.column)
        hint = HINTS[problem.code]
        self.findings.append(Finding("error", problem.code, problem.message, field, *place, hint))

    def _add(
        self,
        level: Level,
        code: FindingCode,
        message: str,
        entry: YamlValue | None,
        field: str | None = None,
        hint: str = "",
    ) -> None:
        place = (self.source.file, entry.line, entry.column) if entry else ("", 0, 0)
        self.findings.append(Finding(level, code, message, field, *place, hint or HINTS[code]))


_IN_MEMORY: Final = {
    "neo4j_dsn": "the graph is embedded (in memory, or in the file of `memory_repo_path`)",
    "kafka_dsn": "topics are embedded, no broker is used",
    "controlbus_dsn": "queue events are off",
    "controlbus_queue_topic": "queue events are off",
}


def _map_text(value: Any, change: typing.Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_text(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _map_text(item, change) for key, item in value.items()}
    return value
