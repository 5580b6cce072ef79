"""What the disks and the snapshots of a domain have to hold, by the words of the manual alone.

Content is {block: pattern}: what a guest has written since the disks were made.
"""


class Snapshot:
    def __init__(self, parent, held):
        self.parent = parent
        self.held = held                # {target: content}, of the disks that it has


class Model:
    def __init__(self, targets):
        self.now = {target: {} for target in targets}
        self.snapshots = {}
        self.current = None

    def write(self, target, blocks):
        self.now[target] = {**self.now[target], **blocks}

    def create(self, name, targets):
        held = {target: dict(self.now[target]) for target in targets}
        self.snapshots[name] = Snapshot(self.current, held)
        self.current = name

    def revert(self, name):
        for target, content in self.snapshots[name].held.items():
            self.now[target] = dict(content)
        self.current = name

    def children(self, name):
        return [child for child, snapshot in self.snapshots.items() if snapshot.parent == name]

    def below(self, name):
        """All descendants."""
        found = []
        for child in self.children(name):
            found += [child, *self.below(child)]
        return found

    def delete(self, name, which):
        """`which`: this one, its "children" with it, or they alone ("children_only")."""
        gone = self.below(name) if which else []
        if which != "children_only":
            gone.append(name)
        parent = name if which == "children_only" else self.snapshots[name].parent
        if self.current in gone:
            self.current = parent
        for child in self.children(name):
            self.snapshots[child].parent = parent
        for victim in gone:
            del self.snapshots[victim]

    def redefine(self, name, snapshot):
        self.snapshots[name] = snapshot
        if snapshot.parent is not None and snapshot.parent == self.current:
            self.current = name
