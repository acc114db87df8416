#!/usr/bin/env bash
# Makes the one environment that everything here runs in: scripts/install.sh [FOLDER, default .venv]
#
# Needs Python 3.11 (or 3.12) and nothing else. Installs exactly what the lock names, hashes checked, then this
# project itself. Does nothing when neither the lock nor pyproject.toml has changed since the last time.
#
#   PYTHON=...            the interpreter to build with, instead of the first suitable one on the path
#   QMTL_RUNTIME_ONLY=1   for images: no test tools, and the project copied in rather than linked to this folder
set -euo pipefail

say() { printf 'install: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=${1:-$root/.venv}
[[ $venv = /* ]] || venv=$caller/$venv

lock=requirements.lock
mode=editable
if [[ ${QMTL_RUNTIME_ONLY:-0} = 1 ]]; then
    lock=requirements-runtime.lock
    mode=copied
fi

suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3 python3.12 python; do
        if suitable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
        [[ $candidate != "${PYTHON:-}" ]] || fail "PYTHON=$PYTHON is not Python 3.11 or 3.12"
    done
    fail "no Python 3.11 or 3.12 on the path; install one, or name it: PYTHON=/path/to/python3.11 make install"
}

# What the environment was made from: if none of it changed, there is nothing to do.
digest() { # the environment's own interpreter is always there, sha256sum is not
    "$venv/bin/python" -c '
import hashlib, sys
parts = [word.encode() for word in sys.argv[1:3]] + [open(name, "rb").read() for name in sys.argv[3:]]
print(hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest())
' "$mode" "$root" "$lock" pyproject.toml scripts/install.sh
}

# Two makes at once must not build one environment together; the lock is on a file that is there anyway.
if command -v flock >/dev/null; then
    exec 9<pyproject.toml
    flock 9
fi

stamp=$venv/.installed
if suitable "$venv/bin/python" && [[ -f $stamp && $(<"$stamp") = "$(digest)" ]]; then
    exit 0
fi

started=$SECONDS
if ! suitable "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" || fail "'$python -m venv' failed; on Debian it needs the package python3-venv"
fi
rm -f "$stamp"

pip() { PIP_USER=0 "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"; }

say "installing $(grep -c == "$lock") packages from $lock"
pip install --require-hashes --only-binary :all: --requirement "$lock"

say "installing this project ($mode)"
if [[ $mode = editable ]]; then
    pip install --no-deps --no-build-isolation --editable .
else
    pip install --no-deps --no-build-isolation .
fi

digest >"$stamp"
say "done in $((SECONDS - started)) s"
