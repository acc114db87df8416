"""The servers' jars: fetched once by Maven, and the small mains compiled beside them.

A kind of server has one folder, named by a digest of what went into it, so that a changed version is a new folder.
No address is named: the machine's Maven settings decide where jars come from.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

JAVA = Path(__file__).parent / "java"
JARS = Path(__file__).parent.parent / "build" / "servers"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
MAINS = {"kafka": "KafkaMain", "neo4j": "Neo4jMain"}
SECONDS_BETWEEN_WORDS = 3

Say = Callable[[str], None]


class FetchError(Exception):
    """Maven or the compiler failed; the message holds the end of what it said."""


def tool(name: str) -> str | None:
    """Where a Java tool lies: in JAVA_HOME, else on the path."""
    home = os.environ.get("JAVA_HOME")
    return (home and shutil.which(name, path=f"{home}/bin")) or shutil.which(name)


def missing_tools() -> list[str]:
    """What must be installed before jars can be fetched and run; no version is looked at."""
    return [name for name in ("java", "javac", "mvn") if tool(name) is None]


def sources_of(kind: str) -> list[Path]:
    """The files that decide what a kind of server is made of."""
    return [JAVA / f"{kind}.xml", JAVA / "ParentWatch.java", JAVA / f"{MAINS[kind]}.java"]


def folder_of(kind: str) -> Path:
    """Where a kind's jars are, or will be."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources_of(kind))).hexdigest()
    return JARS / f"{kind}-{digest[:12]}"


def archive_of(kind: str) -> Path:
    """Where the JVM's class archive is, once `servers.archive` has made it."""
    return folder_of(kind) / "classes.jsa"


def class_path(kind: str) -> str:
    """What `java -cp` takes."""
    folder = folder_of(kind)
    return f"{folder}/main.jar:{folder}/lib/*"


def fetch(kind: str, say: Say) -> None:
    """Have the jars, fetching them when they are not there. Idempotent, and safe in several processes at once."""
    if folder_of(kind).exists():
        return
    with one_at_a_time(kind):
        if folder_of(kind).exists():
            return  # somebody else was quicker
        started = time.monotonic()
        say(f"servers: fetching the jars of {kind} with Maven, once")
        made = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=JARS))
        try:
            copy_jars(kind, made / "lib", say)
            compile_main(kind, made)
            made.rename(folder_of(kind))
        finally:
            shutil.rmtree(made, ignore_errors=True)
        say(f"servers: {kind} is there after {time.monotonic() - started:.0f} s")


@contextmanager
def one_at_a_time(kind: str) -> Iterator[None]:
    """Hold a lock that all processes of this repository share."""
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS / f".{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_jars(kind: str, into: Path, say: Say) -> None:
    """Let Maven resolve and copy; a line is said now and then, because it can take minutes."""
    goal = [COPY, "-f", str(JAVA / f"{kind}.xml"), "-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    said: list[str] = []
    fetched, told = 0, time.monotonic()
    with subprocess.Popen(
        [str(tool("mvn")), "-B", *goal],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as maven:
        for line in maven.stdout or ():
            said.append(line)
            fetched += "Downloaded from" in line
            if time.monotonic() - told > SECONDS_BETWEEN_WORDS:
                told = time.monotonic()
                say(f"servers: {kind}: {fetched} files so far")
    if maven.returncode != 0:
        raise FetchError(f"Maven could not fetch {kind}:\n{''.join(said[-30:])}")


def compile_main(kind: str, folder: Path) -> None:
    """Compile once rather than at each start, and pack it: the JVM's class archive takes jars only."""
    classes = folder / "classes"
    sources = [str(path) for path in sources_of(kind) if path.suffix == ".java"]
    command = [str(tool("javac")), "--release", "17", "-d", str(classes), "-cp", f"{folder}/lib/*", *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FetchError(f"javac could not compile {kind}:\n{done.stderr}")
    with zipfile.ZipFile(folder / "main.jar", "w") as packed:
        for path in sorted(classes.glob("*.class")):
            packed.write(path, path.name)
