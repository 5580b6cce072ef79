"""A small file system that a test fills and makes room on.

It is a tmpfs in a mount namespace of the test program's own, so that nothing of it is left whatever
becomes of the test: private_mounts() starts the program again in there.
"""

import os
import subprocess
import sys

PRIVATE = "SNAPVM_TEST_PRIVATE_MOUNTS"


def private_mounts():
    """Why this program may mount nothing, or None, in a namespace of its own then."""
    if os.environ.get(PRIVATE):
        return None
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--"]
    try:
        tried = subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", "/mnt"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        return "no unshare"
    if tried.returncode:
        return "no file system can be mounted: " + tried.stderr.decode(errors="replace").strip()
    os.environ[PRIVATE] = "1"
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    return None


class Room:
    """A file system at `path`, of as many KiB as there is need of and no more."""

    def __init__(self, path):
        self.path = str(path)
        os.makedirs(self.path)
        self.mount("size=64m")

    def mount(self, *options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", self.path],
                       check=True)

    def leave(self, kib):
        """What is free from now on."""
        stat = os.statvfs(self.path)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize // 1024
        self.mount("remount", f"size={used + kib}k")

    def make(self):
        self.mount("remount", "size=64m")

    def remove(self):
        subprocess.run(["umount", "--lazy", self.path], check=False)
