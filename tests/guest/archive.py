"""A cpio archive in the form that the kernel unpacks as its first file system.

Several may stand one behind another in one file: what a later one holds wins.
"""

import os
import pathlib

from debian import output


class Archive:
    def __init__(self):
        self.data = bytearray()
        self.folders = set()
        self.count = 0

    def entry(self, path, mode, content=b""):
        self.count += 1
        name = path.encode() + b"\0"
        fields = (self.count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self.data += bytes(-len(self.data) % 4) + content
        self.data += bytes(-len(self.data) % 4)

    def folder(self, path):
        if path and path not in self.folders:
            self.folder(os.path.dirname(path))
            self.folders.add(path)
            self.entry(path, 0o040755)

    def file(self, path, content, mode=0o755):
        path = path.lstrip("/")
        self.folder(os.path.dirname(path))
        self.entry(path, 0o100000 | mode, content)

    def link(self, path, target):
        self.folder(os.path.dirname(path))
        self.entry(path, 0o120777, target.encode())

    def program(self, path, source):
        """A program of this machine, with its libraries where the loader finds them."""
        self.file(path, pathlib.Path(source).read_bytes())
        words = output("ldd", source).split()
        for library in sorted({word for word in words if word.startswith("/")}):
            self.file(library, pathlib.Path(library).read_bytes())

    def finish(self):
        self.entry("TRAILER!!!", 0)
        return bytes(self.data)

    def modules(self, group, names, modules):
        """Modules that init loads in that order by `load GROUP`."""
        self.file(f"modules/{group}", "".join(f"{n}.ko\n" for n in names).encode(), 0o644)
        for name in names:
            self.file(f"modules/{name}.ko", modules[name], 0o644)
