"""The file systems of guest.MIXED: is a frozen layer of each clean as it lies there, and all of it
there that the guest saw completed?"""

import pathlib
import re
import struct
import subprocess
import tempfile

from verify import (Lost, check_ext4, check_quiesced, copy_image, count_records, read_ext4, run)

# The kernel marks a FAT as in use at the mount, in byte 65 of the boot sector and not in that of its
# copy, and takes the mark away at the unmount alone.
VFAT_CLEAN = re.compile(r"fsck\.fat |Dirty bit is set|\s*Automatically removing dirty bit|"
                        r"There are differences between boot sector|This is mostly harmless|"
                        r"  65:01/00$|\s*Not automatically fixing|Leaving filesystem unchanged|"
                        r".*: \d+ files, \d+/\d+ clusters|$")


def missing_tools():
    """What this machine lacks for them, as a sentence, or None."""
    for tool in ("mkfs.vfat", "mkfs.btrfs", "dmsetup", "gcc-12", "make"):
        if subprocess.run(["sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; command -v {tool}"],
                          stdout=subprocess.DEVNULL).returncode != 0:
            return f"not installed: {tool}"
    return None


def check_vfat(raw):
    text = run("fsck.vfat", "-n", raw, ok=(0, 1))
    for line in text.splitlines():
        if not VFAT_CLEAN.match(line):
            raise Lost(f"fsck.vfat -n: {line}\n{text}")


def read_vfat(raw):
    """The bytes of LOG in the root folder of a FAT32."""
    data = pathlib.Path(raw).read_bytes()
    sector, per_cluster, reserved, fats = struct.unpack_from("<HBHB", data, 11)
    fat_sectors, = struct.unpack_from("<I", data, 36)
    root, = struct.unpack_from("<I", data, 44)
    first = (reserved + fats * fat_sectors) * sector
    size = per_cluster * sector

    def chain(cluster):
        parts = []
        while 2 <= cluster < 0x0ffffff8:
            start = first + (cluster - 2) * size
            parts.append(data[start:start + size])
            cluster = struct.unpack_from("<I", data, reserved * sector + 4 * cluster)[0] & 0x0fffffff
        return b"".join(parts)

    folder = chain(root)
    for at in range(0, len(folder), 32):
        if folder[at:at + 11] == b"LOG        ":
            high, = struct.unpack_from("<H", folder, at + 20)
            low, length = struct.unpack_from("<HI", folder, at + 26)
            return chain(high << 16 | low)[:length]
    raise Lost("vfat: there is no log")


def check_btrfs(raw):
    """No error, and no log of single files to replay."""
    run("btrfs", "check", "--readonly", raw)
    if not re.search(r"^log_root\s+0$", run("btrfs", "inspect-internal", "dump-super", raw), re.M):
        raise Lost("btrfs: the log must be replayed: this layer was not frozen")


def read_btrfs(raw):
    with tempfile.TemporaryDirectory(prefix="snapvm-check-") as folder:
        run("btrfs", "restore", raw, folder)
        return (pathlib.Path(folder) / "log").read_bytes()


def check_nested(raw, acked, crashed=False):
    """The file systems in the images of one: as clean as that one itself."""
    for name in ("inner", "stacked"):
        image = raw.with_name(name)
        run("debugfs", "-R", f"dump /{name}.img {image}", raw)
        check_ext4(image)
        count_records(read_ext4(image), acked[name], crashed)


def check_frozen(image, target, name, acked):
    """A frozen layer of guest.MIXED; raises Lost."""
    if name in ("ext4", "xfs"):
        return check_quiesced(image, name, acked[target])
    with tempfile.TemporaryDirectory(prefix="snapvm-check-") as folder:
        raw = pathlib.Path(folder) / "raw"
        copy_image(image, raw)
        if name == "vfat":
            check_vfat(raw)
            data = read_vfat(raw)
        elif name == "btrfs":
            check_btrfs(raw)
            data = read_btrfs(raw)
        else:
            check_ext4(raw)
            check_nested(raw, acked)
            data = read_ext4(raw)
        return count_records(data, acked[target], crashed=False)
