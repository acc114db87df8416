"""Class archives (CDS) of the JVM: written once after the jars were fetched, they halve the time of each start."""

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

# Writing an archive of 100 MB takes long on a busy machine.
DUMP_SECONDS = 180.0


def make(kind: str, say: Say) -> None:
    """Run a server once and let its JVM archive the loaded classes. Idempotent; blocks for about 20 s the first time."""
    if jars.archive_of(kind).exists():
        return
    with jars.one_at_a_time(kind), OwnedFolder() as folder:
        if jars.archive_of(kind).exists():
            return  # another process was faster
        started = time.monotonic()
        written = folder.path / "classes.jsa"
        launch = JavaLaunch(
            (*QUICK, f"-XX:ArchiveClassesAtExit={written}", "-Xlog:cds=error"), archived=False
        )
        exercised(kind, folder.path / kind, launch).stop(DUMP_SECONDS)
        if written.exists():
            # Written beside its place and renamed, so that no process reads half an archive.
            beside = jars.archive_of(kind).with_suffix(".new")
            beside.write_bytes(written.read_bytes())
            beside.rename(jars.archive_of(kind))
            say(f"servers: class archive of {kind} written in {time.monotonic() - started:.0f} s")
        else:
            say(f"servers: no class archive for {kind}: it starts more slowly without")


def exercised(kind: str, folder: Path, launch: JavaLaunch) -> Server:
    """A running server that has loaded the classes that tests need."""
    if kind == "kafka":
        return KafkaServer(folder, launch=launch).start()
    server = Neo4jServer(folder, launch=launch)
    server.start()
    wipe(server.address)
    return server
