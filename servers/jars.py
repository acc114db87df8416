"""The servers' jars: fetched once by Maven, with the small Java mains compiled beside them.

Each kind of server has a folder named by a digest of its sources, so that another version is another folder. No repository
is named here: the machine's Maven settings decide where jars come from.
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
PROGRESS_SECONDS = 3

Say = Callable[[str], None]


class FetchError(Exception):
    """Maven or the compiler failed; the message has the end of its output."""


def tool(name: str) -> str | None:
    """The path of a Java tool: in JAVA_HOME, else on PATH."""
    home = os.environ.get("JAVA_HOME")
    return (home and shutil.which(name, path=f"{home}/bin")) or shutil.which(name)


def missing_tools() -> list[str]:
    """The tools that are not installed; versions are not checked."""
    return [name for name in ("java", "javac", "mvn") if tool(name) is None]


def sources_of(kind: str) -> list[Path]:
    """The files that determine the jars of a kind."""
    return [JAVA / f"{kind}.xml", JAVA / "ParentWatch.java", JAVA / f"{MAINS[kind]}.java"]


def folder_of(kind: str) -> Path:
    """The folder of a kind's jars, which may not exist yet."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources_of(kind))).hexdigest()
    return JARS / f"{kind}-{digest[:12]}"


def archive_of(kind: str) -> Path:
    """The JVM's class archive, once `servers.archive` has written it."""
    return folder_of(kind) / "classes.jsa"


def class_path(kind: str) -> str:
    """The value for `java -cp`."""
    folder = folder_of(kind)
    return f"{folder}/main.jar:{folder}/lib/*"


def fetch(kind: str, say: Say) -> None:
    """Fetch the jars unless they are present. Idempotent; safe in several processes at once; may block for minutes."""
    if folder_of(kind).exists():
        return
    with one_at_a_time(kind):
        if folder_of(kind).exists():
            return  # another process was faster
        started = time.monotonic()
        say(f"servers: fetching the jars of {kind} with Maven, once")
        new = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=JARS))
        try:
            copy_jars(kind, new / "lib", say)
            compile_main(kind, new)
            new.rename(folder_of(kind))
        finally:
            shutil.rmtree(new, ignore_errors=True)
        say(f"servers: {kind} is ready after {time.monotonic() - started:.0f} s")


@contextmanager
def one_at_a_time(kind: str) -> Iterator[None]:
    """Hold a file lock that all processes of this repository share; waits without limit."""
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS / f".{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_jars(kind: str, into: Path, say: Say) -> None:
    """Let Maven resolve and copy; reports progress every few seconds, because it can take minutes."""
    goal = [COPY, "-f", str(JAVA / f"{kind}.xml"), "-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    output: list[str] = []
    fetched, reported = 0, time.monotonic()
    with subprocess.Popen(
        [str(tool("mvn")), "-B", *goal],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as maven:
        for line in maven.stdout or ():
            output.append(line)
            fetched += "Downloaded from" in line
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                say(f"servers: {kind}: {fetched} files so far")
    if maven.returncode != 0:
        raise FetchError(f"Maven could not fetch {kind}:\n{''.join(output[-30:])}")


def compile_main(kind: str, folder: Path) -> None:
    """Compile the main and pack it into a jar: the JVM's class archive accepts jars only."""
    classes = folder / "classes"
    sources = [str(path) for path in sources_of(kind) if path.suffix == ".java"]
    command = [str(tool("javac")), "--release", "17", "-d", str(classes), "-cp", f"{folder}/lib/*", *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FetchError(f"javac could not compile {kind}:\n{done.stderr}")
    with zipfile.ZipFile(folder / "main.jar", "w") as packed:
        for path in sorted(classes.glob("*.class")):
            packed.write(path, path.name)
