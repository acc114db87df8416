"""Remakes both locks from pyproject.toml: every wheel's hash, no address, no machine's path.

Run it with any Python 3.11: `python scripts/lock.py [--upgrade]`. It needs a package index; nothing else here does.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = ROOT / "requirements.lock"
RUNTIME = ROOT / "requirements-runtime.lock"
RESOLVER = "uv"
INSTALL_TOOLS = ("pip", "setuptools", "wheel")
HEADER = """\
# {what}, with the hash of each file.
# Made by scripts/lock.py from pyproject.toml; do not edit. scripts/install.sh installs it.
"""
ALLOWED = re.compile(r"^([a-z0-9][a-z0-9._-]*==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?)$")
PINNED = re.compile(r"^[a-z0-9][a-z0-9._-]*==", re.MULTILINE)


def resolve(bin_folder: Path, preferred: str, *options: str) -> str:
    """Ask the resolver for the pinned list; versions in `preferred` stay where they can."""
    tools = bin_folder / "tools.in"
    tools.write_text("\n".join(INSTALL_TOOLS) + "\n")
    output = bin_folder / "resolved.lock"
    output.write_text(preferred)
    command = [str(bin_folder / "uv"), "pip", "compile", "pyproject.toml", str(tools), *options]
    command += [
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
        f"--output-file={output}",
        "--quiet",
    ]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    lines = output.read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))


def write(path: Path, what: str, body: str) -> None:
    """Write one lock, or refuse when a line is neither a pin nor a hash."""
    strange = [line for line in body.splitlines() if not ALLOWED.match(line)]
    if strange:
        raise SystemExit("\n  ".join(["refused, these lines are neither pin nor hash:", *strange[:5]]))
    path.write_text(HEADER.format(what=what) + body)
    print(f"{path.name}: {len(PINNED.findall(body))} packages, {body.count('--hash=')} hashes")


def main() -> int:
    """Remake both locks; the smaller one takes its versions from the larger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions, not the locked ones"
    )
    upgrade = parser.parse_args().upgrade
    preferred = EVERYTHING.read_text() if EVERYTHING.exists() and not upgrade else ""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        bin_folder = Path(folder) / "bin"
        subprocess.run([bin_folder / "pip", "install", "--quiet", RESOLVER], check=True)
        everything = resolve(bin_folder, preferred, "--extra", "dev")
        runtime = resolve(bin_folder, everything)
    write(EVERYTHING, "What the runtime, the tests and the install itself need", everything)
    write(RUNTIME, "What the runtime and the install itself need", runtime)
    return 0


if __name__ == "__main__":
    sys.exit(main())
