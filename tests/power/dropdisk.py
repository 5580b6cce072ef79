"""A file system that forgets what was not synced, mounted for a test: see dropfs.c."""

import contextlib
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile

from daemon import build_folder
from machine import spawn

OWN_MOUNTS = "SNAPVM_TEST_MOUNTS"


def dropfs():
    return build_folder() / "tests" / "power" / "dropfs"


def missing():
    """Why nothing can be mounted here, or None. Begins the program again in a mount namespace of its
    own, where nothing stays mounted, however it ends."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.W_OK):
        return "to mount a file system needs root and /dev/fuse"
    if not dropfs().exists():
        return "built without libfuse3"
    if OWN_MOUNTS not in os.environ:
        os.environ[OWN_MOUNTS] = "yes"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    return None


class DropDisk:
    """`root` is where it is mounted, in `place`, a new folder below `folder`."""

    def __init__(self, folder):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="snapvm-power-", dir=folder))
        self.store, self.root = self.place / "store", self.place / "root"
        self.store.mkdir()
        self.root.mkdir()
        self.mount()

    def mount(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as table:
            changes = select.poll()
            changes.register(table, select.POLLPRI | select.POLLERR)
            self.server = spawn([dropfs(), "-f", "-s", self.store, self.root])
            while not os.path.ismount(self.root):
                changes.poll(1000)
                if self.server.poll() is not None:
                    raise RuntimeError("dropfs ended")

    def unmount(self):
        subprocess.run(["umount", self.root], check=True)
        self.server.wait()

    def order(self, command):
        """Commands are names of files, and are refused as such."""
        with contextlib.suppress(OSError):
            (self.root / f".{command}").touch()

    def sync(self):
        self.order("sync")

    def cut(self, share, seed):
        """The end of power, of which `share` percent of what was not synced survive: every call
        fails from now on, until `replace`."""
        self.order(f"cut-{share}-{seed}")

    def replace(self):
        """Mounts what was left, once nobody has anything open there."""
        self.unmount()
        shutil.rmtree(self.store)
        os.rename(f"{self.store}.after", self.store)
        self.mount()

    def close(self):
        self.unmount()
        shutil.rmtree(self.place, ignore_errors=True)
