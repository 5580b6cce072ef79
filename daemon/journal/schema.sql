-- The journal's schema, version 5: what a new database is made from. A change here is a new
-- version, and needs a step in migrate.c that brings the version before to the same tables.
--
-- Words (kinds, states, results) are texts as in the contract; times are microseconds since 1970;
-- NULL is "none". Numbers of 64 bits without a sign (start of a process, device, inode) are stored
-- as SQLite's signed ones with the same bits.
--
-- Lists are rows numbered from 0 without a gap, so that storing a list anew touches only the rows
-- that differ and cuts off what is too much.

PRAGMA application_id = 0x736e766d;

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- Random, made once: tells one history from another.
    instance TEXT NOT NULL
);

INSERT INTO meta (one, instance) VALUES (1, lower(hex(randomblob(16))));

CREATE TABLE domain (
    name TEXT PRIMARY KEY,
    uuid TEXT,
    -- 1: in the guests folder, 0: defined.
    found INTEGER NOT NULL,
    qmp TEXT,
    agent TEXT,
    current_snapshot TEXT,
    -- The QEMU last seen, pid 0 for none.
    qemu_pid INTEGER NOT NULL,
    qemu_start INTEGER NOT NULL,
    qemu_boot TEXT
) WITHOUT ROWID;

-- What a domain was defined by, where that is libvirt's <domain>, in an empty <domainsnapshot>.
CREATE TABLE domain_document (
    domain TEXT PRIMARY KEY REFERENCES domain (name) ON DELETE CASCADE,
    xml TEXT NOT NULL
);

CREATE TABLE disk (
    domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    target TEXT NOT NULL,
    qdev TEXT,
    device TEXT,
    node TEXT,
    -- Of the image, as a person defined it, until it is known to be so.
    format TEXT,
    defined INTEGER NOT NULL,
    read_only INTEGER NOT NULL,
    -- 1: of the guest's firmware.
    firmware INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (domain, position)
) WITHOUT ROWID;

CREATE TABLE layer (
    domain TEXT NOT NULL,
    -- The disk's position.
    disk INTEGER NOT NULL,
    -- 0 is the base and the highest is the active layer: an overlay more is a row more.
    height INTEGER NOT NULL,
    file TEXT NOT NULL,
    format TEXT,
    node TEXT,
    virtual_size INTEGER NOT NULL,
    PRIMARY KEY (domain, disk, height),
    FOREIGN KEY (domain, disk) REFERENCES disk (domain, position) ON DELETE CASCADE
) WITHOUT ROWID;

-- Jobs outlive their domain, as history. AUTOINCREMENT: a number is never given twice, because
-- files and nodes are named after it.
CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain TEXT NOT NULL,
    disk TEXT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT,
    -- Bits of enum record_job_flag.
    flags INTEGER NOT NULL,
    -- The job that leads the common pivot, 0 for none.
    leader INTEGER NOT NULL,
    bandwidth INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    -- 0: not yet.
    ended INTEGER NOT NULL,
    -- Progress as last seen, total -1 for none.
    done INTEGER NOT NULL,
    total INTEGER NOT NULL,
    request_id TEXT,
    qemu_pid INTEGER NOT NULL,
    qemu_start INTEGER NOT NULL,
    qemu_boot TEXT,
    snapshot TEXT,
    description TEXT,
    guest_state TEXT,
    quiesce_error TEXT,
    -- The outcome, once ended.
    result TEXT,
    active TEXT,
    evidence TEXT,
    -- JSON: code, message, data.
    error TEXT,
    paused_us INTEGER NOT NULL,
    frozen_us INTEGER NOT NULL,
    -- Of a snapshot, JSON: the disks that it does not have, and why.
    left_out TEXT
);

CREATE INDEX job_of_domain ON job (domain, id);

CREATE TABLE image (
    job INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    disk TEXT,
    role TEXT,
    file TEXT,
    format TEXT,
    node TEXT,
    virtual_size INTEGER NOT NULL,
    -- Identity of a file that the job made or will remove; inode 0 for none.
    dev INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    made INTEGER NOT NULL,
    state TEXT,
    -- 1: it was what the snapshot inside holds before the job went back to that.
    was_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, position)
) WITHOUT ROWID;

CREATE TABLE snapshot (
    domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- A name; no reference, so that a tree can be stored and taken apart in any order.
    parent TEXT,
    description TEXT,
    state TEXT,
    memory TEXT,
    quiesced INTEGER NOT NULL,
    quiesce_error TEXT,
    created INTEGER NOT NULL,
    -- Where an external image of the memory lies.
    memory_file TEXT,
    PRIMARY KEY (domain, name)
) WITHOUT ROWID;

-- What a snapshot's description in XML holds beyond its record: the domain as it was then, and what
-- another program put there. Read only when somebody asks for it.
CREATE TABLE snapshot_document (
    domain TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    xml TEXT NOT NULL,
    PRIMARY KEY (domain, snapshot),
    FOREIGN KEY (domain, snapshot) REFERENCES snapshot (domain, name) ON DELETE CASCADE
);

CREATE TABLE snapshot_disk (
    domain TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    position INTEGER NOT NULL,
    disk TEXT,
    mode TEXT,
    file TEXT,
    format TEXT,
    backing TEXT,
    backing_format TEXT,
    PRIMARY KEY (domain, snapshot, position),
    FOREIGN KEY (domain, snapshot) REFERENCES snapshot (domain, name) ON DELETE CASCADE
) WITHOUT ROWID;

-- A freeze that may stand in a guest and that is owed a thaw.
CREATE TABLE freeze_debt (
    domain TEXT PRIMARY KEY REFERENCES domain (name) ON DELETE CASCADE,
    qemu_pid INTEGER NOT NULL,
    qemu_start INTEGER NOT NULL,
    qemu_boot TEXT,
    since INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    -- 0: a client's lease.
    job INTEGER NOT NULL,
    -- Of a lease: the file systems that it holds frozen; 0: the freeze is not confirmed.
    count INTEGER NOT NULL DEFAULT 0,
    -- 1: these are some that the client listed, not all.
    listed INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Requests that were answered, or will be by their job: sent again they do nothing twice.
CREATE TABLE request (
    id TEXT PRIMARY KEY,
    method TEXT NOT NULL,
    params TEXT,
    -- 0: the answer is `result`.
    job INTEGER NOT NULL,
    result TEXT,
    time INTEGER NOT NULL
);

-- The outbox. AUTOINCREMENT: numbers grow by one for ever, also after the oldest were removed, and
-- a transaction that is taken back takes its numbers back.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    domain TEXT,
    -- JSON: the event's further members.
    body TEXT
);
