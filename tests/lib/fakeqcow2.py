"""The little of qcow2 that the fake QEMU and the tests need, on real files.

An image that `create` makes is a valid, empty qcow2 (version 3): `qemu-img check` finds nothing to
say, a real QEMU opens it. It takes half a millisecond where starting qemu-img takes twenty.
`read_header` tells what an image claims to be: that is what decides which chain a guest gets when
it is started from a file.
"""

import os
import struct

CLUSTER = 65536
HEADER = struct.Struct(">4sIQIIQIIQQIIQ QQQII")
MAGIC = b"QFI\xfb"
END_OF_EXTENSIONS = 0
BACKING_FORMAT = 0xE2792ACA


class Header:
    def __init__(self, fmt, size, backing=None, backing_format=None):
        self.format = fmt
        self.virtual_size = size
        self.backing = backing
        self.backing_format = backing_format


def _head(size, backing, backing_format):
    """The first cluster: header, extensions, backing name."""
    l1_size = max(1, -(-size // (CLUSTER * CLUSTER // 8)))
    extensions = b""
    if backing_format:
        text = backing_format.encode()
        extensions += struct.pack(">II", BACKING_FORMAT, len(text))
        extensions += text.ljust(-(-len(text) // 8) * 8, b"\0")
    extensions += struct.pack(">II", END_OF_EXTENSIONS, 0)
    name = backing.encode() if backing else b""
    name_offset = 104 + len(extensions) if name else 0
    fields = (MAGIC, 3, name_offset, len(name), 16, size, 0, l1_size, 3 * CLUSTER, CLUSTER, 1, 0, 0,
              0, 0, 0, 4, 104)
    return HEADER.pack(*fields) + extensions + name, l1_size


def create(path, size, backing=None, backing_format="qcow2"):
    """Makes an empty image: header, refcount table, refcount block, L1 table, one cluster each (L1
    maybe more)."""
    head, l1_size = _head(size, backing, backing_format if backing else None)
    clusters = 3 + -(-l1_size * 8 // CLUSTER)
    with open(path, "xb") as image:
        image.write(head)
        image.seek(CLUSTER)
        image.write(struct.pack(">Q", 2 * CLUSTER))
        image.seek(2 * CLUSTER)
        image.write(struct.pack(">H", 1) * clusters)
        image.truncate(clusters * CLUSTER)


def read_header(path):
    """A file that does not begin like a qcow2 is a raw image."""
    with open(path, "rb") as image:
        head = image.read(CLUSTER)
        if head[:4] != MAGIC:
            return Header("raw", os.fstat(image.fileno()).st_size)
    fields = HEADER.unpack_from(head)
    version, name_offset, name_length, size = fields[1], fields[2], fields[3], fields[5]
    backing = head[name_offset:name_offset + name_length].decode() if name_offset else None
    at, backing_format = (fields[17] if version >= 3 else 72), None
    while at + 8 <= CLUSTER:
        kind, length = struct.unpack_from(">II", head, at)
        if kind == END_OF_EXTENSIONS:
            break
        if kind == BACKING_FORMAT:
            backing_format = head[at + 8:at + 8 + length].decode()
        at += 8 + -(-length // 8) * 8
    return Header("qcow2", size, backing, backing_format)


def allocate(path):
    """Gives an image its first data cluster, as the guest's first write does: from then on its L1
    table tells that it is not empty. A raw image has nothing of that."""
    with open(path, "r+b") as image:
        fields = HEADER.unpack(image.read(HEADER.size))
        l1_offset, table_offset = fields[8], fields[9]
        if fields[0] != MAGIC or _word(image, l1_offset):
            return
        table = -(-os.fstat(image.fileno()).st_size // CLUSTER) * CLUSTER
        data = table + CLUSTER
        image.truncate(data + CLUSTER)
        refcounts = _word(image, table_offset)
        for offset in (table, data):
            image.seek(refcounts + offset // CLUSTER * 2)
            image.write(struct.pack(">H", 1))
        for offset, value in ((table, data), (l1_offset, table)):
            image.seek(offset)
            image.write(struct.pack(">Q", value | 1 << 63))


def _word(image, offset):
    image.seek(offset)
    return struct.unpack(">Q", image.read(8))[0]


def write_backing(path, backing, backing_format):
    """Rewrites the header as QEMU does at the end of an intermediate commit or a stream; None takes
    the name out."""
    size = read_header(path).virtual_size
    head, _ = _head(size, backing, backing_format if backing else None)
    with open(path, "r+b") as image:
        old = image.read(HEADER.size)
        fields = list(HEADER.unpack(head[:HEADER.size]))
        # Where tables lie and what features are on stays as it was; only the name moves.
        keep = HEADER.unpack(old)
        for field in (4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16):
            fields[field] = keep[field]
        image.seek(0)
        image.write((HEADER.pack(*fields) + head[HEADER.size:]).ljust(CLUSTER, b"\0"))
        os.fsync(image.fileno())


def full_backing(path, header):
    """A relative backing name is relative to the folder of the image that says it."""
    if header.backing is None:
        return None
    return os.path.normpath(os.path.join(os.path.dirname(path), header.backing))


def chain(path):
    """The files that a guest started from `path` would get, top first. Raises OSError when one is
    missing."""
    files = []
    while path is not None:
        if path in files:
            raise OSError(f"{path}: the chain is a loop")
        files.append(path)
        path = full_backing(path, read_header(path))
    return files
