"""A client of a guest agent, of qemu-ga or of the guest's kernel, that sees every byte."""

import json
import socket
import time

from machine import TIMEOUT, TestTimeout


class AgentError(Exception):
    """The agent said no."""


class AgentClient:
    """A connection. Lines are sent and read as they are; call() and sync() are for the rest."""

    def __init__(self, guest):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(guest.sockets / "agent.sock"))
        self.buffer = b""
        self.last_id = time.monotonic_ns() % 1000000

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        """Sends bytes, or an object as a line."""
        self.sock.sendall(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")

    def execute(self, *commands):
        """Sends commands in one write."""
        self.send(b"".join(json.dumps({"execute": command}).encode() + b"\n"
                           for command in commands))

    def line(self, timeout=TIMEOUT):
        """The next line, without its end."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(1 << 16)
            except TimeoutError:
                raise TestTimeout(f"the agent is silent behind {self.buffer!r}") from None
            if not data:
                raise ConnectionError("the agent's socket was closed")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def answer(self, timeout=TIMEOUT):
        """The next answer, whole."""
        return json.loads(self.line(timeout))

    def result(self, timeout=TIMEOUT):
        answer = self.answer(timeout)
        if "error" in answer:
            raise AgentError(answer["error"]["desc"])
        return answer["return"]

    def call(self, command, timeout=TIMEOUT, **arguments):
        self.send({"execute": command, **({"arguments": arguments} if arguments else {})})
        return self.result(timeout)

    def sync(self, timeout=TIMEOUT):
        """Starts anew: whatever comes before the answer is dropped. What was dropped is returned."""
        self.last_id += 1
        self.send(b"\xff" + json.dumps({"execute": "guest-sync-delimited",
                                        "arguments": {"id": self.last_id}}).encode() + b"\n")
        dropped = []
        while True:
            line = self.line(timeout)
            if line.startswith(b"\xff") and json.loads(line[1:])["return"] == self.last_id:
                return dropped
            dropped.append(line)

    def frozen(self):
        """Whether it says that file systems are frozen."""
        return self.call("guest-fsfreeze-status") == "frozen"
