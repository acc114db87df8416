"""One server: started, asked, stopped, killed, paused, and started again on the same data and port."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from servers.jars import Say
from servers.launch import HOW_TO_GET, Launch, LaunchPlan, chosen_launch

START_SECONDS = 120.0
STOP_SECONDS = 30.0
TAIL_LINES = 40


class ServerError(Exception):
    """A server did not come up; the message holds the end of its log."""


def silent(_: str) -> None:
    """Say nothing."""


class Server(ABC):
    """A process that dies with whoever started it: its standard input is a pipe that only we hold open."""

    kind: str

    def __init__(self, folder: Path, port: int, heap_mb: int, launch: Launch | None = None) -> None:
        chosen = launch or chosen_launch()
        if chosen is None:
            raise ServerError(f"no way to run {self.kind}: {HOW_TO_GET}")
        self.folder = folder.absolute()
        self.port = port
        self.heap_mb = heap_mb
        self.log = self.folder / f"{self.kind}.out"
        self.launch = chosen
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client is given."""

    @property
    @abstractmethod
    def settings_path(self) -> Path:
        """Where the settings file is written, before each start."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """What it is started with."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a real client is served."""

    def plan(self) -> LaunchPlan:
        """What a launch must know; the name is unlike any other on the machine."""
        name = f"qmtl-{self.kind}-{os.getpid()}-{self.port}"
        return LaunchPlan(self.kind, self.folder, self.settings_path, self.heap_mb, name)

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process exists, answering or not."""
        return self._process is not None and self._process.poll() is None

    def start(self, say: Say = silent) -> Self:
        """Come up on the data that is there, and return when a client is served."""
        self.begin(say)
        return self.wait()

    def begin(self, say: Say = silent) -> Self:
        """Start without waiting: nodes of a cluster need each other to come up."""
        if self.is_running:
            raise ServerError(f"{self.kind} on port {self.port} runs already")
        self.launch.fetch(self.kind, say)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings_path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{key}={value}\n" for key, value in self.settings().items()]
        self.settings_path.write_text("".join(lines))
        with self.log.open("ab") as log:
            # A group of its own: Ctrl-C at the terminal is for us to turn into an orderly stop. And should we die
            # while it is paused, the kernel wakes a group that nobody can wake any more.
            self._process = subprocess.Popen(
                self.launch.command(self.plan()),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                process_group=0,
            )
        return self

    def wait(self, seconds: float = START_SECONDS) -> Self:
        """Until a client is served; a server that ends or takes too long is stopped and shown."""
        deadline = time.monotonic() + seconds
        while not self.answers():
            if not self.is_running:
                self._reap(0)
                raise ServerError(f"{self.kind} ended instead of coming up:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"{self.kind} did not come up in {seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.02)
        return self

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End in order, and by force after a while. Idempotent."""
        if not self.is_running:
            self._reap(0)
            return
        self.resume()
        self._send(signal.SIGTERM)
        try:
            self._reap(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End at once, as a power cut would for this one process. Idempotent."""
        if self.is_running:
            self._send(signal.SIGKILL)
        self._reap(STOP_SECONDS)

    def pause(self) -> None:
        """Go silent without closing anything: connections stay, and no answer comes once this returns."""
        self._send(signal.SIGSTOP)
        if self._process is not None and signal.SIGSTOP not in self.launch.commands:
            # Threads stop one after the other; the signal alone lets a busy machine answer a while longer.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Go on where it was paused; nothing when it was not."""
        self._send(signal.SIGCONT)

    def restart(self) -> Self:
        """Stop in order and come up again: same data, same port."""
        self.stop()
        return self.start()

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"--- {self.log}", *lines[-TAIL_LINES:]])

    def _send(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        if number in self.launch.commands:
            # Not checked: a container that is not paused refuses to be woken, and that is well.
            told = [*self.launch.commands[number], self.plan().name]
            subprocess.run(told, capture_output=True, check=False)
        else:
            self._process.send_signal(number)

    def _reap(self, seconds: float) -> None:
        if self._process is not None:
            self._process.wait(seconds)
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
