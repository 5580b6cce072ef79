/* Reading everything that memory holds, at start. */
#ifndef SNAPVM_JOURNAL_LOAD_H
#define SNAPVM_JOURNAL_LOAD_H

#include "base/error.h"

struct journal_model;

/* Reads the database at path, as of one instant, over a connection of its own. */
int load_model(const char *path, struct journal_model *ret_model, struct error *err);

#endif
