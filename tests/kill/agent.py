"""The agent of a guest that has none: a scripted qemu-ga behind the socket that the daemon uses.

It takes its time for each command, so that a kill hits it in the middle, and keeps count of what
matters: how often the guest was frozen, and how often it was thawed again. It dies with its QEMU.
"""

import os
import random
import selectors
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

from fakeagent import Agent  # noqa: E402
from fakefaults import Faults  # noqa: E402

SLOWEST = 0.004
FILE_SYSTEMS = [{"mountpoint": "/"}, {"mountpoint": "/data"}]


class CountingAgent(Agent):
    def __init__(self, path):
        super().__init__(path, FILE_SYSTEMS, lambda *_: None, Faults())
        self.frozen_times = self.thawed_times = 0

    def freeze(self, mountpoints):
        count = super().freeze(mountpoints)
        self.frozen_times += count > 0
        return count

    def thaw(self):
        count = super().thaw()
        self.thawed_times += count > 0
        return count


class AgentServer(threading.Thread):
    """Serves one client at a time, as QEMU's socket does."""

    def __init__(self, path, dice):
        super().__init__(daemon=True)
        self.agent = CountingAgent(str(path))
        self.dice = random.Random(dice.random())
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.ended, self.end = socket.socketpair()
        self.start()

    def run(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.ended, selectors.EVENT_READ)
            selector.register(self.listener, selectors.EVENT_READ)
            client = None
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self.ended in ready:
                    break
                if client in ready:
                    if not self.serve(client):
                        selector.unregister(client)
                        client.close()
                        client = None
                        selector.register(self.listener, selectors.EVENT_READ)
                elif self.listener in ready:
                    client, _ = self.listener.accept()
                    self.agent.connected = True
                    selector.unregister(self.listener)
                    selector.register(client, selectors.EVENT_READ)
            for sock in (client, self.listener):
                if sock:
                    sock.close()

    def serve(self, client):
        """Takes bytes in and answers; False when the client has left."""
        try:
            data = client.recv(1 << 16)
        except OSError:
            data = b""
        if data:
            self.agent.take(data)
            time.sleep(self.dice.uniform(0, SLOWEST))
            self.agent.run()
        else:
            self.agent.client_left()
        out, self.agent.out = b"".join(self.agent.out), []
        try:
            client.sendall(out)
        except OSError:
            pass        # it answers to nobody
        return bool(data)

    def kill(self):
        self.end.close()
        self.join()
        self.ended.close()
