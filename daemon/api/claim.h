/* What a client says of images that exist, held against the images: they are there, of the format
 * that is said, over the backing file that is said, and hold the internal snapshots that are said.
 * Nothing is written, and what cannot be seen from here (other hosts, other formats) is believed.
 */
#ifndef SNAPVM_API_CLAIM_H
#define SNAPVM_API_CLAIM_H

#include "base/error.h"

struct claims;
struct definition;
struct domain;
struct worker;

/* Claims about images of a domain, as its QEMU sees them. */
struct claims *claims_new(const struct domain *domain);

/* Those of one snapshot, which stays where it is until `done` and has gained by then the formats of
 * frozen images that it left open and the headers tell. */
void claims_add(struct claims *claims, struct definition *definition);

/* Looks on the worker, and calls `done` on the loop with the first claim that is wrong: ImageError
 * (file, reason) or Mismatch (expected, found). Takes the claims over. */
void claims_check(struct claims *claims, struct worker *worker,
                  void (*done)(void *arg, const struct error *err), void *arg);

#endif
