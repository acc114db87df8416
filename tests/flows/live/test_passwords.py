"""The flow on a broker that asks who it is: let in, turned away in one line, or locked out while it runs."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.launch import Launch
from servers.secured_kafka import MECHANISM, SecuredKafka, make_certificate
from tests.flows.live.sites import LiveSite
from tests.flows.test_poison import submission
from tests.waiting import TIMEOUT_S, until

USER, PASSWORD = "flow", "right-password"
TURNED_AWAY = "check the credentials in kafka_options and this principal's ACLs"
OTHER_LISTENER = "usually a security.protocol in kafka_options that is not the listener's"
Options = dict[str, str]


@pytest.fixture(scope="module")
def broker(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with SecuredKafka(tmp_path_factory.mktemp("guarded"), launch=launch) as started:
        started.add_user(USER, PASSWORD)
        yield started


@pytest.fixture
def site(broker: SecuredKafka, empty_neo4j: str, tmp_path: Path) -> Iterator[LiveSite]:
    """Its tests send and read at the listener that is open to every client."""
    found = LiveSite(tmp_path, broker.address, empty_neo4j, f"t{uuid.uuid4().hex[:10]}.")
    yield found
    found.end()


def options(broker: SecuredKafka, protocol: str) -> Options:
    """What `kafka_options` says when all is well."""
    given = {"security.protocol": protocol, "sasl.mechanism": MECHANISM}
    given |= {"sasl.username": USER, "sasl.password": PASSWORD, "ssl.ca.location": str(broker.certificate)}
    return given


def at(broker: SecuredKafka, listener: str) -> str:
    addresses = {"SASL_PLAINTEXT": broker.password_address, "SASL_SSL": broker.tls_address}
    return addresses.get(listener, broker.address)


def send_one(site: LiveSite, number: int) -> None:
    world = site.prefix.removesuffix(".").encode()
    site.send(submission(number).replace(b'["w"]', b'["%s"]' % world), key=b"s%d" % number)


def statuses(site: LiveSite) -> list[tuple[str, str]]:
    return [(each["strategy_id"], each["status"]) for each in site.answers()]


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_with_the_right_password_records_are_read_and_answered(
    protocol: str, broker: SecuredKafka, site: LiveSite
) -> None:
    there = at(broker, protocol)
    site.settings = {"kafka_dsn": there, "controlbus_dsn": there, "kafka_options": options(broker, protocol)}
    process = site.begin()
    until(site.is_up)
    send_one(site, 1)
    until(lambda: statuses(site) == [("s1", "ok")])
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0, site.log()
    assert len(site.found("controlbus_queue_topic")) >= 1
    assert PASSWORD not in site.log()


@pytest.mark.parametrize(
    ("listener", "protocol", "changed", "words"),
    [
        ("SASL_PLAINTEXT", "SASL_PLAINTEXT", {"sasl.password": "wrong"}, "invalid credentials"),
        ("SASL_SSL", "SASL_SSL", {"sasl.password": "wrong"}, "invalid credentials"),
        ("SASL_SSL", "SASL_SSL", {"sasl.username": "unknown"}, "invalid credentials"),
        ("SASL_SSL", "SASL_SSL", {"sasl.mechanism": "PLAIN"}, f"supported mechanisms: {MECHANISM}"),
        ("SASL_SSL", "SASL_SSL", {"ssl.ca.location": "other"}, "certificate could not be verified"),
        ("PLAINTEXT", "SASL_PLAINTEXT", {}, "not valid in current SASL state"),
    ],
)
def test_failed_authentication_at_start_names_cause_and_setting(
    listener: str, protocol: str, changed: Options, words: str, broker: SecuredKafka, site: LiveSite
) -> None:
    given = options(broker, protocol) | changed
    if "ssl.ca.location" in changed:
        given["ssl.ca.location"] = str(site.folder / "other.pem")
        make_certificate(site.folder / "other.pem", site.folder / "other.key")
    site.settings = {"kafka_dsn": at(broker, listener), "kafka_options": given, "kafka_request_seconds": 2}
    ended, said = site.refused()
    assert ended == 2, said
    assert said.startswith("error[settings]: kafka_options: Kafka at ")
    assert words in said
    assert said.endswith(TURNED_AWAY)
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("listener", "protocol"),
    [
        ("PLAINTEXT", "SASL_SSL"),
        ("SASL_PLAINTEXT", "PLAINTEXT"),
        ("SASL_SSL", "PLAINTEXT"),
        ("SASL_SSL", "SASL_PLAINTEXT"),
    ],
)
def test_a_listener_that_just_hangs_up_may_be_one_that_is_starting_an_outage_with_a_hint(
    listener: str, protocol: str, broker: SecuredKafka, site: LiveSite
) -> None:
    """What the client library says of it is a race of who closes first: the hint is ours."""
    site.settings = {
        "kafka_dsn": at(broker, listener),
        "kafka_options": options(broker, protocol),
        "kafka_request_seconds": 2,
    }
    ended, said = site.refused()
    assert ended == 4, said
    assert said.startswith("error[unavailable]: Kafka at ")
    assert OTHER_LISTENER in said
    assert PASSWORD not in said


def test_the_controlbus_is_another_cluster_with_credentials_of_its_own(
    broker: SecuredKafka, site: LiveSite
) -> None:
    wrong = options(broker, "SASL_SSL") | {"sasl.password": "wrong"}
    site.settings = {"controlbus_dsn": broker.tls_address, "controlbus_options": wrong}
    site.settings["kafka_request_seconds"] = 2
    code, said = site.refused()
    assert code == 2
    assert said.startswith(f"error[settings]: controlbus_options: Kafka at {broker.tls_address} ")
    site.settings["controlbus_options"] = {"sasl.pasword": "x"}
    code, said = site.refused()
    assert code == 2
    assert said.startswith(
        "error[wrong_type]: `controlbus_options.sasl.pasword`: the client library has no such option"
    )


def test_a_flow_without_access_waits_reports_it_and_resumes_with_access(
    broker: SecuredKafka, site: LiveSite
) -> None:
    user, password = "passing", "until-expelled"
    broker.add_user(user, password)
    site.settings = {
        "kafka_dsn": broker.password_address,
        "controlbus_dsn": broker.password_address,
        "kafka_request_seconds": 2,
        "kafka_options": options(broker, "SASL_PLAINTEXT")
        | {"sasl.username": user, "sasl.password": password},
    }
    process = site.begin()
    until(site.is_up)
    send_one(site, 1)
    until(lambda: statuses(site) == [("s1", "ok")])
    broker.remove_user(user)
    until(lambda: TURNED_AWAY in site.log())
    # The first thread that notices reports it: the poll asks for topics too.
    until(lambda: "waiting: input: Kafka at " in (site.folder / "alive").read_text())
    send_one(site, 2)
    assert process.poll() is None, site.log()
    broker.add_user(user, password)
    until(lambda: statuses(site) == [("s1", "ok"), ("s2", "ok")])
    until(lambda: "answers again" in site.log())
    until(lambda: (site.folder / "alive").read_text() == "ok\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0, site.log()
    assert "Traceback" not in site.log()
