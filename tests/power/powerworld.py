"""The world of a test, with all that it has on a disk that forgets what was not synced."""

import suite
from dropdisk import DropDisk


class PowerWorld(suite.World):
    def __init__(self, root):
        self.disk = DropDisk(root)
        super().__init__(self.disk.root)
        self.daemon.log = self.disk.place / "snapvmd.log"

    def prepared(self):
        self.disk.sync()

    def die(self, machine):
        """The host's end, with nothing left of what was not synced, and its next start."""
        self.disk.cut(0, 0)
        self.daemon.kill()
        machine.kill()
        self.disk.replace()
        self.daemon.start()

    def close(self):
        super().close()
        self.disk.close()
