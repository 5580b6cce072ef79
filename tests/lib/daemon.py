"""The daemon under test, with a socket, a state and a guests folder of its own below one folder."""

import contextlib
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

from client import Client
from machine import spawn

SOURCE = pathlib.Path(__file__).resolve().parents[2]
START_TIMEOUT = 20
STOP_TIMEOUT = 10


def build_folder():
    """Where the programs are: SNAPVM_BUILD (set by ./run), the working folder, or build/."""
    for folder in (os.environ.get("SNAPVM_BUILD"), os.getcwd(), SOURCE / "build"):
        if folder and (pathlib.Path(folder) / "config.status").exists():
            return pathlib.Path(folder)
    return SOURCE / "build"


def daemon_program():
    return os.environ.get("SNAPVMD") or str(build_folder() / "snapvmd")


def missing_program():
    """Why no daemon can be started, as a sentence, or None: a reason to skip a test."""
    program = daemon_program()
    return None if os.access(program, os.X_OK) else f"not built: {program}"


class Daemon:
    """`root` is the folder of one test run, the same as of its guests."""

    def __init__(self, root, settings=None, environment=None, arguments=()):
        """`settings` are lines for the configuration file: {section: {key: value}}."""
        self.root = pathlib.Path(root)
        self.socket = self.root / "snapvmd.sock"
        self.state = self.root / "state"
        self.guests = self.root / "guests"
        self.config = self.root / "snapvmd.conf"
        self.log = self.root / "snapvmd.log"
        self.environment = dict(environment or {})
        self.arguments = list(arguments)
        self.process = None
        for folder in (self.state, self.guests):
            folder.mkdir(parents=True, exist_ok=True)
        self.configure(settings or {})

    def configure(self, settings):
        lines = []
        for section, keys in settings.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, **environment):
        """Starts it and waits for READY=1. Further environment holds for this start alone."""
        assert self.process is None, "this daemon runs"
        notify_path = self.root / "notify.sock"
        notify_path.unlink(missing_ok=True)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(notify_path))
        command = [daemon_program(), "--config", self.config, "--socket", self.socket,
                   "--state-dir", self.state, "--guests-dir", self.guests,
                   "--log-level", "debug", *self.arguments]
        with open(self.log, "ab") as log, contextlib.closing(notify):
            self.process = spawn(command, stdout=log, stderr=log, env={
                **os.environ, **self.environment, **environment, "NOTIFY_SOCKET": str(notify_path)})
            self.wait_notified(notify)
        return self

    def wait_notified(self, notify):
        """Until READY=1 has come, or the process has ended without."""
        deadline = time.monotonic() + START_TIMEOUT
        ended = os.pidfd_open(self.process.pid)
        ready = False
        while not ready:
            left = max(0, deadline - time.monotonic())
            awake, _, _ = select.select([notify, ended], [], [], left)
            if notify not in awake:
                break
            ready = b"READY=1" in notify.recv(4096).split(b"\n")
        os.close(ended)
        if not ready:
            status = self.process.poll()
            self.kill()
            what = "not ready in time" if status is None else f"exit {status}"
            raise RuntimeError(f"snapvmd: {what}:\n{self.log_tail()}")

    def log_tail(self, size=3000):
        return self.log.read_text(errors="replace")[-size:]

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self):
        """An ordered stop; returns the exit status."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            status = self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"snapvmd did not stop:\n{self.log_tail()}") from None
        self.process = None
        return status

    def wait_end(self, timeout=STOP_TIMEOUT):
        """For a daemon that was told to crash by itself; returns the exit status."""
        status = self.process.wait(timeout)
        self.process = None
        return status

    def restart(self, **environment):
        """kill -9 and a new start."""
        self.kill()
        return self.start(**environment)

    def client(self, **options):
        return Client(self.socket, **options)

    def wait_domain(self, name, match=lambda domain: domain["connected"], timeout=START_TIMEOUT):
        """The domain as soon as `match` accepts it: events say when to look again."""
        deadline = time.monotonic() + timeout
        with self.client() as client:
            client.subscribe()
            while True:
                for domain in client.call("domain.list")["domains"]:
                    if domain["name"] == name and match(domain):
                        return domain
                client.events.clear()
                while not client.events:
                    client.receive(deadline)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
