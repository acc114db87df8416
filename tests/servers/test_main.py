"""`python -m servers`: its arguments, and the settings file that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagmanager.settings.source import load
from servers.__main__ import is_writable, main, settings_of


@pytest.mark.parametrize(
    "words", [[], ["walk"], ["fetch", "file"], ["run", "a", "b"], ["run", "--brokers", "2"]]
)
def test_other_arguments_are_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "python -m servers run FILE" in capsys.readouterr().err


def test_the_written_settings_name_the_servers(tmp_path: Path) -> None:
    file = tmp_path / "dagmanager.yml"
    assert is_writable(file)
    file.write_text(settings_of("127.0.0.1:1", "bolt://127.0.0.1:2"))
    settings, findings = load(str(file), {})
    assert (settings.kafka_dsn, settings.controlbus_dsn) == ("127.0.0.1:1", "127.0.0.1:1")
    assert settings.neo4j_dsn == "bolt://127.0.0.1:2"
    assert findings == ()
    assert is_writable(file), "the next trial has other ports"


def test_other_settings_files_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dagmanager.yml"
    file.write_text("profile: prod\n")
    assert main(["run", str(file)]) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert file.read_text() == "profile: prod\n"
