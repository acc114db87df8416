"""Command lines for containers, for machines without Java. Pure except for `answers`.

A container shares the host's network and runs as the calling user, so that settings, ports and data folders are the same
as with Java. It ends when its standard input is closed, which happens whenever the Docker client ends, even by SIGKILL.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

IMAGES = {"kafka": "apache/kafka:4.1.1", "neo4j": "neo4j:5.26.18-community"}

# The Docker client forwards SIGTERM, but not signals that kill or stop the client itself.
COMMANDS: Mapping[signal.Signals, tuple[str, ...]] = {
    signal.SIGKILL: ("docker", "kill"),
    signal.SIGSTOP: ("docker", "pause"),
    signal.SIGCONT: ("docker", "unpause"),
}

# The first process of a container: it starts the server, forwards SIGTERM, and kills the server when standard input is
# closed. A background job has no standard input, hence descriptor 3.
WATCH = """
exec 3<&0
"$@" </dev/null &
server=$!
trap 'kill -TERM "$server"' TERM
{ cat <&3 >/dev/null; kill -KILL "$server" 2>/dev/null; } &
while kill -0 "$server" 2>/dev/null; do wait "$server"; done
"""

FORMAT_AND_SERVE = (
    '/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id "$2" --config "$1" && '
    'exec /opt/kafka/bin/kafka-server-start.sh "$1"'
)


def pull(kind: str) -> list[str]:
    """Pull an image; fast when it is present."""
    return ["docker", "pull", "--quiet", IMAGES[kind]]


def run(kind: str, name: str, folder: Path, settings: Path, cluster: str) -> list[str]:
    """`docker run` in the foreground, for one server with all its files in one folder."""
    line = ["docker", "run", "--rm", "--interactive", "--init=false", "--name", name, "--network", "host"]
    line += ["--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{folder}:{folder}"]
    if kind == "kafka":
        line += ["--env", f"LOG_DIR={folder}/logs"]
        server = ["sh", "-c", FORMAT_AND_SERVE, "kafka", str(settings), cluster]
    else:
        line += ["--env", f"NEO4J_CONF={settings.parent}"]
        server = ["/var/lib/neo4j/bin/neo4j", "console"]
    return [*line, "--entrypoint", "sh", IMAGES[kind], "-c", WATCH, "watch", *server]


def answers() -> bool:
    """Whether a Docker engine runs, not only the client is installed. Blocks for at most 20 s."""
    if shutil.which("docker") is None:
        return False
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(asked, capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
