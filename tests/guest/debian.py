"""Debian's packages, downloaded and never installed."""

import os
import pathlib
import subprocess
import sys

META_PACKAGE = "linux-image-cloud-amd64"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def dependencies(package):
    """The names of the packages that it depends on; none if apt does not know it."""
    lines = [line.split() for line in output("apt-cache", "depends", package).splitlines()]
    return [words[1] for words in lines if len(words) == 2 and words[0] == "Depends:"]


def version(package):
    shown = output("apt-cache", "show", "--no-all-versions", package)
    return next(v.split()[1] for v in shown.splitlines() if v.startswith("Version:"))


def kernel_package():
    """(name, version) of the package that SNAPVM_GUEST_KERNEL names, or that the meta package
    depends on."""
    package = os.environ.get("SNAPVM_GUEST_KERNEL")
    if package:
        return package, version(package)
    for package in dependencies(META_PACKAGE):
        return package, version(package)
    sys.exit(f"build: apt knows no {META_PACKAGE}: run apt-get update")


def download(package, folder):
    options = ["-q", "-q"]
    if os.geteuid() == 0:
        options += ["-o", "APT::Sandbox::User=root"]
    subprocess.run(["apt-get", *options, "download", package], check=True, cwd=folder,
                   stdout=subprocess.DEVNULL)
    return next(pathlib.Path(folder).glob(f"{package}_*.deb"))
