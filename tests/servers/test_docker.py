"""Containers, for machines without Java: command lines, and the shell script that watches a container's input."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from servers import docker
from servers.docker import WATCH, run
from servers.launch import DockerLaunch, JavaLaunch, LaunchPlan
from tests.waiting import TIMEOUT_S

FOLDER = Path("/data/of/the/server")


def test_a_container_shares_network_user_and_folder_with_its_caller() -> None:
    line = run("kafka", "one", FOLDER, FOLDER / "server.properties", "cluster-id")
    joined = " ".join(line)
    assert line[:4] == ["docker", "run", "--rm", "--interactive"]
    assert "--network host" in joined
    assert f"--volume {FOLDER}:{FOLDER}" in joined
    assert "--user " in joined
    assert "--name one" in joined


def test_kafka_formats_its_folder_and_serves_from_our_settings() -> None:
    line = run("kafka", "one", FOLDER, FOLDER / "server.properties", "cluster-id")
    image = line.index(docker.IMAGES["kafka"])
    assert line[image + 1 : image + 4] == ["-c", WATCH, "watch"]
    assert line[-2:] == [str(FOLDER / "server.properties"), "cluster-id"]


def test_neo4j_finds_our_settings_in_their_folder() -> None:
    line = run("neo4j", "one", FOLDER, FOLDER / "conf" / "neo4j.conf", "")
    assert f"NEO4J_CONF={FOLDER / 'conf'}" in line
    assert line[-1] == "console"


def test_images_and_jars_are_of_one_version() -> None:
    for kind, image in docker.IMAGES.items():
        version = image.partition(":")[2].removesuffix("-community")
        assert (
            f"<version>{version}</version>" in (Path(docker.__file__).parent / f"java/{kind}.xml").read_text()
        )


def test_signals_that_the_client_cannot_forward_have_commands() -> None:
    assert set(DockerLaunch.commands) == {signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT}
    assert not JavaLaunch.commands


def test_a_launch_runs_the_plan() -> None:
    plan = LaunchPlan("kafka", FOLDER, FOLDER / "server.properties", 512, "one", "cluster-id")
    assert DockerLaunch().command(plan) == run(
        "kafka", "one", FOLDER, FOLDER / "server.properties", "cluster-id"
    )


@pytest.mark.parametrize("way", ["end of input", "SIGTERM", "by itself"])
def test_the_watch_ends_with_its_server_and_its_input(way: str) -> None:
    server = ["sh", "-c", "echo up; exec sleep " + ("0.2" if way == "by itself" else str(2 * TIMEOUT_S))]
    with subprocess.Popen(
        ["sh", "-c", WATCH, "watch", *server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        assert watch.stdin is not None
        assert watch.stdout.readline() == "up\n"
        if way == "end of input":
            watch.stdin.close()
        elif way == "SIGTERM":
            watch.send_signal(signal.SIGTERM)
        watch.wait(TIMEOUT_S)
        watch.stdin.close()
