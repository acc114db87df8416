from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from dagmanager.cli.framework.arguments import Parser
from dagmanager.cli.framework.neo4j_address import add_address, find_server
from dagmanager.graph.neo4j.server import Server
from servers.neo4j import Neo4jServer
from servers.ports import free_port
from tests.cli.neo4j_words import say
from tests.cli.running import call

pytestmark = pytest.mark.usefixtures("no_settings")
COMMANDS = ("neo4j-init", "neo4j-rollback", "neo4j-backfill", "export-schema")


def parsed(*words: str) -> argparse.Namespace:
    parser = Parser("test", "")
    add_address(parser)
    return parser.parse(words)


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, secret = tmp_path / "dagmanager.yml", tmp_path / "secret"
    file.write_text(
        "dagmanager:\n  neo4j_dsn: bolt://file:1\n  neo4j_user: file\n  neo4j_password: ${MINE}\n"
    )
    secret.write_text("from a file\nand no more\n")
    monkeypatch.setenv("MINE", "taken")
    config = ("--config", str(file))
    assert find_server(parsed(*config)) == Server("bolt://file:1", "file", "taken")
    monkeypatch.setenv("DAGMANAGER_NEO4J_PASSWORD", "set")
    monkeypatch.setenv("DAGMANAGER_NEO4J_USER", "env")
    assert find_server(parsed(*config)) == Server("bolt://file:1", "env", "set")
    flags = ("--uri", "bolt://flag:2", "--user", "flag")
    assert find_server(parsed(*config, *flags, "--password", "")) == Server("bolt://flag:2", "flag", "")
    found = find_server(parsed(*config, *flags, "--password-file", str(secret)))
    assert found == Server("bolt://flag:2", "flag", "from a file")


def test_without_an_address_no_server_is_found() -> None:
    assert find_server(parsed()) is None


def test_a_server_never_shows_its_password() -> None:
    assert "geheim" not in repr(Server("bolt://a:1", "me", "geheim"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --uri"),
        (["--uri", ""], "is not a Neo4j address"),
        (["--uri", "localhost:7687"], "is not a Neo4j address"),
        (["--uri", "http://localhost:7474"], "is not a Neo4j address"),
        (["--uri", "bolt://localhost:99999"], "is not a Neo4j address"),
        (["--uri", "bolt://localhost:7687/quant"], "set the database with `neo4j_database`"),
        (["--uri", "bolt://me:geheim@localhost:7687"], "contains a user or a password"),
        (["--uri", "bolt://h:1", "--password", "a", "--password-file", "b"], "not allowed with"),
        (["--uri", "bolt://h:1", "--password-file", "no-such-file"], "no-such-file"),
        (["--config", "no-such.yml"], "no-such.yml"),
    ],
)
def test_what_is_no_address_is_a_usage_error(command: str, words: list[str], said: str) -> None:
    more = ["--yes"] if command == "neo4j-rollback" else []
    done = say(command, *words, *more)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "geheim" not in done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unreachable_server_is_exit_4(command: str) -> None:
    more = ["--yes"] if command == "neo4j-rollback" else []
    address = f"bolt://127.0.0.1:{free_port()}"
    done = call(command, "--uri", address, "--password", "geheim", *more)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(f"error[unavailable]: neo4j at {address} is unreachable")
    assert "geheim" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.live("neo4j")
def test_a_wrong_password_is_named_and_never_shown(
    neo4j: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`neo4j` is asked for only so that the test is left out where no server can run."""
    secret = tmp_path / "secret"
    secret.write_text("richtig-geheim\n")
    with Neo4jServer(tmp_path / "server", password="richtig-geheim") as server:
        wrong = say("export-schema", "--uri", server.address, "--password", "falsch-geheim")
        assert (wrong.code, wrong.out) == (2, "")
        assert "authentication failed for user 'neo4j'" in wrong.err
        assert "geheim" not in wrong.err
        assert "DAGMANAGER_NEO4J_PASSWORD" in wrong.err, "advice that every command can follow"
        right = say("neo4j-init", "--uri", server.address, "--password-file", str(secret))
        assert (right.code, right.err) == (0, "")
        monkeypatch.setenv("DAGMANAGER_NEO4J_PASSWORD", "richtig-geheim")
        assert say("neo4j-init", "--uri", server.address).out.startswith("0 created")
