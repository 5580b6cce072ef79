/* Replies of a monitor, one a line, as a view is read from them: in the order of the table below,
 * missing ones are lacking. Whatever they say, walks over the graph end and find what is there.
 * Sources: daemon/qemu/qmp-view.c daemon/qemu/view.c */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/json.h"
#include "proto/limits.h"
#include "qemu/qmp-view.h"
#include "qemu/view.h"

#define N_PARTS 7

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_walks(const struct view *view)
{
    struct view_node *node, *next, *found;

    HASH_ITER (hh, view->nodes, node, next) {
        require(view_node(view, node->name) == node && node->name[0]);
        found = view_layer(view, node->name);
        require(!found || !view_is_filter(found->driver));
        if (found)
            view_below(view, found);
        require(!view_in_chain(view, node->name, ""));
        require(view_nodes_of_file(view, node->file, &found) <= HASH_COUNT(view->nodes));
    }
    for (unsigned i = 0; i < view->n_disks; i++) {
        require(!view->disks[i].qdev || view_disk(view, view->disks[i].qdev));
        view_layer(view, view->disks[i].root);
    }
    for (unsigned i = 0; i < view->n_jobs; i++)
        require(view_job(view, view->jobs[i].id) == &view->jobs[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_object *parts[N_PARTS] = {NULL};
    struct frame frame;
    struct view *view;
    char *line;
    size_t length;

    frame_init(&frame, LIMIT_QMP_LINE);
    frame_feed(&frame, (const char *)data, size);
    frame_feed(&frame, "\n", 1);
    for (unsigned i = 0; i < N_PARTS && frame_next(&frame, &line, &length) == FRAME_LINE; i++)
        if (json_read(line, length, LIMIT_QMP_NESTING, &parts[i]) != JSON_OK)
            parts[i] = NULL;
    view = qmp_view_read(&(struct qmp_view_replies){
        .status = parts[0],
        .jobs = parts[1],
        .block_jobs = parts[2],
        .block = parts[3],
        .blockstats = parts[4],
        .nodes = parts[5],
        .chardevs = parts[6],
    });
    require_walks(view);
    view_free(view);
    for (unsigned i = 0; i < N_PARTS; i++)
        json_object_put(parts[i]);
    frame_deinit(&frame);
    return 0;
}
