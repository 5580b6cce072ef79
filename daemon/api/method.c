#include "api/method.h"

#include <string.h>

#include "api/handlers.h"

/* Rows of parameters, one table a shape. The last row has no name. */
#define PARAM(n, t, ...)                            \
    {                                               \
        .name = n, .type = PARAM_##t, ##__VA_ARGS__ \
    }
#define NEEDED .required = true
#define END          \
    {                \
        .name = NULL \
    }

#define WORDS_MODE "no|internal|external|manual"
#define WORDS_KINDS                                                                 \
    "domain.defined|domain.undefined|domain.connected|domain.disconnected|"         \
    "domain.state|job.created|job.ready|job.stalled|job.ended|job.progress|"        \
    "snapshot.created|snapshot.deleted|snapshot.current|guest.frozen|guest.thawed|" \
    "guest.thaw_owed"

static const struct param define_disk[] = {
    PARAM("target", STRING, NEEDED),
    PARAM("file", STRING),
    PARAM("node", STRING),
    PARAM("format", STRING),
    END,
};

static const struct param define[] = {
    PARAM("name", STRING),
    PARAM("qmp", STRING),
    PARAM("agent", STRING),
    PARAM("uuid", STRING),
    PARAM("disks", OBJECTS, .members = define_disk),
    PARAM("xml", STRING),
    END,
};

static const struct param undefine[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("snapshots", STRING, .words = "refuse|forget"),
    END,
};

static const struct param domain[] = {PARAM("domain", STRING, NEEDED), END};

static const struct param create_disk[] = {
    PARAM("disk", STRING, NEEDED), PARAM("mode", STRING, .words = WORDS_MODE),
    PARAM("file", STRING),         PARAM("format", STRING),
    PARAM("reuse", BOOLEAN),       END,
};

static const struct param create_memory[] = {
    PARAM("mode", STRING, NEEDED, .words = "external|internal"),
    PARAM("file", STRING),
    END,
};

static const struct param create[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("name", STRING),
    PARAM("description", STRING),
    PARAM("disks", OBJECTS, .members = create_disk),
    PARAM("quiesce", STRING, .words = "none|preferred|required"),
    PARAM("metadata", BOOLEAN),
    PARAM("memory", OBJECT, .members = create_memory),
    PARAM("disk_only", BOOLEAN),
    PARAM("xml", STRING),
    PARAM("validate", BOOLEAN),
    PARAM("halt", BOOLEAN),
    END,
};

static const struct param snapshots[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("parent", STRING),
    PARAM("roots", BOOLEAN),
    PARAM("leaves", BOOLEAN),
    PARAM("location", STRING, .words = "internal|external|mixed"),
    PARAM("topological", BOOLEAN),
    PARAM("after", STRING),
    PARAM("limit", INTEGER),
    END,
};

static const struct param snapshot[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("name", STRING, NEEDED),
    END,
};

static const struct param current[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("name", STRING),
    END,
};

static const struct param redefine[] = {
    PARAM("domain", STRING, NEEDED), PARAM("xml", STRING),       PARAM("snapshot", OBJECT),
    PARAM("current", BOOLEAN),       PARAM("validate", BOOLEAN), END,
};

static const struct param delete[] = {
    PARAM("domain", STRING, NEEDED), PARAM("name", STRING, NEEDED),
    PARAM("metadata_only", BOOLEAN), PARAM("children", BOOLEAN),
    PARAM("children_only", BOOLEAN), END,
};

static const struct param revert[] = {
    PARAM("domain", STRING, NEEDED), PARAM("name", STRING, NEEDED), PARAM("running", BOOLEAN),
    PARAM("paused", BOOLEAN),        PARAM("force", BOOLEAN),       END,
};

static const struct param import_path[] = {
    PARAM("from", STRING, NEEDED),
    PARAM("to", STRING, NEEDED),
    END,
};

static const struct param import[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("bundle", OBJECT, NEEDED),
    PARAM("paths", OBJECTS, .members = import_path),
    END,
};

static const struct param commit[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("disk", STRING, NEEDED),
    PARAM("top", STRING),
    PARAM("base", STRING),
    PARAM("shallow", BOOLEAN),
    PARAM("active", BOOLEAN),
    PARAM("delete", BOOLEAN),
    PARAM("bandwidth", INTEGER),
    PARAM("auto_pivot", BOOLEAN),
    END,
};

static const struct param copy_dest[] = {
    PARAM("file", STRING, NEEDED),
    PARAM("format", STRING),
    END,
};

static const struct param copy[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("disk", STRING, NEEDED),
    PARAM("dest", OBJECT, NEEDED, .members = copy_dest),
    PARAM("shallow", BOOLEAN),
    PARAM("reuse", BOOLEAN),
    PARAM("sync_writes", BOOLEAN),
    PARAM("granularity", INTEGER),
    PARAM("buf_size", INTEGER),
    PARAM("bandwidth", INTEGER),
    PARAM("auto_pivot", BOOLEAN),
    END,
};

static const struct param pull[] = {
    PARAM("domain", STRING, NEEDED), PARAM("disk", STRING, NEEDED), PARAM("top", STRING),
    PARAM("base", STRING),           PARAM("bandwidth", INTEGER),   END,
};

static const struct param jobs[] = {
    PARAM("domain", STRING),
    PARAM("active", BOOLEAN),
    PARAM("after", INTEGER),
    PARAM("limit", INTEGER),
    END,
};

/* Wherever a method takes a job, the domain and the disk may stand instead of it. */
#define JOB PARAM("job", INTEGER), PARAM("domain", STRING), PARAM("disk", STRING)
#define JOB_EITHER "job|domain+disk"

static const struct param job[] = {JOB, END};

static const struct param job_wait[] = {
    JOB,
    PARAM("for", STRING, .words = "ready|ended"),
    PARAM("timeout_ms", INTEGER),
    END,
};

static const struct param job_pivot[] = {
    JOB,
    PARAM("jobs", INTEGERS),
    PARAM("pause", STRING, .words = "auto|never"),
    END,
};

static const struct param job_cancel[] = {JOB, PARAM("force", BOOLEAN), END};

static const struct param job_set_speed[] = {JOB, PARAM("bandwidth", INTEGER, NEEDED), END};

static const struct param freeze[] = {
    PARAM("domain", STRING, NEEDED),
    PARAM("mountpoints", STRINGS),
    PARAM("lease_ms", INTEGER),
    END,
};

static const struct param subscribe[] = {
    PARAM("since", INTEGER),
    PARAM("domains", STRINGS),
    PARAM("kinds", STRINGS, .words = WORDS_KINDS),
    END,
};

/* The columns `changes` and `waits`. */
#define READS .changes = false
#define ALTERS .changes = true
#define STARTS .changes = true, .waits = true

#define METHOD(n, r, ...)                        \
    {                                            \
        .name = n, .role = ROLE_##r, __VA_ARGS__ \
    }

static const struct method methods[] = {
    METHOD("rpc.discover", READER, READS, .handler = rpc_discover_handle),
    METHOD("daemon.info", READER, READS, .handler = daemon_info_handle),
    METHOD("daemon.metrics", READER, READS, .handler = daemon_metrics_handle),
    METHOD("daemon.reload", ADMIN, ALTERS, .handler = daemon_reload_handle),

    METHOD("domain.define", ADMIN, ALTERS, .params = define, .handler = domain_define_handle,
           .either = "name|xml"),
    METHOD("domain.undefine", ADMIN, ALTERS, .params = undefine, .handler = domain_undefine_handle),
    METHOD("domain.list", READER, READS, .handler = domain_list_handle),
    METHOD("domain.get", READER, READS, .params = domain, .handler = domain_get_handle),
    METHOD("domain.blockdev", READER, READS, .params = domain, .handler = domain_blockdev_handle),
    METHOD("domain.check", READER, READS, .params = domain, .handler = domain_check_handle),

    METHOD("snapshot.create", OPERATOR, STARTS, .params = create,
           .handler = snapshot_create_handle),
    METHOD("snapshot.list", READER, READS, .params = snapshots, .handler = snapshot_list_handle),
    METHOD("snapshot.get", READER, READS, .params = snapshot, .handler = snapshot_get_handle),
    METHOD("snapshot.xml", READER, READS, .params = snapshot, .handler = snapshot_xml_handle),
    METHOD("snapshot.current", READER, ALTERS, .params = current,
           .handler = snapshot_current_handle, .writes = "name"),
    METHOD("snapshot.redefine", OPERATOR, ALTERS, .params = redefine,
           .handler = snapshot_redefine_handle, .either = "xml|snapshot"),
    METHOD("snapshot.delete", OPERATOR, STARTS, .params = delete,
           .handler = snapshot_delete_handle),
    METHOD("snapshot.revert", OPERATOR, STARTS, .params = revert,
           .handler = snapshot_revert_handle),
    METHOD("snapshot.export", READER, READS, .params = domain, .handler = snapshot_export_handle),
    METHOD("snapshot.import", ADMIN, ALTERS, .params = import, .handler = snapshot_import_handle),

    METHOD("block.commit", OPERATOR, STARTS, .params = commit, .handler = block_commit_handle),
    METHOD("block.copy", OPERATOR, STARTS, .params = copy, .handler = block_copy_handle),
    METHOD("block.pull", OPERATOR, STARTS, .params = pull, .handler = block_pull_handle),

    METHOD("job.list", READER, READS, .params = jobs, .handler = job_list_handle),
    METHOD("job.get", READER, READS, .params = job, .handler = job_get_handle,
           .either = JOB_EITHER),
    METHOD("job.wait", READER, READS, .params = job_wait, .handler = job_wait_handle,
           .either = JOB_EITHER),
    METHOD("job.pivot", OPERATOR, STARTS, .params = job_pivot, .handler = job_pivot_handle,
           .either = "job|jobs|domain+disk"),
    METHOD("job.cancel", OPERATOR, STARTS, .params = job_cancel, .handler = job_cancel_handle,
           .either = JOB_EITHER),
    METHOD("job.set_speed", OPERATOR, ALTERS, .params = job_set_speed,
           .handler = job_set_speed_handle, .either = JOB_EITHER),
    METHOD("job.pause", OPERATOR, ALTERS, .params = job, .handler = job_pause_handle,
           .either = JOB_EITHER),
    METHOD("job.resume", OPERATOR, ALTERS, .params = job, .handler = job_resume_handle,
           .either = JOB_EITHER),
    METHOD("job.forget", OPERATOR, ALTERS, .params = job, .handler = job_forget_handle,
           .either = JOB_EITHER),

    METHOD("guest.freeze", OPERATOR, ALTERS, .params = freeze, .handler = guest_freeze_handle),
    METHOD("guest.thaw", OPERATOR, ALTERS, .params = domain, .handler = guest_thaw_handle),
    METHOD("guest.status", READER, READS, .params = domain, .handler = guest_status_handle),

    METHOD("event.subscribe", READER, READS, .params = subscribe,
           .handler = event_subscribe_handle),
    METHOD("event.unsubscribe", READER, READS, .handler = event_unsubscribe_handle),
};

#define N_METHODS (sizeof(methods) / sizeof(methods[0]))

/* What `changes` and `waits` bring along. */
static const struct param request_params[] = {PARAM("request_id", STRING)};
static const struct param wait_params[] = {
    PARAM("wait", STRING, .words = "no|ready|ended"),
    PARAM("timeout_ms", INTEGER),
};

const struct method *method_find(const char *name)
{
    for (size_t i = 0; i < N_METHODS; i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

const struct method *method_table(size_t *ret_n)
{
    *ret_n = N_METHODS;
    return methods;
}

const struct param *method_param_at(const struct method *method, size_t i)
{
    const struct param *params = method->params;

    for (; params && params->name; params++)
        if (i-- == 0)
            return params;
    if (method->changes && i-- == 0)
        return request_params;
    return method->waits && i < 2 ? &wait_params[i] : NULL;
}

const struct param *method_param(const struct method *method, const char *name)
{
    const struct param *param;

    for (size_t i = 0; (param = method_param_at(method, i)); i++)
        if (strcmp(param->name, name) == 0)
            return param;
    return NULL;
}

bool method_alters(const struct method *method, json_object *params)
{
    return method->writes ? json_object_object_get_ex(params, method->writes, NULL)
                          : method->changes;
}

enum call_role method_needs(const struct method *method, json_object *params)
{
    return method->writes && method_alters(method, params) ? ROLE_OPERATOR : method->role;
}

const char *method_role_name(enum call_role role)
{
    static const char *const names[] = {"none", "reader", "operator", "admin"};

    return names[role];
}
