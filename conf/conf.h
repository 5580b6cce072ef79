/* The configuration: what /etc/snapvm/snapvmd.conf says, with the defaults for what it leaves out.
 * A reload reads into a fresh struct and swaps it in when all of it is right, so that a mistake in
 * the file changes nothing. */
#ifndef SNAPVM_CONF_H
#define SNAPVM_CONF_H

#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct error;

#define CONF_PATH SNAPVM_SYSCONFDIR "/snapvm/snapvmd.conf"
#define CONF_NO_GROUP ((gid_t)-1)

struct conf {
    /* [daemon]: absolute paths, and a level of syslog(3) */
    char *socket, *state_dir, *guests_dir;
    int log_level;

    /* [access]: CONF_NO_GROUP where no group is named */
    gid_t admin_group, operator_group, reader_group;

    /* [images]: absolute folders; a program by its name or its absolute path */
    char **image_dirs;
    size_t n_image_dirs;
    char *qemu_img;

    int agent_timeout_ms, freeze_timeout_ms, lease_max_ms;            /* [agent] */
    int greeting_timeout_ms, command_timeout_ms;                      /* [qmp] */
    int connections, request_bytes, nesting, in_flight, output_bytes; /* [limits] */
    int jobs_days, events, request_ids_hours;                         /* [history] */
};

/* What the command line says, NULL where it says nothing. The texts belong to the caller and are
 * needed for as long as the configuration may be read again. */
struct conf_overrides {
    const char *socket, *state_dir, *guests_dir, *log_level;
};

/* All defaults; conf_deinit() frees what it owns. */
void conf_init(struct conf *conf);
void conf_deinit(struct conf *conf);

/* Reads a file. NULL is CONF_PATH, which may be missing: then all is default. An error says
 * FILE:LINE and what is wrong there, is an InvalidParams and leaves *ret_conf alone. */
int conf_load(const char *path, struct conf *ret_conf, struct error *err);

/* Lets the command line win over what the file said; called again after every conf_load(). The same
 * rules hold as in the file, the error names the option. A conf that has taken these overrides once
 * always takes them again. */
int conf_apply(struct conf *conf, const struct conf_overrides *overrides, struct error *err);

#endif
