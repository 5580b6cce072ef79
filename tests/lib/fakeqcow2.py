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
    table tells that it is not empty. Where a snapshot inside has the same table, it gets a copy of
    its own. A raw image has nothing of that."""
    with open(path, "r+b") as image:
        fields = HEADER.unpack(image.read(HEADER.size))
        l1_offset, table_offset = fields[8], fields[9]
        if fields[0] != MAGIC:
            return
        if _word(image, l1_offset):
            _own_table(image)
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


def _own_table(image):
    change = _Snapshots(image)
    table = _word(image, change.l1_offset)
    if table & COPIED:
        return
    image.seek(table & CLUSTER_OF)
    copy = change.allocate(image.read(CLUSTER))
    change.count(table & CLUSTER_OF, -1)
    change.put(change.l1_offset, struct.pack(">Q", copy | COPIED))


def _word(image, offset):
    image.seek(offset)
    return struct.unpack(">Q", image.read(8))[0]


# ---- snapshots inside an image ----

ROW = struct.Struct(">QIHHIIQII")
EXTRA = struct.Struct(">QQQ")       # the size of the memory once more, of the disk, and a counter
COPIED = 1 << 63                    # in an entry of a table: nobody else refers to the cluster
CLUSTER_OF = (1 << 56) - 512


class Inside:
    """A snapshot inside an image, with its copy of the table that finds the clusters."""

    def __init__(self, name, number, l1_offset, size, memory=0):
        self.name, self.id, self.l1_offset, self.size = name, number, l1_offset, size
        self.memory = memory        # bytes of the guest's memory that are said to be there

    def row(self, l1_size):
        number, name = self.id.encode(), self.name.encode()
        data = ROW.pack(self.l1_offset, l1_size, len(number), len(name), 0, 0, 0,
                        self.memory & 0xffffffff, EXTRA.size)
        data += EXTRA.pack(self.memory, self.size, (1 << 64) - 1) + number + name
        return data + bytes(-len(data) % 8)


class _Snapshots:
    """An image that is open for a change of its snapshots; its clusters are counted as they are
    referred to."""

    def __init__(self, image):
        self.image = image
        image.seek(0)
        self.fields = list(HEADER.unpack(image.read(HEADER.size)))
        self.size, self.l1_size, self.l1_offset = (self.fields[n] for n in (5, 7, 8))
        self.refcounts = _word(image, self.fields[9])
        self.rows = []
        at = self.fields[12]
        for _ in range(self.fields[11]):
            image.seek(at)
            fields = ROW.unpack(image.read(ROW.size))
            extra, number, name = (image.read(size) for size in (fields[8], fields[2], fields[3]))
            memory, size = struct.unpack_from(">QQ", extra)
            self.rows.append(Inside(name.decode(), number.decode(), fields[0], size, memory))
            at += -(-(ROW.size + len(extra) + len(number) + len(name)) // 8) * 8

    def put(self, offset, data):
        self.image.seek(offset)
        self.image.write(data)

    def count(self, offset, change):
        at = self.refcounts + offset // CLUSTER * 2
        self.image.seek(at)
        number = struct.unpack(">H", self.image.read(2))[0] + change
        self.put(at, struct.pack(">H", number))
        return number

    def allocate(self, data):
        """New clusters at the end of the file."""
        end = -(-os.fstat(self.image.fileno()).st_size // CLUSTER) * CLUSTER
        clusters = -(-len(data) // CLUSTER)
        for n in range(clusters):
            self.count(end + n * CLUSTER, 1)
        self.put(end, data.ljust(clusters * CLUSTER, b"\0"))
        return end

    def free(self, offset, size):
        for at in range(offset, offset + size, CLUSTER):
            self.count(at, -1)

    def count_disk(self, l1_offset, change):
        """One reference more, or less, to all that a table finds: what somebody else refers to is
        not marked as the own."""
        for place in range(l1_offset, l1_offset + self.l1_size * 8, 8):
            for offset in self.count_entry(place, change):
                for inner in range(offset, offset + CLUSTER, 8):
                    list(self.count_entry(inner, change))

    def count_entry(self, place, change):
        entry = _word(self.image, place)
        if entry & CLUSTER_OF:
            own = COPIED if self.count(entry & CLUSTER_OF, change) == 1 else 0
            self.put(place, struct.pack(">Q", entry & ~COPIED | own))
            yield entry & CLUSTER_OF

    def store(self):
        """The new table first, then the header by one write, then the old one is free: all of
        them are of one cluster here."""
        old = self.fields[12]
        data = b"".join(row.row(self.l1_size) for row in self.rows)
        self.fields[11:13] = len(self.rows), self.allocate(data) if data else 0
        self.put(0, HEADER.pack(*self.fields))
        if old:
            self.free(old, CLUSTER)


def snapshots(path):
    """Those inside an image; a raw one has none."""
    with open(path, "rb") as image:
        if image.read(4) != MAGIC:
            return []
        return _Snapshots(image).rows


def add_snapshot(path, name, memory=0):
    with open(path, "r+b") as image:
        change = _Snapshots(image)
        number = str(max([int(row.id) for row in change.rows], default=0) + 1)
        change.count_disk(change.l1_offset, +1)
        image.seek(change.l1_offset)
        copy = change.allocate(image.read(change.l1_size * 8))
        change.rows.append(Inside(name, number, copy, change.size, memory))
        change.store()


def apply_snapshot(path, name):
    """The disk becomes what the snapshot holds."""
    with open(path, "r+b") as image:
        change = _Snapshots(image)
        row = next(row for row in change.rows if row.name == name)
        change.count_disk(change.l1_offset, -1)
        image.seek(row.l1_offset)
        change.put(change.l1_offset, image.read(change.l1_size * 8))
        change.count_disk(change.l1_offset, +1)


def is_at(path, name):
    """Whether the disk is what the snapshot holds, and marked so."""
    with open(path, "rb") as image:
        change = _Snapshots(image)
        row = next(row for row in change.rows if row.name == name)
        tables = []
        for offset in (change.l1_offset, row.l1_offset):
            image.seek(offset)
            tables.append(struct.unpack(f">{change.l1_size}Q", image.read(change.l1_size * 8)))
        return not any(own & COPIED for own in tables[0]) and \
            [own & CLUSTER_OF for own in tables[0]] == [kept & CLUSTER_OF for kept in tables[1]]


def remove_snapshot(path, name):
    with open(path, "r+b") as image:
        change = _Snapshots(image)
        row = next(row for row in change.rows if row.name == name)
        change.rows.remove(row)
        change.store()
        change.count_disk(row.l1_offset, -1)
        change.count_disk(change.l1_offset, 0)
        change.free(row.l1_offset, change.l1_size * 8)


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
