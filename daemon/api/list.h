/* A long array as text, made element by element: as values 10,000 snapshots take ten times the
 * memory of their text. */
#ifndef SNAPVM_API_LIST_H
#define SNAPVM_API_LIST_H

#include <stdio.h>

#include "proto/json.h"

struct list {
    FILE *file;
    char *text;
    size_t size, n;
};

void list_begin(struct list *list);
void list_add(struct list *list, json_object *element); /* taken over */

/* Where the text of the next element is to be written. */
FILE *list_next(struct list *list);

/* The array; the list is over. */
json_object *list_end(struct list *list);

#endif
