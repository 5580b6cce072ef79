"""File systems in qcow2 images, for the disks of guests."""

import os
import subprocess

DISKS = {
    # The lazy initialisation would go on writing for minutes after the first mount.
    "ext4": (256, ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
    "small": (24, ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
    "xfs": (320, ["mkfs.xfs", "-q", "-f"]),
    "btrfs": (256, ["mkfs.btrfs", "-q"]),
    "vfat": (64, ["mkfs.vfat", "-F", "32"]),
}


def make_raw(raw, name, *options):
    mebibytes, mkfs = DISKS[name]
    with open(raw, "wb") as image:
        image.truncate(mebibytes << 20)
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    subprocess.run([*mkfs, *options, str(raw)], check=True, env={**os.environ, "PATH": path},
                   stdout=subprocess.DEVNULL)


def make_disk(folder, name, as_name=None, options=()):
    raw = folder / f"{as_name or name}.raw"
    make_raw(raw, name, *options)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw),
                    str(raw.with_suffix(".qcow2"))], check=True)
    raw.unlink()
