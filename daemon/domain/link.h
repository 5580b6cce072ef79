/* The upkeep of a domain's connections: monitor, agent, and the watch on its QEMU's process. A
 * connection that is lost is made anew, at once when its socket appears in the folder that is
 * watched, else with a growing delay. */
#ifndef SNAPVM_DOMAIN_LINK_H
#define SNAPVM_DOMAIN_LINK_H

#include <stdint.h>

struct domain;
struct domain_link;

struct domain_link *link_new(struct domain *domain);
struct domain_link *link_free(struct domain_link *link);

/* Connects what is not connected, now. */
void link_kick(struct domain_link *link);

/* Closes the agent's connection and makes a new one: what QEMU had not taken is cancelled. */
void link_renew_agent(struct domain_link *link);

/* Looks again whether the agent's port is open where it was closed when it was seen last: QEMU
 * tells of a change only for ports whose device has an id. Then, or at once, fn is called; not when
 * the domain is removed meanwhile. */
typedef void (*link_port_fn)(void *arg);
void link_look_port(struct domain_link *link, link_port_fn fn, void *arg);

/* See domain_look and its sisters; looks are those of qmp-command.h. */
uint64_t link_look(struct domain_link *link, unsigned looks);

#endif
