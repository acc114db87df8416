"""The flow on three brokers: every topic has three replicas, and the controller dies while processes are killed.

`python -m chaos --brokers 3` does the same for longer, with every fault of chaos/cluster_faults.py.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from chaos.campaign import Campaign
from chaos.cluster_faults import ClusterTarget
from chaos.report import audit_text
from chaos.site import Site
from chaos.small_disk import NAMESPACES, SmallDisk
from servers.launch import Launch
from servers.proxied_cluster import ProxiedCluster
from tests.waiting import until

SEED = os.environ.get("QMTL_CHAOS_SEED") or str(random.SystemRandom().randrange(100_000))
KILLS = 3
# Shorter than in a trial: a broker is replaced sooner.
SOON_FENCED = {"broker.session.timeout.ms": "2000"}


@pytest.fixture(scope="module")
def cluster(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedCluster]:
    with ProxiedCluster(tmp_path_factory.mktemp("brokers"), settings=SOON_FENCED, launch=launch) as brokers:
        yield brokers


@pytest.fixture
def site(cluster: ProxiedCluster, empty_neo4j: str, tmp_path: Path) -> Iterator[Site]:
    name = f"k{SEED}t{random.SystemRandom().randrange(10_000)}w"
    found = Site(name, tmp_path, cluster.address, empty_neo4j, shares=1, replicas=3)
    found.open()
    yield found
    found.close()


def test_the_death_of_the_controller_changes_no_answer(cluster: ProxiedCluster, site: Site) -> None:
    campaign = Campaign(site, SEED, KILLS)
    target = ClusterTarget(cluster, None, random.Random(SEED))
    failed: list[BaseException] = []

    def fault() -> None:
        try:
            target.faults()["kafka: controller killed"](0.0)
        except BaseException as error:  # noqa: BLE001 - checked by the test's own thread
            failed.append(error)

    breaking = threading.Thread(target=fault)
    breaking.start()
    campaign.run_kills()
    breaking.join()
    assert failed == []
    report = campaign.audit_site()
    text = f"seed {SEED}\n{audit_text(report.counts, report.findings)}"
    print(text)
    assert report.findings == (), text
    assert campaign.counts.kills.total() == KILLS
    assert report.counts["topics at the broker"] > 0
    evidence = site.evidence()
    assert {shape.replicas for shape in (evidence.shapes or {}).values()} == {3}


def test_a_broker_that_is_cut_off_is_replaced_and_takes_part_again_later(cluster: ProxiedCluster) -> None:
    target = ClusterTarget(cluster, None, random.Random(0))
    target.wait_in_sync()
    first = cluster.controller()
    assert first in {1, 2, 3}
    others = ",".join(each.address for each in cluster.brokers if each.node_id != first)

    def seen_by_the_others() -> set[int]:
        listed = AdminClient({"bootstrap.servers": others, "log_level": 0}).list_topics(timeout=60)
        return set(listed.brokers)

    cluster.cut_off(first)
    try:
        until(lambda: cluster.controller() not in {0, first}, "no other controller was elected")
        until(lambda: first not in seen_by_the_others(), "the broker that is cut off still counts as up")
    finally:
        cluster.rejoin(first)
    target.wait_in_sync()
    assert target.leader() in {1, 2, 3}


def test_without_a_small_disk_no_disk_is_filled(cluster: ProxiedCluster, tmp_path: Path) -> None:
    rng = random.Random(0)
    without = ClusterTarget(cluster, None, rng).faults()
    with_disk = ClusterTarget(cluster, SmallDisk(tmp_path / "disk"), rng).faults()
    assert with_disk.keys() - without.keys() == {"kafka: disk of a broker full"}


WRITES = """
import errno, pathlib, sys
from chaos.small_disk import SmallDisk
folder = pathlib.Path(sys.argv[1])
with SmallDisk(folder) as disk:
    disk.fill()
    try:
        (folder / "more").write_bytes(b"x")
    except OSError as error:
        print(errno.errorcode[error.errno])
    disk.clear()
    print((folder / "more").write_bytes(b"x"))
print(sorted(folder.iterdir()))
"""


def test_a_full_disk_accepts_no_byte_until_it_is_cleared(tmp_path: Path) -> None:
    """In a mount namespace of its own, with or without root; no other process sees the disk."""
    said = []
    for namespace in NAMESPACES:
        command = [*namespace, sys.executable, "-c", WRITES, str(tmp_path / "".join(namespace))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said.append(done.stdout.split() or [done.stderr])
    assert ["ENOSPC", "1", "[]"] in said or all("not permitted" in " ".join(each) for each in said), said
    assert not (tmp_path / "".join(NAMESPACES[0]) / "more").exists()
