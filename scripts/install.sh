#!/usr/bin/env bash
# Creates the environment that everything here runs in: scripts/install.sh [--runtime] [FOLDER, default .venv]
#
# Needs Python 3.11 (or 3.12) and nothing else. Installs exactly what the lock names, hashes checked, then this
# project itself. Does nothing when neither the lock nor pyproject.toml has changed since the last time.
#
#   --runtime             only what the product needs, for `make demo`; a later call without it adds the tools
#   PYTHON=...            the interpreter to build with, instead of the first suitable one on the path
#   QMTL_RUNTIME_ONLY=1   for images: as --runtime, with the project copied in rather than linked to this folder
set -euo pipefail

say() { printf 'install: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

runtime=0
if [[ ${1:-} = --runtime ]]; then
    runtime=1
    shift
fi
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=${1:-$root/.venv}
[[ $venv = /* ]] || venv=$caller/$venv

lock=requirements.lock
mode=editable
compile=--no-compile # Python compiles each module when it is first imported, which is much less
if [[ ${QMTL_RUNTIME_ONLY:-0} = 1 ]]; then
    runtime=1
    mode=copied
    compile=--compile
fi
[[ $runtime = 0 ]] || lock=requirements-runtime.lock

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

# What the environment is built from, by its lock: if none of it changed, there is nothing to do.
digest() { # the environment's own interpreter always exists, sha256sum does not
    "$venv/bin/python" -c '
import hashlib, sys
parts = [word.encode() for word in sys.argv[1:3]] + [open(name, "rb").read() for name in sys.argv[3:]]
print(hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest())
' "$mode" "$root" "$1" pyproject.toml scripts/install.sh
}

# Two makes at once must not build one environment together; the lock is on a file that always exists.
if command -v flock >/dev/null; then
    exec 9<pyproject.toml
    flock 9
fi

# One stamp for each lock. What has the tools has the runtime, too.
is_installed() { [[ -f $venv/.installed-$1 && $(<"$venv/.installed-$1") = "$(digest "$1")" ]]; }
if suitable "$venv/bin/python"; then
    for each in requirements.lock "$lock"; do
        if is_installed "$each"; then
            exit 0
        fi
    done
fi

started=$SECONDS
if ! suitable "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    say "creating $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" || fail "'$python -m venv' failed; on Debian it needs the package python3-venv"
fi
rm -f "$venv"/.installed*

pip() { PIP_USER=0 "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"; }

# The seconds so far, on a terminal, while a command works.
with_seconds() { # TEXT COMMAND...
    local text=$1 ticker=
    shift
    say "$text"
    if [[ -t 2 && ${TERM:-dumb} != dumb ]]; then
        (
            exec 9<&- # the lock is not the ticker's
            while sleep 1; do printf '\r\033[Kinstall: %d s' $((SECONDS - started)) >&2; done
        ) &
        ticker=$!
        trap 'kill "$ticker" 2>/dev/null || true' EXIT
    fi
    local code=0
    "$@" || code=$?
    if [[ -n $ticker ]]; then
        kill "$ticker" 2>/dev/null || true
        wait "$ticker" 2>/dev/null || true
        trap - EXIT
        printf '\r\033[K' >&2
    fi
    return "$code"
}

with_seconds "installing $(grep -c == "$lock") packages from $lock" \
    pip install "$compile" --require-hashes --only-binary :all: --requirement "$lock"

editable=(--editable)
[[ $mode = editable ]] || editable=()
with_seconds "installing this project ($mode)" \
    pip install "$compile" --no-deps --no-build-isolation ${editable[@]+"${editable[@]}"} .

digest "$lock" >"$venv/.installed-$lock"
say "done in $((SECONDS - started)) s"
