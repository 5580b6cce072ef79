"""What the guest wrote, and which image file holds it.

A disk is slots; the guest's n-th write puts the number n into slot n % 8. QEMU answers the
guest once the write is in the image that is the disk's root: from then on the guest counts on it
(`promised`).

Each image has two copies of what it holds. `data` is what QEMU would read from it; `flushed` is
what is left of it when QEMU is killed. They differ because the tables of a qcow2 image are cached
in the QEMU process: bytes that a block job copied are lost with it until the node is flushed. The
guest's own writes are flushed at once here, as they are for a guest that sees a write-through disk.

The one question that all tests ask is `Content.fault`: killed now and started again from this file,
with the chain that the headers on disk name, would the guest miss a write that it was promised?

Images are known by device and inode, as files may be renamed, removed and made anew under the same
name.
"""

import os

import fakeqcow2

SLOTS = 8


def image_key(path):
    status = os.stat(path)
    return f"{status.st_dev}:{status.st_ino}"


class Content:
    def __init__(self):
        self.images = {}        # key -> {"data": {slot: n}, "flushed": {slot: n}}
        self.promised = {}      # disk -> {slot: n}
        self.writes = {}        # disk -> n of the last write
        self.states = {}        # "key name" of one with memory -> what the guest counted on
        self.inside = {}        # key -> {name of a snapshot inside the image: {slot: n}}

    def image(self, key):
        return self.images.setdefault(key, {"data": {}, "flushed": {}})

    # ---- the guest ----

    def seed(self, disk, keys):
        """A disk's life before the test: each layer, base first, holds a slot that no other layer
        has and that the guest does not write to again, so that the loss of a layer shows."""
        for layer, key in enumerate(keys):
            self.write(disk, key, SLOTS + layer)

    def write(self, disk, key, slot=None):
        """One write of the guest through the image `key`, completed and flushed. Returns its
        slot."""
        number = self.writes.get(disk, 0) + 1
        slot = number % SLOTS if slot is None else slot
        self.writes[disk] = number
        self.image(key)["data"][slot] = number
        self.image(key)["flushed"][slot] = number
        self.promised.setdefault(disk, {})[slot] = number
        return slot

    # ---- QEMU ----

    def read(self, keys, slot, copy="data"):
        """What a chain (top first) has in a slot; None where no layer has it."""
        for key in keys:
            if slot in self.image(key)[copy]:
                return self.image(key)[copy][slot]
        return None

    def allocated(self, keys):
        """The slots that any of these layers holds: what a commit of them has to copy."""
        return sorted({slot for key in keys for slot in self.image(key)["data"]})

    def copy(self, keys, slot, target):
        """A block job copies a slot of a chain into another image; nothing is flushed by that."""
        self.image(target)["data"][slot] = self.read(keys, slot)

    def flush(self, key):
        image = self.image(key)
        image["flushed"] = dict(image["data"])

    def keep(self, key, name):
        """A snapshot inside an image: what it holds now, flushed."""
        self.flush(key)
        self.inside.setdefault(key, {})[name] = dict(self.image(key)["data"])

    def forget(self, key, name):
        self.inside.get(key, {}).pop(name, None)     # it may have been there from the start

    def save(self, key, name):
        """The guest's memory with a snapshot inside an image."""
        self.states[f"{key} {name}"] = {
            "writes": dict(self.writes),
            "promised": {disk: dict(slots) for disk, slots in self.promised.items()}}

    def go_back(self, key, name):
        """An image becomes what a snapshot inside it holds."""
        held = self.inside[key][name]
        self.images[key] = {"data": dict(held), "flushed": dict(held)}

    def is_at(self, key, name):
        return self.image(key)["data"] == self.inside[key][name]

    def load(self, key, name, disks):
        """What the guest counts on is what it did then, as far as these disks go."""
        state = self.states[f"{key} {name}"]
        for disk in disks:
            self.writes[disk] = state["writes"][disk]
            self.promised[disk] = dict(state["promised"][disk])

    def went_back(self, name, disks):
        """What these have of that name is what they hold, and what the guest counts on."""
        for key, disk in disks.items():
            self.go_back(key, name)
        for key in [key for key in self.inside if f"{key} {name}" in self.states]:
            self.load(key, name, disks.values())

    def flush_all(self):
        for key in self.images:
            self.flush(key)

    # ---- the tests ----

    def fault(self, disk, path):
        """None when `path` is a right image to start this disk from, else what is wrong with it, in
        words."""
        try:
            keys = [image_key(name) for name in fakeqcow2.chain(path)]
        except OSError as error:
            return f"{disk}: {path} cannot be started: {error}"
        for slot, number in sorted(self.promised.get(disk, {}).items()):
            found = self.read(keys, slot, "flushed")
            if found != number:
                return (f"{disk}: {path} has write {found} in slot {slot}, "
                        f"the guest was promised {number}")
        return None

    def torn(self, disk, path):
        """None when `path` holds the disk as it was at some moment, else what is wrong with it, in
        words: the guest's writes go round the slots, so that the last one tells all others."""
        keys = [image_key(name) for name in fakeqcow2.chain(path)]
        found = {slot: self.read(keys, slot, "flushed") for slot in self.promised.get(disk, {})}
        turning = [number for slot, number in found.items() if slot < SLOTS and number]
        last = max(turning, default=0)
        for slot, number in sorted(found.items()):
            expected = self.promised[disk][slot]
            if slot < SLOTS and expected > last:
                expected = last - (last - slot) % SLOTS
                expected = expected if expected in self.counted(disk) else None
            if number != expected:
                return f"{disk}: {path} has write {number} in slot {slot}, and {expected} is whole"
        return None

    def counted(self, disk):
        """The numbers of the writes that went round the slots: those of the seed came first."""
        seeds = [n for slot, n in self.promised.get(disk, {}).items() if slot >= SLOTS]
        return range(max(seeds, default=0) + 1, self.writes.get(disk, 0) + 1)

    def to_json(self):
        return {"images": self.images, "promised": self.promised, "writes": self.writes,
                "inside": self.inside, "states": self.states}

    @classmethod
    def from_json(cls, value):
        """JSON has made the slots strings."""
        content = cls()
        content.writes = value["writes"]
        content.states = {name: {**state, "promised": {
            disk: _slots(slots) for disk, slots in state["promised"].items()}}
            for name, state in value["states"].items()}
        content.promised = {disk: _slots(slots) for disk, slots in value["promised"].items()}
        content.images = {key: {name: _slots(slots) for name, slots in image.items()}
                          for key, image in value["images"].items()}
        content.inside = {key: {name: _slots(slots) for name, slots in kept.items()}
                          for key, kept in value["inside"].items()}
        return content


def _slots(slots):
    return {int(slot): number for slot, number in slots.items()}
