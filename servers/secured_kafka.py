"""A broker that asks who one is: beside its plain listener, one for passwords and one for passwords over TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by its stub's rules
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from servers.kafka import KafkaServer
from servers.launch import Launch
from servers.ports import HOST, free_port

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 4096
ANSWER_S = 30.0
# A connection has to prove itself again after this long, so that a user who was removed is soon turned away.
REAUTHENTICATE_MS = 2_000


class SecuredKafka(KafkaServer):
    """Users are made and removed while it runs; `address` stays open to everybody.

    Its certificate is its own authority: whoever trusts `certificate` trusts it, and nobody else does.
    Needs the program `openssl`.
    """

    def __init__(self, folder: Path, *, launch: Launch | None = None) -> None:
        """Ports and a folder; the certificate is made at the start."""
        super().__init__(folder, launch=launch)
        self.password_port, self.tls_port = free_port(), free_port()

    @property
    def password_address(self) -> str:
        """Takes users' passwords: SASL_PLAINTEXT."""
        return f"{HOST}:{self.password_port}"

    @property
    def tls_address(self) -> str:
        """The same behind TLS: SASL_SSL."""
        return f"{HOST}:{self.tls_port}"

    @property
    def certificate(self) -> Path:
        """What a client must trust."""
        return self.folder / "certificate.pem"

    def settings(self) -> dict[str, str]:
        """With both listeners, and the key and certificate written out: a container sees no file of ours."""
        plain = super().settings()
        guarded = {"SASL_PLAINTEXT": self.password_port, "SASL_SSL": self.tls_port}
        added = {
            name: ",".join([plain[name], *(f"{door}://{HOST}:{port}" for door, port in guarded.items())])
            for name in ("listeners", "advertised.listeners")
        }
        protocols = ",".join(f"{door}:{door}" for door in guarded)
        added["listener.security.protocol.map"] = f"{plain['listener.security.protocol.map']},{protocols}"
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        for door in guarded:
            prefix = f"listener.name.{door.lower()}.{MECHANISM.lower()}"
            added |= {
                f"{prefix}.sasl.jaas.config": login,
                f"{prefix}.connections.max.reauth.ms": str(REAUTHENTICATE_MS),
            }
        key = self.folder / "key.pem"
        if not self.certificate.exists():
            make_certificate(self.certificate, key)
        return (
            plain
            | added
            | {
                "sasl.enabled.mechanisms": MECHANISM,
                "ssl.keystore.type": "PEM",
                "ssl.keystore.certificate.chain": _on_one_line(self.certificate),
                "ssl.keystore.key": _on_one_line(key),
            }
        )

    def add_user(self, user: str, password: str) -> None:
        """Make the user, or change the password; it holds when this returns."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, ITERATIONS)
        self._alter(UserScramCredentialUpsertion(user, info, password.encode()))

    def remove_user(self, user: str) -> None:
        """Its connections end within `REAUTHENTICATE_MS`, and it gets no new ones."""
        self._alter(UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256))

    def _alter(self, change: UserScramCredentialAlteration) -> None:
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for done in admin.alter_user_scram_credentials([change]).values():
            done.result(ANSWER_S)


def make_certificate(certificate: Path, key: Path) -> None:
    """Good for this machine's loopback address, for a day."""
    said = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST},DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode != 0:
        raise RuntimeError(f"openssl made no certificate:\n{said.stderr}")


def _on_one_line(pem: Path) -> str:
    """As a Java properties file holds it."""
    return pem.read_text().strip().replace("\n", "\\n")
