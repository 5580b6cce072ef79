"""QEMU's block graph as data, and the commands that show it.

A *node* is one driver instance: a format (`qcow2`, `raw`) over a protocol node (`file`), perhaps
with a backing node below. A *backend* is what a guest device hangs on: it has a root node. A block
job puts a *filter* (`mirror_top`, `commit_top`) between a backend and its root while it runs.

What a reader should know of the answers:
 - `query-named-block-nodes` lists all nodes, the youngest first, without saying who hangs on whom.
 - A node that was opened with an explicit `"backing": null` shows a `json:{...}` name until
   something is attached below it; `image.backing-filename` is what its header said when it was
   opened.
 - A filter that nobody named is *implicit*: query-blockstats and query-block look through it.
 - Nodes without a name from the user are called `#block` and a number, another one in each process.
"""

import fcntl
import json
import os
import struct

import fakeqcow2
from fakecontent import image_key


class Killed(Exception):
    """QEMU dies here, and undoes nothing."""


class QmpError(Exception):
    def __init__(self, desc, cls="GenericError"):
        super().__init__(desc)
        self.cls = cls
        self.desc = desc


def hold_lock(fd, read_only):
    """The advisory locks by which another process, qemu-img for one, sees the image in use: byte
    100 + p says that permission p is taken, byte 200 + p that it is not shared (0 read, 1 write, 3
    resize)."""
    rw = not read_only
    for byte, held in ((100, True), (201, True), (203, True), (101, rw), (103, rw)):
        kind = fcntl.F_RDLCK if held else fcntl.F_UNLCK
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))


def drop_lock(fd):
    for byte in (100, 101, 103, 201, 203):
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK,
                    struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, byte, 1, 0))


def others_write(fd):
    """Whether another process has the right to write to the file."""
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 101, 1, 0)
    kind, = struct.unpack_from("h", fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    return kind != fcntl.F_UNLCK


class Node:
    def __init__(self, name, driver):
        self.name = name
        self.driver = driver
        self.filename = None
        self.file = None            # the protocol node below a format node
        self.backing = None
        self.read_only = False
        self.writable = True        # how it was opened, whatever it is now
        self.implicit = False       # a filter that nobody named
        self.user_owned = True      # by blockdev-add or -blockdev: only blockdev-del closes it
        self.no_backing = False     # opened with "backing": null, nothing attached yet
        self.header = None
        self.key = None
        self.image_fd = None        # of a protocol node: holds the image locks

    @property
    def is_filter(self):
        return self.driver in ("mirror_top", "commit_top", "copy-on-read")

    def shown_name(self):
        if self.no_backing and self.header.backing:
            return "json:" + json.dumps({"backing": None, "driver": self.driver,
                                         "file": {"driver": "file", "filename": self.filename}})
        return self.filename


class Backend:
    """A guest's drive: `device` is the id of a -drive (else empty), `qdev` the path or id of the
    device."""

    def __init__(self, device, qdev, root, removable=False):
        self.device = device
        self.qdev = qdev
        self.root = root
        self.removable = removable


class Graph:
    def __init__(self):
        self.nodes = {}             # name -> Node, the oldest first
        self.backends = []
        self.auto_names = 0
        self.inactive = False       # a migration has ended: the images are somebody else's

    # ---- building ----

    def auto_name(self):
        self.auto_names += 1
        return f"#block{(os.getpid() * 7 + self.auto_names * 37) % 900 + 100}{self.auto_names}"

    def find(self, name):
        if name not in self.nodes:
            raise QmpError(f"Cannot find device='{name}' nor node-name='{name}'")
        return self.nodes[name]

    def resolve(self, name):
        """A command's `device` or `node`: the id of a drive, or a node's name."""
        for backend in self.backends:
            if backend.device and backend.device == name:
                if backend.root is None:
                    raise QmpError(f"Device '{name}' has no medium")
                return self.nodes[backend.root]
        return self.find(name)

    def add(self, node):
        self.nodes[node.name] = node
        return node

    def open(self, options, user_owned=True):
        """blockdev-add: checks and opens; nothing is left behind when it fails. Returns the new
        node."""
        name = options.get("node-name")
        if user_owned and name is None:
            raise QmpError("'node-name' must be specified for the root node")
        if name is not None and name.startswith("#"):
            raise QmpError(f"Invalid node-name: '{name}'")
        if name in self.nodes or any(b.device == name for b in self.backends if b.device):
            raise QmpError(f"Duplicate nodes with node-name='{name}'")
        if options["driver"] == "file":
            return self.add(self._protocol(options, name, user_owned))
        return self._format(options, name, user_owned)

    def _protocol(self, options, name, user_owned):
        node = Node(name or self.auto_name(), "file")
        node.filename = options["filename"]
        node.user_owned = user_owned
        node.read_only = options.get("read-only", False)
        try:
            node.image_fd = os.open(node.filename, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise QmpError(f"Could not open '{node.filename}': {error.strerror}") from None
        node.key = image_key(node.filename)
        node.header = fakeqcow2.Header("file", os.fstat(node.image_fd).st_size)
        hold_lock(node.image_fd, node.read_only)
        return node

    def _format(self, options, name, user_owned):
        below = options["file"]
        read_only = options.get("read-only", False)
        if isinstance(below, str):
            protocol, fresh = self.find(below), False
        else:
            below = dict(below, **{"read-only": read_only})
            protocol, fresh = self._protocol(below, below.get("node-name"), False), True
        if fresh:
            self.add(protocol)
        try:
            node = self._over(protocol, options, name, user_owned)
        except QmpError:
            if fresh:
                self._forget(protocol)
            raise
        return node

    def _over(self, protocol, options, name, user_owned):
        read_only = options.get("read-only", False)
        if not read_only:
            self._check_lock(protocol)
        node = Node(name or self.auto_name(), options["driver"])
        node.user_owned = user_owned
        node.filename, node.key, node.file = protocol.filename, protocol.key, protocol.name
        node.read_only, node.writable = read_only, not read_only
        node.header = fakeqcow2.read_header(node.filename)
        if node.driver == "raw":
            node.header = fakeqcow2.Header("raw", os.stat(node.filename).st_size)
        elif node.header.format != node.driver:
            raise QmpError("Image is not in qcow2 format")
        self.add(node)
        try:
            self._open_backing(node, options)
        except QmpError:
            del self.nodes[node.name]
            raise
        return node

    def _open_backing(self, node, options):
        if "backing" in options:
            node.no_backing = options["backing"] is None
            if isinstance(options["backing"], str):
                backing = self.find(options["backing"])
                node.backing = backing.name
        elif node.header.backing:
            name = fakeqcow2.full_backing(node.filename, node.header)
            if any(n.filename == name and n.writable and not n.read_only
                   for n in self.nodes.values()):
                raise QmpError('Could not open backing file: Failed to get shared "write" lock')
            backing = self.open({"driver": node.header.backing_format or "qcow2", "read-only": True,
                                 "file": {"driver": "file", "filename": name}}, user_owned=False)
            node.backing = backing.name

    def _check_lock(self, protocol):
        """Two writers of one file: the second one does not get its lock."""
        for node in self.nodes.values():
            same = node.file and node.file != protocol.name and node.key == protocol.key
            if same and not node.read_only:
                raise QmpError('Failed to get "write" lock')

    def close(self, name, jobs=()):
        """blockdev-del: only what nothing else uses."""
        node = self.nodes.get(name)
        if node is None:
            raise QmpError(f"Failed to find node with node-name='{name}'")
        if not node.user_owned:
            raise QmpError(f"Node {name} is not owned by the monitor")
        for job in jobs:
            if name in job.busy():
                raise QmpError(
                    f"Node '{name}' is busy: block device is in use by block job: {job.type}")
        for parent in self.nodes.values():
            if parent.backing == name and not parent.is_filter:
                raise QmpError(
                    f"Node '{name}' is busy: node is used as backing hd of '{parent.name}'")
        if self.users(name) or any(name in job.own_backends() for job in jobs):
            raise QmpError(f"Node {name} is in use")
        self._forget(node)

    def _forget(self, node):
        del self.nodes[node.name]
        if node.image_fd is not None:
            os.close(node.image_fd)
        for below in (node.file, node.backing):
            if below in self.nodes and not self.nodes[below].user_owned and not self.users(below):
                self._forget(self.nodes[below])

    def users(self, name):
        """Who keeps a node open: parents, backends; a job's own hold is on its filter."""
        return ([n.name for n in self.nodes.values() if name in (n.file, n.backing)]
                + [b.qdev for b in self.backends if b.root == name])

    # ---- shapes ----

    def chain(self, name):
        """Node names from `name` down to the bottom."""
        names = []
        while name is not None:
            names.append(name)
            name = self.nodes[name].backing
        return names

    def layer(self, name):
        """The first node of the chain that is no filter."""
        return next(n for n in self.chain(name) if not self.nodes[n].is_filter)

    def images(self, name):
        """Content keys of a chain, filters left out."""
        return [self.nodes[n].key for n in self.chain(name) if not self.nodes[n].is_filter]

    def backends_of(self, name):
        return [b for b in self.backends if b.root == name]

    def swap_root(self, old, new):
        for backend in self.backends_of(old):
            backend.root = new

    def insert_filter(self, name, driver, above):
        node = Node(name or self.auto_name(), driver)
        node.implicit = name is None
        node.user_owned = False
        node.read_only = driver == "commit_top"
        below = self.nodes[above]
        node.header, node.filename, node.backing = below.header, below.filename, above
        self.add(node)
        for parent in self.nodes.values():
            if parent.backing == above and parent is not node:
                parent.backing = node.name
        self.swap_root(above, node.name)
        return node

    def remove_filter(self, name):
        node = self.nodes.pop(name)
        for parent in self.nodes.values():
            if parent.backing == name:
                parent.backing = node.backing
        self.swap_root(name, node.backing)

    def set_backing(self, name, backing):
        """Attaches a backing node and makes it read-only, as a backing file is; the header on disk
        is not touched."""
        node = self.nodes[name]
        node.backing, node.no_backing = backing, False
        self.set_read_only(backing, True)

    def set_read_only(self, name, value):
        node = self.nodes[name]
        node.read_only = value
        if node.file:
            self.nodes[node.file].read_only = value
            if not self.inactive:
                hold_lock(self.nodes[node.file].image_fd, value)

    def protocols(self):
        return [node for node in self.nodes.values() if node.image_fd is not None]

    def inactivate(self):
        self.inactive = True
        for node in self.protocols():
            drop_lock(node.image_fd)

    def activate(self):
        """All or none."""
        if not self.inactive:
            return
        for node in self.protocols():
            if not node.read_only and others_write(node.image_fd):
                raise QmpError('Failed to get "write" lock')
        self.inactive = False
        for node in self.protocols():
            hold_lock(node.image_fd, node.read_only)

    def drop_unused(self):
        """Nodes of a -drive vanish with their last user."""
        for node in list(self.nodes.values()):
            kept = node.user_owned or node.is_filter or self.users(node.name)
            if node.name in self.nodes and not kept:
                self._forget(node)
