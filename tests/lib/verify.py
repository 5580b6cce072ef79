"""Is anything lost? Holds images against what the guest saw completed.

check_quiesced()  for a layer that was frozen: clean as it lies there, before anything is replayed
Reader            for an image after a crash: a second guest's kernel replays the journals of a copy
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from guest import FILE_SYSTEMS, Guest, image_blockdev

RECORD = re.compile(rb"([1-9][0-9]*) 0{200}\n")


class Lost(AssertionError):
    """The image is not what was promised."""


def run(*command, ok=(0,)):
    """What a tool printed; its exit status must be one of `ok`, where None allows all."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env={**os.environ, "PATH": path, "LC_ALL": "C"})
    text = done.stdout.decode(errors="replace")
    if ok is not None and done.returncode not in ok:
        raise Lost(f"{' '.join(map(str, command))}: exit {done.returncode}\n{text}")
    return text


def copy_image(source, path, driver="raw"):
    """Flattens an image into a file. `source` is a qcow2 image's path or a -blockdev object."""
    blockdev = source if isinstance(source, dict) else image_blockdev(source)
    run("qemu-img", "convert", "-O", driver, "json:" + json.dumps(blockdev), path)


def count_records(data, acked, crashed):
    """The number of the last record in a writer's log: all from 1 on must be there, whole.

    A crash may leave one more that was not acknowledged, or a part of it.
    """
    number, end = 0, 0
    for found in RECORD.finditer(data):
        if found.start() != end or int(found[1]) != number + 1:
            break
        number, end = number + 1, found.end()
    tail = data[end:]
    if len(tail) > (210 if crashed else 0):
        raise Lost(f"the log is broken after record {number}: {tail[:40]!r}")
    if number < acked:
        raise Lost(f"lost: the log ends with record {number}, the guest saw {acked} completed")
    return number


def read_ext4(raw):
    return subprocess.run(["/sbin/debugfs", "-R", "cat /log", str(raw)], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def read_xfs(raw):
    """A file's bytes by the map of its blocks: no tool reads files of an XFS image."""
    text = run("xfs_db", "-r", "-c", "sb 0", "-c", "p blocksize agblocks", "-c", "path /log",
               "-c", "p core.size", "-c", "bmap", raw)
    field = dict(re.findall(r"^([\w.]+) = (\d+)$", text, re.M))
    block_size, size = int(field["blocksize"]), int(field["core.size"])
    data = bytearray(size)
    extent = re.compile(r"offset (\d+) startblock \d+ \((\d+)/(\d+)\) count (\d+) flag 0")
    with open(raw, "rb") as image:
        for offset, group, block, count in extent.findall(text):
            image.seek((int(group) * int(field["agblocks"]) + int(block)) * block_size)
            start = int(offset) * block_size
            data[start:start + int(count) * block_size] = image.read(int(count) * block_size)
    return bytes(data[:size])


def check_ext4(raw):
    """No error, and no journal to replay: the feature flag is set while there is one."""
    run("e2fsck", "-fn", raw)
    if "needs_recovery" in run("dumpe2fs", "-h", raw):
        raise Lost("ext4: the journal must be replayed: this layer was not frozen")


# What `xfs_repair -n` says of a sound file system, and of one that was frozen: see check_xfs().
XFS_PROGRESS = re.compile(r"\s*-|Phase \d|No modify flag set|Cannot get host filesystem geometry|"
                          r"Repair may fail if there is a sector size|the image and the host|$")
XFS_FROZEN = re.compile(r"ALERT: The filesystem has valuable metadata|ignored because the -n|"
                        r"which may be resolved by first mounting|sb_(fdblocks|icount|ifree) ")


def xfs_log(raw):
    """What is in the log between its tail and its head: (LSN of the record, kind, place)."""
    lsn, items = None, []
    for line in run("xfs_logprint", "-t", raw).splitlines():
        record = re.match(r"LOG REC AT LSN cycle (\d+) block (\d+)", line)
        item = re.match(r"\s+([A-Z]+):.*(?:blkno|ino):0x(\w+)", line)
        if record:
            lsn = int(record[1]) << 32 | int(record[2])
        elif item:
            items.append((lsn, item[1], int(item[2], 16)))
    return items


def xfs_needs_replay(raw, item):
    """Whether replaying an item of the log would change the file system.

    The kernel puts the superblock into the log as the last act of every freeze, so that the next
    mount after a crash looks for open but unlinked files. The log's tail is then the start of the
    last record before it, which is on disk already: an inode that carries the record's number, or
    a later one, is skipped by the replay.
    """
    lsn, kind, place = item
    if kind == "BUF":
        return place != 0
    if kind != "INODE":
        return True
    text = run("xfs_db", "-r", "-c", f"inode {place}", "-c", "p v3.lsn", raw)
    return int(text.split("=")[1], 0) < lsn


def check_xfs(raw, frozen):
    """No error; if frozen, nothing in the log that is not on disk as well.

    The free-space counters of the superblock are summed up only by the freeze's last record, so
    xfs_repair, which does not replay, finds them to differ: these are no fault.
    """
    text = run("xfs_repair", "-n", raw, ok=(0, 1) if frozen else (0,))
    for line in text.splitlines():
        if not XFS_PROGRESS.match(line) and not (frozen and XFS_FROZEN.match(line)):
            raise Lost(f"xfs_repair -n: {line}\n{text}")
    logged = [item for item in xfs_log(raw) if xfs_needs_replay(raw, item)] if frozen else []
    if logged:
        raise Lost(f"xfs: the log must be replayed: this layer was not frozen: {logged[:3]}")


def check_quiesced(image, file_system, acked):
    """A frozen layer, as it lies there: clean, nothing to replay, the log whole. Its end."""
    with tempfile.TemporaryDirectory(prefix="snapvm-check-") as folder:
        raw = pathlib.Path(folder) / "raw"
        copy_image(image, raw)
        if file_system == "ext4":
            check_ext4(raw)
            data = read_ext4(raw)
        else:
            check_xfs(raw, frozen=True)
            data = read_xfs(raw)
    return count_records(data, acked, crashed=False)


class Reader:
    """Looks into copies of images as the next start would. `root` is the folder of a run."""

    def __init__(self, root):
        self.root = root

    def check(self, sources, acked):
        """{target: last record} of the images, each a path or a -blockdev object; raises Lost."""
        with tempfile.TemporaryDirectory(prefix="check-", dir=self.root) as folder:
            guest = Guest("reader", folder, role="reader")
            state = guest.saved_state()
            guest.create_disks()
            for target, source in sources.items():
                guest.image(target).unlink()
                copy_image(source, guest.image(target), "qcow2")
            with guest:
                guest.load(state)
                logs = {target: self.read_log(guest, target) for target in sources}
                guest.quit()
            ends = {}
            for target, data in logs.items():
                try:
                    ends[target] = count_records(data, acked[target], crashed=True)
                    self.check_replayed(guest.image(target), FILE_SYSTEMS[target])
                except Lost as error:
                    raise Lost(f"{target}: {error}") from None
            return ends

    @staticmethod
    def read_log(guest, target):
        """Mounting replays the journal."""
        place = f"/run/{target}"
        guest.sh(f"mkdir -p {place} && mount -t {FILE_SYSTEMS[target]} /dev/{target} {place}")
        text = guest.sh(f"cat {place}/log && umount {place}")
        return text.encode()

    @staticmethod
    def check_replayed(image, file_system):
        raw = image.with_suffix(".raw")
        copy_image(image, raw)
        if file_system == "ext4":
            check_ext4(raw)
        else:
            check_xfs(raw, frozen=False)


def copy_away(image, folder):
    """A plain copy of a layer that nobody writes to any more, as a backup tool takes it."""
    place = pathlib.Path(folder) / pathlib.Path(image).name
    shutil.copyfile(image, place)
    return place
