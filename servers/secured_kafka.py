"""A broker with authentication: a plain listener, one for SCRAM passwords, and one for passwords over TLS."""

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
# Connections must authenticate again after this long, so that a removed user is soon rejected.
REAUTHENTICATE_MS = 2_000


class SecuredKafka(KafkaServer):
    """A broker whose users are added and removed while it runs; `address` needs no password.

    The certificate is self-signed: clients need `certificate` as their CA. Needs the program `openssl`.
    """

    def __init__(self, folder: Path, *, launch: Launch | None = None) -> None:
        """The certificate is created at the start."""
        super().__init__(folder, launch=launch)
        self.password_port, self.tls_port = free_port(), free_port()

    @property
    def password_address(self) -> str:
        """The listener with passwords: SASL_PLAINTEXT."""
        return f"{HOST}:{self.password_port}"

    @property
    def tls_address(self) -> str:
        """The listener with passwords over TLS: SASL_SSL."""
        return f"{HOST}:{self.tls_port}"

    @property
    def certificate(self) -> Path:
        """The CA certificate for clients, a PEM file."""
        return self.folder / "certificate.pem"

    def settings(self) -> dict[str, str]:
        """With both listeners; key and certificate are inline, because a container cannot read other files."""
        plain = super().settings()
        guarded = {"SASL_PLAINTEXT": self.password_port, "SASL_SSL": self.tls_port}
        added = {
            name: ",".join(
                [plain[name], *(f"{protocol}://{HOST}:{port}" for protocol, port in guarded.items())]
            )
            for name in ("listeners", "advertised.listeners")
        }
        protocols = ",".join(f"{protocol}:{protocol}" for protocol in guarded)
        added["listener.security.protocol.map"] = f"{plain['listener.security.protocol.map']},{protocols}"
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        for protocol in guarded:
            prefix = f"listener.name.{protocol.lower()}.{MECHANISM.lower()}"
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
        """Add the user or change the password; in effect when this returns. Blocks for at most 30 s."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, ITERATIONS)
        self._alter(UserScramCredentialUpsertion(user, info, password.encode()))

    def remove_user(self, user: str) -> None:
        """Remove the user: its connections end within `REAUTHENTICATE_MS`, new ones are rejected."""
        self._alter(UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256))

    def _alter(self, change: UserScramCredentialAlteration) -> None:
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for done in admin.alter_user_scram_credentials([change]).values():
            done.result(ANSWER_S)


def make_certificate(certificate: Path, key: Path) -> None:
    """Create a self-signed certificate for the loopback address, valid for a day."""
    done = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST},DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"openssl created no certificate:\n{done.stderr}")


def _on_one_line(pem: Path) -> str:
    """As the value of a Java property."""
    return pem.read_text().strip().replace("\n", "\\n")
