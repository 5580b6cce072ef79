"""A plain client of the daemon: JSON-RPC 2.0 over a Unix socket, one JSON text a line."""

import collections
import json
import socket
import time

TIMEOUT = 60


class RpcError(Exception):
    """The daemon said no. `kind` is what a program tests; `data` holds the further members."""

    def __init__(self, method, error):
        self.code = error["code"]
        self.message = error["message"]
        self.data = error.get("data") or {}
        self.kind = self.data.get("kind")
        super().__init__(f"{method}: {self.kind} ({self.code}): {self.message}")


class Client:
    """One connection. Answers may come in any order; events that arrive meanwhile are kept."""

    def __init__(self, path, timeout=TIMEOUT):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self.timeout = timeout
        self.buffer = b""
        self.last_id = 0
        self.methods = {}
        self.answers = {}
        self.events = collections.deque()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, method, **params):
        """Sends a request, returns its id for result(). `for_` stands for the parameter `for`."""
        self.last_id += 1
        params = {name.rstrip("_"): value for name, value in params.items()}
        request = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        self.methods[self.last_id] = method
        return self.last_id

    def receive(self, deadline):
        """Takes in one message: an answer or an event."""
        while b"\n" not in self.buffer:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.sock.recv(1 << 16)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        message = json.loads(line)
        if message.get("method") == "event":
            self.events.append(message["params"])
        else:
            self.answers[message["id"]] = message

    def result(self, request, timeout=None):
        """The result of a request that was sent; raises RpcError."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while request not in self.answers:
            self.receive(deadline)
        answer = self.answers.pop(request)
        if "error" in answer:
            raise RpcError(self.methods.pop(request), answer["error"])
        return answer["result"]

    def call(self, method, **params):
        return self.result(self.send(method, **params))

    def subscribe(self, **params):
        return self.call("event.subscribe", **params)["seq"]

    def wait_event(self, kind, match=lambda event: True, timeout=None):
        """The next event of a kind that `match` accepts; those before it are dropped."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            while self.events:
                event = self.events.popleft()
                if event["kind"] == kind and match(event):
                    return event
            self.receive(deadline)
