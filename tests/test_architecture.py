"""The rules that a machine can check; ARCHITECTURE.md and CONTRIBUTING.md say why."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("dagmanager", "flows", "operators", "sinks")
COMPANIONS = ("examples", "benchmarks", "scripts", "servers", "chaos")
TYPED_PACKAGES = (*PRODUCT, "examples", "benchmarks", "servers", "chaos", "tests")

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
MAX_ROOM_FILES = 20
# Ratchets: what is over the limit, and by how much it may be. Numbers only ever go down.
LONG_FUNCTIONS: dict[str, int] = {}
LONG_FILES: dict[str, int] = {}
CROWDED_ROOMS: dict[str, int] = {}

# All that the rooms of the contract `pure` import from outside: nothing here reads a clock, a file or the network.
PURE_MODULES = {
    "__future__",
    "base64",
    "binascii",
    "blake3",
    "bisect",
    "collections",
    "datetime",
    "difflib",
    "enum",
    "functools",
    "graphlib",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "orjson",
    "re",
    "typing",
    "zlib",
}
# `datetime` is there to write a given time as text; these ask the machine for one.
CLOCKS = {"now", "today", "utcnow", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter"}
OUTSIDE = {"open", "print", "input", "__import__", "exec", "eval"}

VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
# Runtime dependencies that no product file imports: the neo4j driver decodes faster when it finds its Rust extension.
LOADED_BY_OTHERS = {"neo4j-rust-ext"}
# Generated from proto/ and excluded from every tool.
GENERATED = "dagmanager/service/v1/"


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is tracked, or would be: ignored ones do not count."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
            "\0"
        )
        found = (ROOT / name for name in names if name)
    else:  # an unpacked archive
        skipped = {".venv", ".git", "build", "dist", "__pycache__"}
        found = (path for path in ROOT.rglob("*") if not skipped & set(path.relative_to(ROOT).parts))
    return tuple(sorted(path for path in found if path.is_file() and not path.is_symlink()))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_files(*rooms: str) -> list[Path]:
    return [
        path
        for path in project_files()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in rooms
        and not name_of(path).startswith(GENERATED)
    ]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def project_table() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_import_layers() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_has_a_layer() -> None:
    contract = next(c for c in project_table()["tool"]["importlinter"]["contracts"] if c["id"] == "layers")
    placed = set(re.findall(r"[\w.]+", " ".join(contract["layers"])))
    for path in python_files(*PRODUCT):
        parts = path.relative_to(ROOT).with_suffix("").parts
        layer = ".".join(parts[: 2 if parts[0] == "dagmanager" else 1])
        if layer != "dagmanager.__init__":
            assert layer in placed, f"{name_of(path)}: give {layer} a place in pyproject.toml's layers"


def test_rooms_inside_rooms_are_ordered_by_a_contract() -> None:
    """One level below `test_every_module_has_a_layer`: a folder with folders in it is an exhaustive container."""
    contracts = project_table()["tool"]["importlinter"]["contracts"]
    ordered = {room for c in contracts if c.get("exhaustive") for room in c["containers"]}
    packages = {path.parent for path in python_files(*PRODUCT) if path.name == "__init__.py"}
    outer = {".".join(folder.parent.relative_to(ROOT).parts) for folder in packages} - {"", "dagmanager"}
    assert outer <= ordered, f"give pyproject.toml a contract for {outer - ordered}"


def test_no_import_goes_in_a_circle() -> None:
    graph = grimp.build_graph(*PRODUCT, cache_dir=None)
    below: dict[str, set[str]] = {
        name: graph.find_modules_directly_imported_by(name) for name in graph.modules
    }
    # Take away whatever imports nothing that is left, again and again: what stays leads to a circle.
    while free := {name for name, imported in below.items() if not imported & below.keys()}:
        below = {name: imported for name, imported in below.items() if name not in free}
    assert not below, f"in a circle, or above one: {sorted(below)}"


@pytest.mark.parametrize(
    "room",
    next(c for c in project_table()["tool"]["importlinter"]["contracts"] if c["id"] == "pure")[
        "source_modules"
    ],
)
def test_pure_rooms_ask_neither_clock_nor_machine(room: str) -> None:
    files = [
        path for path in python_files("dagmanager") if name_of(path).startswith(room.replace(".", "/") + "/")
    ]
    assert files
    for path in files:
        for node in ast.walk(tree_of(path)):
            where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                outside = imported_tops(node) - {"dagmanager"}
                assert outside <= PURE_MODULES, f"{where}: {outside - PURE_MODULES} in a pure room"
            elif isinstance(node, ast.Attribute):
                assert node.attr not in CLOCKS, (
                    f"{where}: .{node.attr} asks a clock; take the time as an argument"
                )
            elif isinstance(node, ast.Name):
                assert node.id not in OUTSIDE, f"{where}: {node.id} in a pure room"


def imported_tops(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return {name.partition(".")[0] for name in names}


def test_rooms_are_small() -> None:
    counts: dict[str, int] = {}
    for path in python_files(*PRODUCT, *COMPANIONS, "tests"):
        if path.name != "__init__.py":
            counts[name_of(path.parent)] = counts.get(name_of(path.parent), 0) + 1
    assert_ratchet({room: files for room, files in counts.items() if files > MAX_ROOM_FILES}, CROWDED_ROOMS)


def test_functions_are_short() -> None:
    long: dict[str, int] = {}
    for path in python_files(*PRODUCT, *COMPANIONS):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long[f"{name_of(path)}:{node.name}"] = lines
    assert_ratchet(long, LONG_FUNCTIONS)


def test_files_are_short() -> None:
    counts = {
        name_of(path): len(path.read_text().splitlines()) for path in python_files(*PRODUCT, *COMPANIONS)
    }
    assert_ratchet({name: lines for name, lines in counts.items() if lines > MAX_FILE_LINES}, LONG_FILES)


def assert_ratchet(found: dict[str, int], allowed: dict[str, int]) -> None:
    longer = {name: lines for name, lines in found.items() if lines > allowed.get(name, 0)}
    assert not longer, f"too long: {longer}"
    slack = {name: lines for name, lines in allowed.items() if found.get(name, 0) < lines}
    assert not slack, f"shorter now, lower the ratchet: {slack}"


def test_names_say_something() -> None:
    for path in python_files(*PRODUCT, *COMPANIONS, "tests"):
        for part in path.relative_to(ROOT).with_suffix("").parts:
            word = part.removeprefix("test_").strip("_")
            assert word not in VAGUE_NAMES, f"{name_of(path)}: {part} does not say what lives there"


def test_a_class_or_type_alias_has_one_meaning() -> None:
    defined: dict[str, list[str]] = {}
    for path in python_files(*PRODUCT):
        for node in tree_of(path).body:
            for name in type_names(node):
                defined.setdefault(name, []).append(name_of(path))
    assert {name: places for name, places in defined.items() if len(places) > 1} == {}


def type_names(node: ast.stmt) -> list[str]:
    """The public class or type alias that this statement defines; type variables have one letter."""
    match node:
        case ast.ClassDef(name=name):
            found = name
        case ast.Assign(targets=[ast.Name(id=name)]):
            found = name if re.search("[a-z]", name) else ""
        case _:
            found = ""
    return [found] if found and found[0].isupper() else []


def test_root_folders_hide_no_module() -> None:
    installed = metadata.packages_distributions()
    for folder in {path.relative_to(ROOT).parts[0] for path in project_files() if path.parent != ROOT}:
        assert folder not in sys.stdlib_module_names, f"{folder}/ hides the standard library's"
        owners = {owner.lower() for owner in installed.get(folder, [])} - {"qmtl-dagmanager"}
        assert not owners, f"{folder}/ hides the package of {owners}"


def test_init_files_hold_a_docstring_and_nothing_else() -> None:
    for path in python_files(*TYPED_PACKAGES):
        if path.name == "__init__.py":
            tree = tree_of(path)
            assert ast.get_docstring(tree), f"{name_of(path)}: say what lives here and what may not"
            assert len(tree.body) == 1, f"{name_of(path)}: import from the module itself, re-export nothing"


def test_rooms_say_what_may_not_live_there() -> None:
    limit = re.compile(r"\b(no|nothing|never)\b", re.IGNORECASE)
    for path in python_files(*PRODUCT):
        if path.name == "__init__.py":
            said = ast.get_docstring(tree_of(path)) or ""
            assert limit.search(said), f"{name_of(path)}: say what may not live here as well: {said!r}"


def test_every_package_folder_is_a_typed_package() -> None:
    for folder in {path.parent for path in python_files(*TYPED_PACKAGES)}:
        top = folder.relative_to(ROOT).parts[0]
        assert (folder / "__init__.py").exists(), f"{name_of(folder)} needs an __init__.py"
        assert (ROOT / top / "py.typed").exists(), f"{top} needs a py.typed"


@pytest.mark.parametrize("room", [*PRODUCT, *COMPANIONS, "tests"])
def test_suppressed_checks_carry_code_and_reason(room: str) -> None:
    # `# type: ignore[code]  # reason`, and the same for noqa; the words are split so that this file is clean.
    bare = re.compile(
        r"#\s*(?:type:" + r"\s*ignore|no" + r"qa)(?!\[[a-z, -]+\]\s+#\s*\w|: [A-Z0-9, ]+\s+(?:#|-)\s*\w)"
    )
    for path in python_files(room):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert not bare.search(line), f"{name_of(path)}:{number}: say which check is silenced, and why"


def test_no_registry_and_no_machine_is_named() -> None:
    hosts = [("py", "pi.org"), ("python", "hosted.org"), ("crates", ".io"), ("registry.npm", "js.org")]
    hosts += [
        ("repo.maven", ".apache.org"),
        ("repo1.", "maven.org"),
        ("proxy.", "golang.org"),
        ("deb.", "debian.org"),
    ]
    folders = [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/opt/", "wheels"), ("/Us", "ers/")]
    named = "|".join(re.escape(head + tail) for head, tail in hosts)
    # A folder counts where an absolute path begins, not in the middle of an address or a relative path.
    placed = "|".join(re.escape(head + tail) for head, tail in folders)
    needle = re.compile(rf"{named}|(?<![\w.\-}}$~])(?:{placed})")
    for path in project_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # bytes meant to be broken, or a picture
        found = needle.findall(text)
        assert not found, f"{name_of(path)}: {found[:3]} hold on one machine only"


def imported_names(*rooms: str) -> set[str]:
    """Top-level names that these rooms import anywhere, the standard library's and the product's own left out."""
    names: set[str] = set()
    for path in python_files(*rooms):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= imported_tops(node)
    return names - set(sys.stdlib_module_names) - set(PRODUCT)


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[=<>~!;\[ ]", distribution)[0]).lower()


def test_the_product_needs_what_it_imports_and_nothing_else() -> None:
    needed = {normal(line) for line in project_table()["project"]["dependencies"]}
    providers = {
        name: {normal(owner) for owner in owners}
        for name, owners in metadata.packages_distributions().items()
    }
    imported = {name: providers.get(name, set()) for name in imported_names(*PRODUCT)}
    undeclared = {name for name, owners in imported.items() if not owners & needed}
    assert not undeclared, f"the product imports {undeclared}: add it to pyproject.toml's dependencies"
    unused = needed - set().union(*imported.values()) - LOADED_BY_OTHERS
    assert not unused, f"no product file imports {unused}: move it to an extra"


def test_the_locks_hold_pins_and_hashes_only() -> None:
    line_of_lock = re.compile(
        r"#.*|[a-z0-9][a-z0-9._-]*==\S+( ; [^\\]+)? \\| {4}--hash=sha256:[0-9a-f]{64}( \\)?"
    )
    pins: list[set[str]] = []
    for name in ("requirements.lock", "requirements-runtime.lock"):
        lines = (ROOT / name).read_text().splitlines()
        strange = [line for line in lines if not line_of_lock.fullmatch(line)]
        assert not strange, f"{name}: {strange[:3]}"
        pins.append({line for line in lines if line[0].isalnum()})
    everything, runtime = ({pin.split(" ")[0] for pin in lock} for lock in pins)
    assert runtime <= everything, f"remake the locks: {runtime - everything}"
    needed = project_table()["project"]["dependencies"] + ["pip", "setuptools", "wheel"]
    names = {pin.split("==")[0] for pin in runtime}
    missing = {re.split(r"[=<>~! ]", line)[0].lower() for line in needed} - names
    assert not missing, f"remake the locks, they lack {missing}"


def test_the_wheel_has_four_names() -> None:
    setuptools_table = project_table()["tool"]["setuptools"]
    assert setuptools_table["package-dir"] == {"": "."}
    assert setuptools_table["packages"]["find"]["include"] == [f"{name}*" for name in PRODUCT]
    # A sibling such as flows_old/ would match the star.
    tops = {path.relative_to(ROOT).parts[0] for path in project_files() if path.name == "__init__.py"}
    assert {top for top in tops if top.startswith(PRODUCT)} <= set(PRODUCT)


def test_no_other_package_installs_our_names() -> None:
    for name, owners in metadata.packages_distributions().items():
        if name in PRODUCT:
            assert {owner.lower() for owner in owners} <= {"qmtl-dagmanager"}, (
                f"{name} belongs to {owners} too"
            )
