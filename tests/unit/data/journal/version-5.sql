-- A journal of schema version 5, as its daemon left it: what every later version must be able to
-- open. Job 18 and events 1 and 2 are gone, and their numbers with them.
PRAGMA application_id=0x736e766d;
PRAGMA user_version=5;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- Random, made once: tells one history from another.
    instance TEXT NOT NULL
);
INSERT INTO meta VALUES(1,'0123456789abcdef0123456789abcdef');
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
INSERT INTO domain VALUES('db',NULL,1,'/run/snapvm/guests/db/qmp.sock',NULL,NULL,0,0,NULL);
INSERT INTO domain VALUES('web','6a1e2c3d-0000-4000-8000-000000000001',0,'/run/web/qmp.sock','/run/web/agent.sock','before-upgrade',4711,123456,'0b5e6f0c-24a2-4bd6-9d5c-6b4b6f5b7a11');
CREATE TABLE domain_document (
    domain TEXT PRIMARY KEY REFERENCES domain (name) ON DELETE CASCADE,
    xml TEXT NOT NULL
);
INSERT INTO domain_document VALUES('web','<domainsnapshot><domain type="kvm"><name>web</name></domain></domainsnapshot>');
CREATE TABLE disk (
    domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    target TEXT NOT NULL,
    qdev TEXT,
    device TEXT,
    node TEXT,
    -- Of the image, as a person defined it.
    format TEXT,
    defined INTEGER NOT NULL,
    read_only INTEGER NOT NULL,
    firmware INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (domain, position)
) WITHOUT ROWID;
INSERT INTO disk VALUES('web',0,'vda','virtio0','drive0','root','raw',1,0,0);
INSERT INTO disk VALUES('web',1,'sda',NULL,NULL,NULL,NULL,0,1,0);
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
INSERT INTO layer VALUES('web',0,0,'/images/web.raw','raw','base',10737418240);
INSERT INTO layer VALUES('web',0,1,'/images/web-vda.s1.qcow2','qcow2',NULL,10737418240);
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
    left_out TEXT
);
INSERT INTO job VALUES(16,'web','vda','active-commit','ended','tidy',2049,0,0,1795225200000000,1795225300000000,1795225300000000,65536,65536,'r-16',4711,123456,'0b5e6f0c-24a2-4bd6-9d5c-6b4b6f5b7a11',NULL,NULL,'running',NULL,'pivoted','/images/web.raw','query',NULL,1200,-1,NULL);
INSERT INTO job VALUES(17,'web',NULL,'snapshot','running','freeze',32,0,0,1795225400000000,1795225400000001,0,0,-1,NULL,4711,123456,'0b5e6f0c-24a2-4bd6-9d5c-6b4b6f5b7a11','s2','it''s','running',NULL,NULL,NULL,NULL,'{"code":13,"message":"wrong","data":{"kind":"ImageError","file":"/images/x"}}',-1,-1,'[{"disk":"sda","reason":"read-only"}]');
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
    was_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, position)
) WITHOUT ROWID;
INSERT INTO image VALUES(16,0,'vda','top','/images/old.qcow2','qcow2',NULL,10737418240,64768,9001,0,'removed',0);
INSERT INTO image VALUES(17,0,'vda','overlay','/images/web-vda.s2.qcow2','qcow2','snapvm-17-vda',10737418240,64768,9002,1,NULL,0);
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
INSERT INTO snapshot VALUES('web','before-upgrade',NULL,'','running','no',1,NULL,1795225100000000,'/images/web.mem');
CREATE TABLE snapshot_document (
    domain TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    xml TEXT NOT NULL,
    PRIMARY KEY (domain, snapshot),
    FOREIGN KEY (domain, snapshot) REFERENCES snapshot (domain, name) ON DELETE CASCADE
);
INSERT INTO snapshot_document VALUES('web','before-upgrade','<domainsnapshot/>');
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
INSERT INTO snapshot_disk VALUES('web','before-upgrade',0,'vda','external','/images/web-vda.s1.qcow2','qcow2','/images/web.raw','raw');
INSERT INTO snapshot_disk VALUES('web','before-upgrade',1,'sda','no',NULL,NULL,NULL,NULL);
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
INSERT INTO freeze_debt VALUES('web',4711,123456,'0b5e6f0c-24a2-4bd6-9d5c-6b4b6f5b7a11',1795225400000000,1795225430000000,0,2,1);
CREATE TABLE request (
    id TEXT PRIMARY KEY,
    method TEXT NOT NULL,
    params TEXT,
    -- 0: the answer is `result`.
    job INTEGER NOT NULL,
    result TEXT,
    time INTEGER NOT NULL
);
INSERT INTO request VALUES('r-16','job.pivot','{"job":16}',16,NULL,1795225250000000);
INSERT INTO request VALUES('r-17','domain.define','{"name":"web"}',0,'{"name":"web"}',1795225000000000);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    domain TEXT,
    -- JSON: the event's further members.
    body TEXT
);
INSERT INTO event VALUES(3,1795225300000000,'job.ended','web','{"job":{"id":16}}');
INSERT INTO event VALUES(4,1795225400000000,'job.created','web',NULL);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('job',18);
INSERT INTO sqlite_sequence VALUES('event',4);
CREATE INDEX job_of_domain ON job (domain, id);
COMMIT;
