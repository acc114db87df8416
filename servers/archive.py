"""The JVM's class archives: made once after the jars were fetched, they halve what each start costs."""

from __future__ import annotations

import time
from pathlib import Path

from servers import jars
from servers.folders import OwnedFolder
from servers.jars import Say
from servers.kafka import KafkaServer
from servers.launch import QUICK, JavaLaunch
from servers.neo4j import Neo4jServer, wipe
from servers.process import Server

# Writing an archive of 100 MB takes a busy machine a while.
DUMP_SECONDS = 180.0


def make(kind: str, say: Say) -> None:
    """Run a server once and let its JVM write down the classes it loaded; nothing when that was done before."""
    if jars.archive_of(kind).exists():
        return
    with jars.one_at_a_time(kind), OwnedFolder() as folder:
        if jars.archive_of(kind).exists():
            return  # somebody else was quicker
        started = time.monotonic()
        written = folder.path / "classes.jsa"
        launch = JavaLaunch(
            (*QUICK, f"-XX:ArchiveClassesAtExit={written}", "-Xlog:cds=error"), archived=False
        )
        exercised(kind, folder.path / kind, launch).stop(DUMP_SECONDS)
        if written.exists():
            # Copied beside its place and renamed into it, so that no one ever sees half of it.
            beside = jars.archive_of(kind).with_suffix(".new")
            beside.write_bytes(written.read_bytes())
            beside.rename(jars.archive_of(kind))
            say(f"servers: {kind} starts quickly now; that took {time.monotonic() - started:.0f} s")
        else:
            say(f"servers: no class archive for {kind}; it works without, but starts slowly")


def exercised(kind: str, folder: Path, launch: JavaLaunch) -> Server:
    """A server that has loaded what tests will need."""
    if kind == "kafka":
        return KafkaServer(folder, launch=launch).start()
    server = Neo4jServer(folder, launch=launch)
    server.start()
    wipe(server.address)
    return server
