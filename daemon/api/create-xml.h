/* libvirt's <domainsnapshot> as the request for a new snapshot. */
#ifndef SNAPVM_API_CREATE_XML_H
#define SNAPVM_API_CREATE_XML_H

#include "base/error.h"
#include "proto/json.h"

struct domain;

/* Puts what the parameter xml says in its place among the parameters: name, description, memory,
 * and for every disk of the domain what is to be done with it (those that it does not name are
 * meant as they are without any list). What tells of a snapshot that exists (parent, time, state,
 * the <domain>) is not looked at. Errors: InvalidParams, Unsupported. */
int create_xml_take(struct domain *domain, json_object *params, struct error *err);

#endif
