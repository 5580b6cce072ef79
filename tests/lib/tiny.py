"""A guest of 512 bytes for runs by the hundred: up in 0.3 s, 150 and more writes a second.

tests/guest/tiny.S says what it writes; this file starts it and holds its images against what it
saw completed: every acknowledged number is there, no slot holds an older one, and one write, the
one that was under way, may be missing or there in part.
"""

import pathlib
import shlex
import struct
import tempfile

from guest import choose_accel, guest_folder, image_blockdev
from machine import TIMEOUT, Machine
from verify import Lost, copy_image, run

SLOTS = 256
SLOT_SIZE = 4096
FIRST_BYTE = 64 * 512
MARK = 0x4E594E54


class TinyGuest(Machine):
    """`disks` targets (vda, vdb, ...), each of `mebibytes`, on qcow2 or raw."""

    def __init__(self, name, root, disks=1, mebibytes=16, driver="qcow2", style="blockdev"):
        super().__init__(name, root)
        self.targets = ["vd" + chr(ord("a") + n) for n in range(disks)]
        self.mebibytes = mebibytes
        self.driver = driver
        self.style = style
        self.debug = None
        self.first = 1
        self.doubtful = set()

    def create_disks(self):
        self.images.mkdir(parents=True, exist_ok=True)
        raw = self.images / "boot.raw"
        with open(raw, "wb") as image:
            image.write((guest_folder() / "tiny.bin").read_bytes())
            image.truncate(self.mebibytes << 20)
        self.disks = []
        for target in self.targets:
            path = self.image(target, self.driver)
            run("qemu-img", "convert", "-f", "raw", "-O", self.driver, raw, path)
            self.disks.append({"target": target, "blockdev": image_blockdev(path, self.driver)})
        raw.unlink()

    def boot(self):
        """Starts with fresh disks unless there are some."""
        if not self.disks:
            self.create_disks()
        return self.launch()

    def boot_from(self, disks):
        """Starts again from what domain.blockdev answered; counts on from what was acknowledged."""
        self.disks = disks
        return self.launch()

    def resume_from(self, disks, memory):
        """Starts with a memory that was saved, on the disks of that instant. Returns the first
        number that it acknowledges now."""
        self.disks = disks
        self.launch("-incoming", "defer")
        self.eyes.call("migrate-set-capabilities",
                       capabilities=[{"capability": "events", "state": True}])
        self.eyes.call("migrate-incoming", uri="exec:cat " + shlex.quote(str(memory)))
        self.eyes.wait_event("MIGRATION", lambda data: data["status"] in ("completed", "failed"))
        assert self.eyes.status() == "paused", "it was saved while its vCPUs were held"
        self.eyes.call("cont")
        return self.count_from_memory()

    def count_from_memory(self):
        """The first number that a guest acknowledges which goes on from a memory."""
        self.pump.wait(lambda: len(self.debug.data) >= 12, "the first writes")
        # It may have been saved in the middle of a number that it tells byte by byte.
        rest = next(rest for rest in range(4) if self.number_at(rest + 4) ==
                    self.number_at(rest) + 1)
        self.first = self.number_at(rest)
        del self.debug.data[:rest]
        return self.first

    def went_back(self):
        """The first number that a guest acknowledges which went back to a memory in its QEMU; the
        numbers before it are forgotten."""
        def jump():
            """Where the numbers leave their order, and are in it again."""
            place = 0
            while len(self.debug.data) >= place + 20:
                if self.number_at(place + 4) == self.number_at(place) + 1:
                    place += 4
                    continue
                for rest in range(1, 9):
                    numbers = [self.number_at(place + rest + more) for more in (0, 4, 8)]
                    if numbers == list(range(numbers[0], numbers[0] + 3)):
                        return place + rest
                return None
            return None

        self.pump.wait(lambda: jump() is not None, "a jump of the numbers")
        place = jump()
        self.first = self.number_at(place)
        del self.debug.data[:place]
        return self.first

    def number_at(self, place):
        return struct.unpack_from("<I", self.debug.data, place)[0]

    def launch(self, *more):
        self.remember()
        # One device a word: QEMU 5.2 takes no loader of eight bytes.
        words = ((0x600, MARK), (0x604, self.first - 1))
        loaders = [f"loader,addr={place:#x},data={word:#x},data-len=4" for place, word in words]
        args = [*self.common_args(choose_accel()), "-m", "8",
                "-device", "isa-debugcon,iobase=0xe9,chardev=debug",
                *[word for loader in loaders for word in ("-device", loader)],
                *self.disk_args(self.disks, self.style), *more]
        self.debug = self.start(args, [("debug", True)])["debug"]
        return self

    def remember(self):
        """Before a new start: the number under way is left out, as it may have been written."""
        if self.debug is not None:
            self.doubtful.add(self.acked() + 1)
            self.first = self.acked() + 2
            self.debug = None

    def acked(self):
        """The last number that the guest saw completed, 0 before the first."""
        if self.debug is None:
            return 0
        count = len(self.debug.data) // 4
        if count == 0:
            return max(0, self.first - 2)
        last, = struct.unpack_from("<I", self.debug.data, 4 * (count - 1))
        assert last == self.first + count - 1, "the guest counts wrongly"
        return last

    def wait_acks(self, least, timeout=TIMEOUT):
        self.pump.wait(lambda: self.acked() >= least, f"write {least}", timeout)
        return self.acked()

    def wait_writes(self, count=20, timeout=TIMEOUT):
        """Until `count` more writes have completed: the guest writes on."""
        return self.wait_acks(self.acked() + count, timeout)

    def expected(self, target, last):
        """For each slot of a disk after write `last`: what it must hold, and what it may hold
        instead."""
        disks, disk = len(self.disks), self.targets.index(target)
        must, may = [0] * SLOTS, [set() for _ in range(SLOTS)]
        for number in range(1, last + 2):
            if number % disks != disk:
                continue
            slot = number // disks % SLOTS
            if number in self.doubtful or number == last + 1:
                may[slot].add(number)
            else:
                must[slot] = number
                may[slot].clear()
        return must, may

    def read_slots(self, source):
        """The numbers in each slot of an image, a path or a -blockdev object."""
        with tempfile.TemporaryDirectory(prefix="snapvm-tiny-") as folder:
            raw = pathlib.Path(folder) / "raw"
            if not isinstance(source, dict):
                source = image_blockdev(source, self.driver)
            copy_image(source, raw)
            with open(raw, "rb") as image:
                image.seek(FIRST_BYTE)
                data = image.read(SLOTS * SLOT_SIZE)
        return [set(struct.unpack_from("<1024I", data, slot * SLOT_SIZE)) for slot in range(SLOTS)]

    def check(self, target, source):
        """Holds an image against the acknowledged; raises Lost."""
        return self.compare(target, self.read_slots(source), self.acked())

    def check_moment(self, target, source, earliest):
        """Holds an image that stands still against some moment since write `earliest`."""
        slots = self.read_slots(source)
        last = max(max(words) for words in slots)
        earliest -= (earliest - self.targets.index(target)) % len(self.targets)   # of this disk
        if not earliest <= last <= self.acked() + 1:
            raise Lost(f"{target}: it ends with write {last}, and should be of a moment between "
                       f"{earliest} and {self.acked()}")
        return self.compare(target, slots, max(earliest, last - 1))

    def compare(self, target, slots, last):
        wrong = []
        for slot, (must, may) in enumerate(zip(*self.expected(target, last))):
            words = slots[slot]
            if words != {must} and not any(words <= {must, number} for number in may):
                wrong.append(f"slot {slot}: {sorted(words)[:3]} instead of {must}")
        if wrong:
            raise Lost(f"{target}: {len(wrong)} of {SLOTS} slots wrong after write {last}: "
                       + "; ".join(wrong[:3]))
        return last
