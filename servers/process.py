"""One server process: start, stop, kill, pause, and start again on the same data and port."""

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
    """A server did not start; the message has the end of its log."""


def silent(_: str) -> None:
    """Discard progress lines."""


class Server(ABC):
    """A server process that ends with its parent: its standard input is a pipe that only the parent holds open."""

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
        """The address for clients."""

    @property
    @abstractmethod
    def settings_path(self) -> Path:
        """The settings file, written before each start."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The contents of the settings file."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client is served. Blocks for a few seconds at most."""

    def plan(self) -> LaunchPlan:
        """What the launch needs; the name is unique on this machine."""
        name = f"qmtl-{self.kind}-{os.getpid()}-{self.port}"
        return LaunchPlan(self.kind, self.folder, self.settings_path, self.heap_mb, name)

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process exists, serving clients or not."""
        return self._process is not None and self._process.poll() is None

    def start(self, say: Say = silent) -> Self:
        """Start on the existing data and block until a client is served; raises as `wait`."""
        self.begin(say)
        return self.wait()

    def begin(self, say: Say = silent) -> Self:
        """Start without waiting: the nodes of a cluster become ready only together."""
        if self.is_running:
            raise ServerError(f"{self.kind} on port {self.port} runs already")
        self.launch.fetch(self.kind, say)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings_path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{key}={value}\n" for key, value in self.settings().items()]
        self.settings_path.write_text("".join(lines))
        with self.log.open("ab") as log:
            # In its own process group: Ctrl-C at the terminal must reach only the parent, which stops servers in order.
            # And if the parent dies while the server is paused, the kernel resumes an orphaned group.
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
        """Block until a client is served. `ServerError` when the process ends or takes longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while not self.answers():
            if not self.is_running:
                self._reap(0)
                raise ServerError(f"{self.kind} ended during its start:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"{self.kind} did not start in {seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.02)
        return self

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop in order, killed after `seconds`. Idempotent; blocks until it has ended."""
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
        """Kill with SIGKILL. Idempotent; blocks until it has ended."""
        if self.is_running:
            self._send(signal.SIGKILL)
        self._reap(STOP_SECONDS)

    def pause(self) -> None:
        """Stop with SIGSTOP: connections stay open, and no reply is sent after this returns."""
        self._send(signal.SIGSTOP)
        if self._process is not None and signal.SIGSTOP not in self.launch.commands:
            # Threads stop one after the other: after the signal alone, a busy machine still replies for a while.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Continue with SIGCONT; no effect when it was not paused."""
        self._send(signal.SIGCONT)

    def restart(self) -> Self:
        """Stop in order and start again on the same data and port."""
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
            # Not checked: unpausing a container that is not paused fails, which is fine.
            command = [*self.launch.commands[number], self.plan().name]
            subprocess.run(command, capture_output=True, check=False)
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
