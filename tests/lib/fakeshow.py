"""How QEMU shows the block graph: query-block, query-blockstats, query-named-block-nodes and
x-debug-query-block-graph."""

import os

import fakeqcow2
from fakegraph import QmpError

STATS = {"rd_bytes": 0, "wr_bytes": 0, "rd_operations": 0, "wr_operations": 0,
         "flush_operations": 0, "wr_highest_offset": 0, "timed_stats": [],
         "account_invalid": True, "account_failed": True}


def inside_info(row):
    """A snapshot inside an image."""
    return {"id": row.id, "name": row.name, "vm-state-size": row.memory, "date-sec": 0,
            "date-nsec": 0, "vm-clock-sec": 0, "vm-clock-nsec": 0}


def image_info(graph, node, nested):
    info = {"filename": node.shown_name(), "format": node.driver,
            "virtual-size": node.header.virtual_size, "dirty-flag": False}
    try:
        info["actual-size"] = os.stat(node.filename).st_blocks * 512
    except OSError:
        info["actual-size"] = 0
    if node.driver == "qcow2":
        info["cluster-size"] = 65536
        info["format-specific"] = {"type": "qcow2", "data": {
            "compat": "1.1", "compression-type": "zlib", "lazy-refcounts": False,
            "refcount-bits": 16, "corrupt": False, "extended-l2": False}}
        inside = fakeqcow2.snapshots(node.filename) if os.path.exists(node.filename) else []
        if inside:
            info["snapshots"] = [inside_info(row) for row in inside]
    if node.is_filter:
        info["cluster-size"] = 65536
    if not node.is_filter and node.header.backing:
        info["backing-filename"] = node.header.backing
        info["full-backing-filename"] = os.path.normpath(
            os.path.join(os.path.dirname(node.filename), node.header.backing))
        if node.header.backing_format:
            info["backing-filename-format"] = node.header.backing_format
    if nested and node.backing:
        info["backing-image"] = image_info(graph, graph.nodes[visible(graph, node.backing)], True)
    return info


def node_info(graph, node, nested=False):
    """`nested`: the way of query-block, which repeats the image of every layer below and counts
    them."""
    below = [name for name in graph.chain(node.name)[1:] if not graph.nodes[name].implicit]
    info = {"node-name": node.name, "drv": node.driver, "file": node.shown_name(),
            "ro": node.read_only, "backing_file_depth": len(below) if nested else 0,
            "encrypted": False, "detect_zeroes": "off", "write_threshold": 0,
            "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
            "cache": {"writeback": True, "direct": False, "no-flush": False},
            "image": image_info(graph, node, nested)}
    if node.backing and not node.is_filter:
        info["backing_file"] = graph.nodes[node.backing].shown_name()
    return info


def visible(graph, name):
    """Below implicit filters."""
    while name is not None and graph.nodes[name].implicit:
        name = graph.nodes[name].backing
    return name


def query_named_block_nodes(graph, flat):
    """Also without `flat` each node's own backing_file_depth is 0 here."""
    answer = []
    for node in reversed(graph.nodes.values()):
        info = node_info(graph, node, nested=not flat)
        info["backing_file_depth"] = 0
        answer.append(info)
    return answer


def query_block(graph):
    answer = []
    for backend in graph.backends:
        entry = {"device": backend.device, "qdev": backend.qdev, "type": "unknown", "locked": False,
                 "removable": backend.removable, "io-status": "ok"}
        if backend.removable:
            entry["tray_open"] = False
        if backend.root:
            root = graph.nodes[visible(graph, backend.root)]
            entry["inserted"] = node_info(graph, root, nested=True)
        answer.append(entry)
    return answer


def device_drive(graph, path, name):
    """qom-get of a disk's "drive": the id of its -drive, else its root, hidden filters too."""
    backend = next((b for b in graph.backends if b.qdev == path), None)
    if backend is None:
        raise QmpError(f"Device '{path}' not found", "DeviceNotFound")
    if name != "drive":
        raise QmpError(f"Property 'device.{name}' not found")
    return backend.device or backend.root or ""


def _stats(graph, name):
    name = visible(graph, name)
    node = graph.nodes[name]
    entry = {"node-name": name, "stats": dict(STATS)}
    if node.is_filter:
        # What hangs below a filter is shown as its `parent`, and as its `backing` once more.
        entry["parent"] = _stats(graph, node.backing)
    elif node.file:
        entry["parent"] = {"node-name": node.file, "stats": dict(STATS), "driver-specific": {
            "driver": "file", "discard-bytes-ok": 0, "discard-nb-ok": 0, "discard-nb-failed": 0}}
    if node.backing:
        entry["backing"] = _stats(graph, node.backing)
    return entry


def query_blockstats(graph):
    answer = []
    for backend in graph.backends:
        entry = _stats(graph, backend.root) if backend.root else {"stats": dict(STATS)}
        entry["device"], entry["qdev"] = backend.device, backend.qdev
        answer.append(entry)
    return answer


def query_block_graph(graph, jobs):
    """Who hangs on whom, jobs included: the only command that tells which nodes a stranger's job
    works on."""
    ids, nodes, edges = {}, [], []

    def entry(kind, name, known_as):
        ids[known_as] = len(ids) + 1
        nodes.append({"id": ids[known_as], "type": kind, "name": name})

    def edge(parent, child, name):
        edges.append({"parent": ids[parent], "child": ids[child], "name": name,
                      "perm": [], "shared-perm": []})

    for node in graph.nodes.values():
        entry("block-driver", node.name, node.name)
    for backend in graph.backends:
        entry("block-backend", backend.device or backend.qdev, ("backend", backend.qdev))
    for job in jobs:
        entry("block-job", job.id, ("job", job.id))
        for name in job.own_backends():
            entry("block-backend", "", ("own", job.id, name))
    for node in graph.nodes.values():
        backing = "file" if node.driver == "copy-on-read" else "backing"
        for child, name in ((node.file, "file"), (node.backing, backing)):
            if child:
                edge(node.name, child, name)
    for backend in graph.backends:
        if backend.root:
            edge(("backend", backend.qdev), backend.root, "root")
    for job in jobs:
        if job.holding:
            for child, name in job.edges():
                edge(("job", job.id), child, name)
            for name in job.own_backends():
                edge(("own", job.id, name), name, "root")
    return {"nodes": nodes, "edges": edges}
