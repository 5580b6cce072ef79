/* Records as text, every field of them, so that what was stored and what was read back can be
 * compared as a whole and a difference is shown by name. */
#ifndef SNAPVM_TESTS_UNIT_JOURNAL_TEXT_H
#define SNAPVM_TESTS_UNIT_JOURNAL_TEXT_H

#include "journal/record.h"

/* Owned by the caller. */
char *text_of_domain(const struct record_domain *domain);
char *text_of_job(const struct record_job *job);
char *text_of_snapshot(const struct record_snapshot *snapshot);
char *text_of_debt(const struct record_debt *debt);
char *text_of_request(const struct record_request *request);

/* Records with a value of its own in each field. Texts are made from the seed, and all that may be
 * NULL are NULL with a seed of NULL. To be deinitialised. */
struct record_domain make_domain(const char *name, const char *seed);
struct record_job make_job(int64_t id, const char *domain, const char *seed);
struct record_snapshot make_snapshot(const char *domain, const char *name, const char *seed);
struct record_debt make_debt(const char *domain, const char *seed);
struct record_request make_request(const char *id, const char *seed);

#endif
