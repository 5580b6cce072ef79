/* What a method's result looks like to a person, one function a shape of result. A result of
 * another shape shows less, and does no harm. */
#ifndef SNAPVM_CLIENT_SNAPVMCTL_SHOW_H
#define SNAPVM_CLIENT_SNAPVMCTL_SHOW_H

#include <stdio.h>

struct json_object;

/* Domains, their disks and chains. */
void show_domain(struct json_object *result);
void show_domains(struct json_object *result);
void show_chain(struct json_object *result);
void show_blockdev(struct json_object *result);
void show_findings(struct json_object *result);

/* Leaves only the disk of that name, device, node or active image in a domain; -1 when there is
 * none. */
int show_only_disk(struct json_object *domain, const char *disk);

/* Jobs: everything of one, a list, or what became of one in a few lines. */
void show_job(struct json_object *result);
void show_jobs(struct json_object *result);
void show_outcome(struct json_object *result);

/* "job 17 (active-commit of web vda)", for lines and bars; owned by the caller. */
char *show_job_title(struct json_object *job);

/* Snapshots. */
void show_snapshot(struct json_object *result);
void show_snapshots(struct json_object *result);
void show_snapshot_tree(struct json_object *result);
void show_current(struct json_object *result);

/* A member in bytes as a cell, "-" where it is missing or negative. */
struct row;
void show_size(struct row *row, size_t column, struct json_object *object, const char *name);

/* Guests, the daemon, and the rest. */
void show_guest(struct json_object *result);
void show_frozen(struct json_object *result);
void show_info(struct json_object *result);
void show_event(struct json_object *event, FILE *out);

/* The member `text` or `xml` as it is. */
void show_text(struct json_object *result);

/* JSON in many lines: for documents that a person reads rarely. */
void show_document(struct json_object *result);

/* Nothing: the exit status says it all. */
void show_nothing(struct json_object *result);

#endif
