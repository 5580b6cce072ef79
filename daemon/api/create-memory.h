/* snapshot.create with the guest's memory. */
#ifndef SNAPVM_API_CREATE_MEMORY_H
#define SNAPVM_API_CREATE_MEMORY_H

#include "proto/json.h"

#include "base/error.h"

struct conf;
struct domain;
struct job;

/* Whether the memory of the guest can be saved as the parameters say, before anything is made; none
 * asked for is none refused. Errors: InvalidParams, InvalidState (state), Unsupported, Busy. */
int create_memory_check(const struct domain *domain, json_object *params, struct error *err);

/* Whether it is to be inside an image: so are the snapshots of the disks, unless it is said. */
bool create_memory_is_inside(json_object *params);

/* Adds the file to a job that has its overlays, or the memory to one that is inside its images.
 * Errors: those of overlay_check_file, Unsupported. */
int create_memory_add(const struct conf *conf, struct job *job, json_object *params,
                      struct error *err);

#endif
