#include "client/snapvmctl-verb.h"

#include <stdbool.h>
#include <string.h>

#include "client/snapvmctl-run.h"
#include "client/snapvmctl-show.h"

#define BANDWIDTH                                                    \
    {                                                                \
        .param = "bandwidth", .type = OPTION_SIZE, .value = "BYTES", \
        .help = "at most this many bytes a second, 0 is unlimited"   \
    }
#define AUTO_PIVOT                                                                              \
    {                                                                                           \
        .param = "auto_pivot", .type = OPTION_FLAG, .help = "pivot as soon as the job is ready" \
    }

static const struct option domain_define_options[] = {
    {.param = "qmp", .type = OPTION_STRING, .value = "PATH", .help = "QEMU's monitor socket"},
    {.param = "agent", .type = OPTION_STRING, .value = "PATH", .help = "the guest agent's socket"},
    {.param = "uuid", .type = OPTION_STRING, .value = "UUID", .help = "the guest's UUID"},
    {.param = "disks",
     .alias = "disk",
     .type = OPTION_RECORDS,
     .value = "target,file,node,format",
     .help = "a disk by the name that it shall have; repeat it for more"},
    {.param = "xml",
     .type = OPTION_TEXT,
     .value = "FILE",
     .help = "libvirt's <domain> instead of all the others"},
    {0},
};

static const struct option domain_undefine_options[] = {
    {.param = "snapshots",
     .type = OPTION_CHOICE,
     .value = "refuse|forget",
     .help = "what to do while there are snapshots (refuse)"},
    {0},
};

static const struct option snapshot_create_options[] = {
    {.param = "description", .type = OPTION_STRING, .value = "TEXT", .help = "for people"},
    {.param = "disks",
     .alias = "disk",
     .type = OPTION_RECORDS,
     .value = "disk,mode,file,format,reuse?",
     .help = "a disk, what to do with it and its new overlay; repeat it for more"},
    {.param = "quiesce",
     .type = OPTION_CHOICE,
     .value = "none|preferred|required",
     .bare = "required",
     .help = "freeze the guest's file systems for it (none)"},
    {.param = "metadata", .type = OPTION_FLAG, .help = "keep a record of it (yes)"},
    {.param = "memory",
     .type = OPTION_RECORD,
     .value = "mode,file",
     .help = "with the guest's memory: external or internal"},
    {.param = "disk_only", .type = OPTION_FLAG, .help = "the disks alone"},
    {.param = "xml",
     .type = OPTION_TEXT,
     .value = "FILE",
     .help = "libvirt's <domainsnapshot> instead"},
    {.param = "validate", .type = OPTION_FLAG, .help = "check the XML against its schema"},
    {.param = "halt", .type = OPTION_FLAG, .help = "end the guest's QEMU afterwards"},
    {0},
};

static const struct option snapshot_list_options[] = {
    {.param = "parent", .type = OPTION_STRING, .value = "NAME", .help = "the children of this one"},
    {.param = "roots", .type = OPTION_FLAG, .help = "those without a parent"},
    {.param = "leaves", .type = OPTION_FLAG, .help = "those without children"},
    {.param = "location",
     .type = OPTION_CHOICE,
     .value = "internal|external|mixed",
     .help = "those whose data lies there"},
    {.param = "topological", .type = OPTION_FLAG, .help = "parents before their children"},
    {.param = "after", .type = OPTION_STRING, .value = "NAME", .help = "those behind this one"},
    {.param = "limit", .type = OPTION_NUMBER, .value = "N", .help = "at most so many"},
    {0},
};

static const struct option snapshot_redefine_options[] = {
    {.param = "xml", .type = OPTION_TEXT, .value = "FILE", .help = "libvirt's <domainsnapshot>"},
    {.param = "snapshot",
     .type = OPTION_JSON,
     .value = "FILE",
     .help = "the snapshot as JSON instead"},
    {.param = "current", .type = OPTION_FLAG, .help = "make it the current one"},
    {.param = "validate", .type = OPTION_FLAG, .help = "check the XML against its schema"},
    {0},
};

static const struct option snapshot_delete_options[] = {
    {.param = "metadata_only", .type = OPTION_FLAG, .help = "forget it and leave all data"},
    {.param = "children", .type = OPTION_FLAG, .help = "with all its descendants"},
    {.param = "children_only", .type = OPTION_FLAG, .help = "its descendants, not itself"},
    {0},
};

static const struct option snapshot_revert_options[] = {
    {.param = "running", .type = OPTION_FLAG, .help = "the guest runs afterwards"},
    {.param = "paused", .type = OPTION_FLAG, .help = "the guest is paused afterwards"},
    {.param = "force", .type = OPTION_FLAG, .help = "even if unsaved work is lost"},
    {0},
};

static const struct option snapshot_import_options[] = {
    {.param = "bundle",
     .type = OPTION_JSON,
     .value = "FILE",
     .required = true,
     .help = "what `snapshot export` printed"},
    {.param = "paths",
     .alias = "path",
     .type = OPTION_RECORDS,
     .value = "from,to",
     .help = "paths that begin so begin otherwise here; repeat it for more"},
    {0},
};

static const struct option block_commit_options[] = {
    {.param = "top",
     .type = OPTION_STRING,
     .value = "IMAGE",
     .help = "the upper end of what is committed (the active layer)"},
    {.param = "base",
     .type = OPTION_STRING,
     .value = "IMAGE",
     .help = "the image that receives the data (the bottom)"},
    {.param = "shallow", .type = OPTION_FLAG, .help = "into the top's own backing file"},
    {.param = "active",
     .type = OPTION_FLAG,
     .help = "yes, the active layer: the job waits for a pivot when it is ready"},
    {.param = "delete", .type = OPTION_FLAG, .help = "remove the images that become worthless"},
    BANDWIDTH,
    AUTO_PIVOT,
    {0},
};

static const struct option block_copy_options[] = {
    {.param = "dest",
     .type = OPTION_RECORD,
     .value = "file,format",
     .help = "the file to copy to, and its format (as the disk's image)"},
    {.param = "shallow",
     .type = OPTION_FLAG,
     .help = "the active layer alone, on the same backing file"},
    {.param = "reuse", .type = OPTION_FLAG, .help = "into a file that exists"},
    {.param = "sync_writes",
     .type = OPTION_FLAG,
     .help = "the guest's writes wait for both images"},
    {.param = "granularity", .type = OPTION_SIZE, .value = "BYTES", .help = "a power of two"},
    {.param = "buf_size", .type = OPTION_SIZE, .value = "BYTES", .help = "data in flight"},
    BANDWIDTH,
    AUTO_PIVOT,
    {0},
};

static const struct option block_pull_options[] = {
    {.param = "top",
     .type = OPTION_STRING,
     .value = "IMAGE",
     .help = "the image that gets the data (the active layer)"},
    {.param = "base",
     .type = OPTION_STRING,
     .value = "IMAGE",
     .help = "the image to stay below (none stays)"},
    BANDWIDTH,
    {0},
};

static const struct option job_list_options[] = {
    {.param = "active", .type = OPTION_FLAG, .help = "those that have not ended"},
    {.param = "after", .type = OPTION_NUMBER, .value = "JOB", .help = "those with higher numbers"},
    {.param = "limit", .type = OPTION_NUMBER, .value = "N", .help = "at most so many"},
    {0},
};

static const struct option job_wait_options[] = {
    {.param = "for", .type = OPTION_CHOICE, .value = "ready|ended", .help = "until when (ended)"},
    {.param = "timeout_ms", .type = OPTION_NUMBER, .value = "MS", .help = "wait no longer"},
    {0},
};

static const struct option job_pivot_options[] = {
    {.param = "pause",
     .type = OPTION_CHOICE,
     .value = "auto|never",
     .help = "hold the guest's CPUs for the moment of the switch (auto)"},
    {0},
};

static const struct option job_cancel_options[] = {
    {.param = "force", .type = OPTION_FLAG, .help = "at once, also when it is ready"},
    {0},
};

static const struct option job_set_speed_options[] = {
    {.param = "bandwidth",
     .type = OPTION_SIZE,
     .value = "BYTES",
     .required = true,
     .help = "at most this many bytes a second, 0 is unlimited"},
    {0},
};

static const struct option guest_freeze_options[] = {
    {.param = "mountpoints",
     .type = OPTION_LIST,
     .value = "PATH,PATH...",
     .help = "these file systems alone"},
    {.param = "lease_ms",
     .type = OPTION_NUMBER,
     .value = "MS",
     .help = "thawed after this time whatever happens (30000)"},
    {0},
};

static const struct option event_options[] = {
    {.param = "since",
     .type = OPTION_NUMBER,
     .value = "SEQ",
     .help = "first all that came after this one"},
    {.param = "domains",
     .type = OPTION_LIST,
     .value = "DOMAIN,DOMAIN...",
     .help = "of these domains alone"},
    {.param = "kinds",
     .type = OPTION_LIST,
     .value = "KIND,KIND...",
     .help = "of these kinds alone"},
    {0},
};

#define STARTS_AND_WAITS (VERB_CHANGES | VERB_STARTS | VERB_WAITS | VERB_TELLS)
#define STARTS (VERB_CHANGES | VERB_STARTS | VERB_TELLS)

static const struct verb verbs[] = {
    {"domain", "list", "domain.list", "", NULL, 0, "All domains", show_domains, NULL},
    {"domain", "get", "domain.get", "domain", NULL, 0, "A domain with its disks and jobs",
     show_domain, NULL},
    {"domain", "chain", "domain.get", "domain ~disk?", NULL, 0,
     "The images of a domain's disks as trees", show_chain, NULL},
    {"domain", "define", "domain.define", "name?", domain_define_options, VERB_CHANGES,
     "Make a guest known", show_domain, NULL},
    {"domain", "undefine", "domain.undefine", "domain", domain_undefine_options, VERB_CHANGES,
     "Forget a guest", show_nothing, NULL},
    {"domain", "blockdev", "domain.blockdev", "domain", NULL, 0,
     "What to start the guest from now, as QEMU's -blockdev arguments", show_blockdev, NULL},
    {"domain", "check", "domain.check", "domain", NULL, 0,
     "Hold records, images and QEMU against each other", show_findings, NULL},

    {"snapshot", "create", "snapshot.create", "domain name?", snapshot_create_options,
     STARTS_AND_WAITS, "Take a snapshot of all disks at one instant", show_outcome, NULL},
    {"snapshot", "list", "snapshot.list", "domain", snapshot_list_options, 0,
     "The snapshots of a domain", show_snapshots, NULL},
    {"snapshot", "tree", "snapshot.list", "domain", NULL, 0, "The snapshots of a domain as a tree",
     show_snapshot_tree, NULL},
    {"snapshot", "get", "snapshot.get", "domain name", NULL, 0, "A snapshot", show_snapshot, NULL},
    {"snapshot", "xml", "snapshot.xml", "domain name", NULL, 0,
     "A snapshot as libvirt's <domainsnapshot>", show_text, NULL},
    {"snapshot", "current", "snapshot.current", "domain name?", NULL, VERB_CHANGES,
     "Tell or set the current snapshot", show_current, NULL},
    {"snapshot", "redefine", "snapshot.redefine", "domain", snapshot_redefine_options, VERB_CHANGES,
     "Add a record of a snapshot that exists", show_snapshot, NULL},
    {"snapshot", "delete", "snapshot.delete", "domain name", snapshot_delete_options,
     STARTS_AND_WAITS, "Merge a snapshot's data away, or forget it", show_outcome, NULL},
    {"snapshot", "revert", "snapshot.revert", "domain name", snapshot_revert_options,
     STARTS_AND_WAITS, "Go back to a snapshot", show_outcome, NULL},
    {"snapshot", "export", "snapshot.export", "domain", NULL, 0,
     "The whole hierarchy as one document", show_document, NULL},
    {"snapshot", "import", "snapshot.import", "domain", snapshot_import_options, VERB_CHANGES,
     "Take over an exported hierarchy, all or nothing", show_nothing, NULL},

    {"block", "commit", "block.commit", "domain disk", block_commit_options, STARTS,
     "Merge layers down into their base", show_outcome, NULL},
    {"block", "copy", "block.copy", "domain disk dest", block_copy_options, STARTS,
     "Copy a disk while the guest writes", show_outcome, NULL},
    {"block", "pull", "block.pull", "domain disk", block_pull_options, STARTS,
     "Merge backing data up into the active layer", show_outcome, NULL},

    {"job", "list", "job.list", "domain?", job_list_options, 0, "Jobs, active and ended", show_jobs,
     NULL},
    {"job", "get", "job.get", "job", NULL, 0, "A job and its outcome", show_job, NULL},
    {"job", "wait", "job.wait", "job", job_wait_options, VERB_WAITS | VERB_TELLS,
     "Wait for a job, with a progress bar", show_outcome, NULL},
    {"job", "pivot", "job.pivot", "jobs", job_pivot_options, STARTS_AND_WAITS,
     "Switch the disks of ready jobs to their targets, all or none", show_outcome, NULL},
    {"job", "cancel", "job.cancel", "job", job_cancel_options, STARTS_AND_WAITS,
     "End a job without its switch", show_outcome, NULL},
    {"job", "set-speed", "job.set_speed", "job", job_set_speed_options, VERB_CHANGES,
     "Bound a job's speed", show_nothing, NULL},
    {"job", "pause", "job.pause", "job", NULL, VERB_CHANGES, "Hold a job", show_nothing, NULL},
    {"job", "resume", "job.resume", "job", NULL, VERB_CHANGES, "Go on with a paused or stalled job",
     show_nothing, NULL},
    {"job", "forget", "job.forget", "job", NULL, VERB_CHANGES, "Drop an ended job's record",
     show_nothing, NULL},

    {"guest", "status", "guest.status", "domain", NULL, 0, "The agent and what is frozen",
     show_guest, NULL},
    {"guest", "freeze", "guest.freeze", "domain", guest_freeze_options, VERB_CHANGES,
     "Freeze the guest's file systems for a while", show_frozen, NULL},
    {"guest", "thaw", "guest.thaw", "domain", NULL, VERB_CHANGES, "Thaw them", show_frozen, NULL},

    {"events", NULL, "event.subscribe", "", event_options, 0, "Print events until interrupted",
     NULL, run_events},
    {"event", "subscribe", "event.subscribe", "", event_options, 0,
     "Print events until interrupted", NULL, run_events},
    {"event", "unsubscribe", "event.unsubscribe", "", NULL, 0,
     "End this connection's subscription; a new connection has none", show_nothing, NULL},

    {"daemon", "info", "daemon.info", "", NULL, 0, "Version, start and numbers of the daemon",
     show_info, NULL},
    {"daemon", "metrics", "daemon.metrics", "", NULL, 0, "Figures in Prometheus' text format",
     show_text, NULL},
    {"daemon", "reload", "daemon.reload", "", NULL, VERB_CHANGES, "Read the configuration again",
     show_nothing, NULL},
    {"rpc", "discover", "rpc.discover", "", NULL, 0, "The interface as an OpenRPC document",
     show_document, NULL},
};

static const struct option changes_options[] = {
    {.param = "request_id",
     .type = OPTION_STRING,
     .value = "ID",
     .help = "asked again with the same one, nothing happens twice"},
    {0},
};

static const struct option starts_options[] = {
    {.param = "wait",
     .type = OPTION_CHOICE,
     .value = "no|ready|ended",
     .help = "for how much of the job"},
    {.param = "timeout_ms", .type = OPTION_NUMBER, .value = "MS", .help = "wait no longer"},
    {0},
};

/* Everything that a position can stand for can also be named. */
static const struct option positional_options[] = {
    {.param = "domain", .type = OPTION_STRING, .value = "DOMAIN"},
    {.param = "disk", .type = OPTION_STRING, .value = "DISK"},
    {.param = "name", .type = OPTION_STRING, .value = "NAME"},
    {.param = "job", .type = OPTION_NUMBER, .value = "JOB"},
    {.param = "jobs", .type = OPTION_NUMBERS, .value = "JOB,JOB..."},
    {0},
};

const struct verb *verb_at(size_t i)
{
    return i < sizeof(verbs) / sizeof(verbs[0]) ? &verbs[i] : NULL;
}

static bool same_name(const char *name, const char *given, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (name[i] != given[i] && !(strchr("-_", name[i]) && name[i] && strchr("-_", given[i])))
            return false;
    return name[size] == '\0';
}

const struct verb *verb_find(const char *noun, const char *name)
{
    const struct verb *verb;

    for (size_t i = 0; (verb = verb_at(i)); i++)
        if (strcmp(verb->noun, noun) == 0 && !verb->name == !name &&
            (!name || same_name(verb->name, name, strlen(name))))
            return verb;
    return NULL;
}

const struct option *verb_option(const struct verb *verb, size_t i)
{
    const struct option *lists[] = {
        verb->options,
        verb->flags & VERB_CHANGES ? changes_options : NULL,
        verb->flags & VERB_STARTS ? starts_options : NULL,
    };

    for (size_t list = 0; list < sizeof(lists) / sizeof(lists[0]); list++)
        for (const struct option *option = lists[list]; option && option->param; option++)
            if (i-- == 0)
                return option;
    return NULL;
}

static bool verb_has_positional(const struct verb *verb, const char *param)
{
    size_t size = strlen(param);

    if (strncmp(verb->positional, "job", 3) == 0)
        return strcmp(param, "name") != 0 &&
               (strcmp(param, "jobs") != 0 || strcmp(verb->positional, "jobs") == 0);
    for (const char *p = verb->positional; *p; p += *p == ' ') {
        p += *p == '~';
        if (strncmp(p, param, size) == 0 && strchr(" ?", p[size]))
            return true;
        p += strcspn(p, " ");
    }
    return false;
}

const struct option *verb_option_find(const struct verb *verb, const char *name, size_t size)
{
    const struct option *option;

    for (size_t i = 0; (option = verb_option(verb, i)); i++)
        if (same_name(option->param, name, size) ||
            (option->alias && same_name(option->alias, name, size)))
            return option;
    for (option = positional_options; option->param; option++)
        if (same_name(option->param, name, size) && verb_has_positional(verb, option->param))
            return option;
    return NULL;
}
