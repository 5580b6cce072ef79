/* QEMU's block graph against the records of a domain: jobs and nodes that nobody owns, disks that
 * somebody else switched. Pure: for the loop, with a view that was just taken. */
#ifndef SNAPVM_JOB_CHECK_GRAPH_H
#define SNAPVM_JOB_CHECK_GRAPH_H

struct domain;
struct findings;

void check_graph_run(const struct domain *domain, struct findings *findings);

#endif
