/* The contract's objects as JSON: domain, disk, job, snapshot. Every value returned is owned by the
 * caller. */
#ifndef SNAPVM_API_WIRE_H
#define SNAPVM_API_WIRE_H

#include <stdbool.h>
#include <stdio.h>

#include "proto/json.h"

struct domain;
struct job;
struct record_disk;
struct record_job;
struct record_snapshot;
struct snapshot;

json_object *wire_domain(const struct domain *domain);
json_object *wire_disk(const struct domain *domain, const struct record_disk *disk);
json_object *wire_job(const struct record_job *job);
json_object *wire_snapshot(const struct domain *domain, const struct snapshot *snapshot);
void wire_snapshot_text(FILE *out, const struct domain *domain, const struct snapshot *snapshot);
json_object *wire_snapshot_record(const struct record_snapshot *record, unsigned children,
                                  bool current);

/* A chain as QEMU's -blockdev takes it, from its active layer down. */
json_object *wire_blockdev(const struct domain *domain, const struct record_disk *disk);

/* A job as text, for events; owned by the caller. */
char *wire_job_text(const struct job *job);

/* "backup0 (mirror), x (commit)": the jobs in QEMU that somebody else started. Owned by the caller,
 * NULL when there are none. */
char *wire_foreign_names(const struct domain *domain);

#endif
