"""The commands and events that the fake QEMU knows: one table that checks arguments as QEMU does,
and from which query-qmp-schema is answered in QEMU's own shape (types under numbers, members with
`default` when optional)."""

from fakegraph import QmpError

# name, `?` when optional, `:type` when no string
COMMANDS = {
    "qmp_capabilities": "enable?:array",
    "query-version": "",
    "query-status": "",
    "query-block": "",
    "query-blockstats": "query-nodes?:bool",
    "query-named-block-nodes": "flat?:bool",
    "query-jobs": "",
    "query-block-jobs": "",
    "query-chardev": "",
    "qom-get": "path property",
    "query-commands": "",
    "query-qmp-schema": "",
    "x-debug-query-block-graph": "",
    "blockdev-add": "driver node-name? read-only?:bool auto-read-only?:bool discard? detect-zeroes?"
                    " cache?:object",
    "blockdev-del": "node-name",
    "blockdev-snapshot": "node overlay",
    "blockdev-snapshot-internal-sync": "device name",
    "blockdev-snapshot-delete-internal-sync": "device id? name?",
    "transaction": "actions:array properties?:object",
    "block-dirty-bitmap-add": "node name granularity?:int persistent?:bool disabled?:bool",
    "block-dirty-bitmap-remove": "node name",
    "snapshot-save": "job-id tag vmstate devices:array",
    "snapshot-load": "job-id tag vmstate devices:array",
    "block-commit": "job-id? device base-node? base? top-node? top? backing-file? speed?:int"
                    " on-error? filter-node-name? auto-finalize?:bool auto-dismiss?:bool",
    "block-stream": "job-id? device base-node? base? bottom? backing-file? speed?:int on-error?"
                    " auto-finalize?:bool auto-dismiss?:bool",
    "blockdev-mirror": "job-id? device target replaces? sync speed?:int granularity?:int"
                       " buf-size?:int on-source-error? on-target-error? filter-node-name?"
                       " copy-mode? auto-finalize?:bool auto-dismiss?:bool",
    "job-complete": "id",
    "job-finalize": "id",
    "job-cancel": "id",
    "job-dismiss": "id",
    "job-pause": "id",
    "job-resume": "id",
    "block-job-cancel": "device force?:bool",
    "block-job-set-speed": "device speed:int",
    "stop": "",
    "cont": "",
    "getfd": "fdname",
    "closefd": "fdname",
    "migrate": "uri",
    "migrate_cancel": "",
    "query-migrate": "",
    "query-migrate-capabilities": "",
    "migrate-set-capabilities": "capabilities:array",
    "system_reset": "",
    "human-monitor-command": "command-line cpu-index?:int",
    "quit": "",
}

# By driver, beside the members of blockdev-add itself.
BLOCKDEV = {
    "qcow2": "file:any backing?:any lazy-refcounts?:bool",
    "raw": "file:any offset?:int size?:int",
    "file": "filename locking? aio?",
}

ACTIONS = {
    "abort": "",
    "blockdev-snapshot": "node overlay",
    "blockdev-snapshot-internal-sync": "device name",
}

EVENTS = {
    "JOB_STATUS_CHANGE": "id status",
    "BLOCK_JOB_ERROR": "device operation action",
    "BLOCK_JOB_READY": "type device len:int offset:int speed:int",
    "BLOCK_JOB_PENDING": "type id",
    "BLOCK_JOB_COMPLETED": "type device len:int offset:int speed:int error?",
    "BLOCK_JOB_CANCELLED": "type device len:int offset:int speed:int",
    "MIGRATION": "status",
    "STOP": "",
    "RESUME": "",
    "RESET": "guest:bool reason",
    "SHUTDOWN": "guest:bool reason",
    "VSERPORT_CHANGE": "id open:bool",
}

JSON_TYPES = {"str": "string", "int": "int", "bool": "boolean", "array": "array",
              "object": "object", "any": "value"}
PYTHON_TYPES = {"str": str, "int": int, "bool": bool, "array": list, "object": dict, "any": object}


def members(text):
    """name -> (type, optional)"""
    parsed = {}
    for word in text.split():
        name, _, kind = word.partition(":")
        parsed[name.rstrip("?")] = (kind or "str", name.endswith("?"))
    return parsed


def check(table, name, arguments):
    """The first thing that QEMU would find wrong with the arguments: a wrong type or a missing one
    comes before one too many."""
    expected = members(table[name])
    if name == "blockdev-add" and arguments.get("driver") in BLOCKDEV:
        expected.update(members(BLOCKDEV[arguments["driver"]]))
    for member, (kind, optional) in expected.items():
        if member not in arguments:
            if not optional:
                raise QmpError(f"Parameter '{member}' is missing")
        elif not isinstance(arguments[member], PYTHON_TYPES[kind]):
            raise QmpError(f"Invalid parameter type for '{member}', expected: {JSON_TYPES[kind]}")
    for member in arguments:
        if member not in expected:
            raise QmpError(f"Parameter '{member}' is unexpected")


class _Schema:
    def __init__(self):
        self.entries = []
        self.numbers = 0
        for name in ("str", "int", "bool", "any"):
            self.entries.append({"name": name, "meta-type": "builtin",
                                 "json-type": JSON_TYPES[name]})
        self.empty = self.object("")

    def add(self, **entry):
        self.numbers += 1
        entry["name"] = str(self.numbers - 1)
        self.entries.append(entry)
        return entry["name"]

    def object(self, text, **more):
        rows = []
        for name, (kind, optional) in members(text).items():
            row = {"name": name, "type": {"array": "any", "object": "any"}.get(kind, kind)}
            if optional:
                row["default"] = None
            rows.append(row)
        return self.add(**{"meta-type": "object", "members": rows, **more})

    def union(self, text, tag, table):
        variants = [{"case": case, "type": self.object(rows)} for case, rows in table.items()]
        return self.object(text, tag=tag, variants=variants)

    def transaction(self):
        wrapped = {}
        for case, rows in ACTIONS.items():
            wrapped[case] = self.add(**{"meta-type": "object", "members": [
                {"name": "data", "type": self.object(rows)}]})
        variants = [{"case": case, "type": name} for case, name in wrapped.items()]
        action = self.object("type", tag="type", variants=variants)
        array = f"[{action}]"
        self.entries.append({"name": array, "meta-type": "array", "element-type": action})
        return self.add(**{"meta-type": "object", "members": [
            {"name": "actions", "type": array},
            {"name": "properties", "type": "any", "default": None}]})


def query_qmp_schema():
    schema = _Schema()
    for name, text in COMMANDS.items():
        if name == "transaction":
            argument = schema.transaction()
        elif name == "blockdev-add":
            argument = schema.union(text, "driver", BLOCKDEV)
        else:
            argument = schema.object(text) if text else schema.empty
        schema.entries.append({"name": name, "meta-type": "command", "arg-type": argument,
                               "ret-type": "any"})
    for name, text in EVENTS.items():
        schema.entries.append({"name": name, "meta-type": "event",
                               "arg-type": schema.object(text) if text else schema.empty})
    return schema.entries
