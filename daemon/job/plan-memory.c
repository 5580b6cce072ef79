/* A snapshot of a running guest with its memory: the disks as they are at the instant at which the
 * memory is saved. Files are made, and the guest is frozen if that is asked for, before the vCPUs
 * are held. They are held while the memory is written, which takes as long as it is large; the
 * disks are switched then, the vCPUs go on, the guest is thawed. Synced is the file behind that, so
 * that the guest does not wait for it; the snapshot is not told of before.
 *
 * Frozen is before held, since a guest that stands cannot freeze: so the saved memory is that of a
 * frozen guest, and has to be thawed when it is started again. In return the frozen layers are
 * clean without it.
 *
 * Before the switch the old layers are the disks and the file is worth nothing. QEMU ends: it is
 * removed, with the overlays. The daemon ends: the migration is cancelled, the vCPUs go on, all is
 * removed; a snapshot is not taken late. From the switch on everything is carried through. Once the
 * vCPUs have gone on the stream is complete; until it is synced the crash of the host can tear it.
 * Then, if the overlays hold data already, the snapshot has failed, and they are the disks. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "domain/domains.h"
#include "job/engine.h"
#include "job/memory.h"
#include "job/quiesce.h"
#include "job/snapshot-job.h"
#include "proto/snapvm-errors.h"

static const struct step memory_steps[] = {
    {.name = "overlays",
     .probe = overlays_probe,
     .act = overlays_act,
     .undo = overlays_undo,
     .flags = STEP_RECORD,
     .note = overlays_note,
     .does = "make the overlays and a file for the memory (never over a file that is there), sync "
             "them and their folders, open the overlays as nodes without backing, ask the agent; "
             "the freeze debt is recorded with it",
     .image = "the old layer; the files are known by name, and removed",
     .lives = "roots of the disks",
     .gone = "data in the overlays: rolled-back"},
    {.name = "hand",
     .act = memory_hand_act,
     .undo = memory_hand_undo,
     .flags = STEP_RECORD,
     .note = memory_hand_note,
     .does = "record that the vCPUs will be held; give QEMU a descriptor of the file (getfd), ask "
             "whether it can migrate",
     .image = "the old layer",
     .lives = "roots of the disks",
     .gone = "data in the overlays: rolled-back"},
    {.name = "freeze",
     .probe = freeze_probe,
     .act = quiesce_freeze,
     .undo = quiesce_undo,
     .skip = freeze_skip,
     .does = "if the guest's agent has just answered: freeze",
     .image = "the old layer",
     .lives = "roots of the disks",
     .gone = "data in the overlays: rolled-back"},
    {.name = "hold",
     .probe = memory_hold_probe,
     .act = memory_hold_act,
     .undo = memory_hold_undo,
     .does = "take a freeze back that was not answered: the saved memory would obey it later; hold "
             "the vCPUs (stop)",
     .image = "the old layer",
     .lives = "roots of the disks, run state",
     .gone = "data in the overlays: rolled-back"},
    {.name = "save",
     .probe = memory_save_probe,
     .act = memory_save_act,
     .undo = memory_save_undo,
     .flags = STEP_WAIT,
     .does = "migrate into the file, until completed and postmigrate: the images are inactive",
     .image = "the old layer",
     .lives = "roots of the disks, run state, the migration, whether the file is begun and open in "
              "QEMU",
     .gone = "data in the overlays, the end of the memory: rolled-back, completed, failed"},
    {.name = "switch",
     .probe = switch_probe,
     .act = switch_act,
     .flags = STEP_COMMITS,
     .does = "one transaction puts every overlay on its disk",
     .image = "the overlay: while it is empty it reads through",
     .lives = "roots of the disks",
     .gone = "data in the overlays: rolled-back"},
    {.name = "release",
     .probe = memory_release_probe,
     .act = memory_release_act,
     .does = "cont, unless somebody else has stopped the guest: its images are active again",
     .image = "the overlay",
     .lives = "run state",
     .gone = "data in the overlays, the end of the memory: rolled-back, completed"},
    {.name = "thaw",
     .act = quiesce_thaw,
     .skip = thaw_skip,
     .does = "thaw; its count and the status behind it tell whether the snapshot is quiesced",
     .image = "the overlay"},
    {.name = "settle",
     .act = memory_settle_act,
     .flags = STEP_END,
     .note = snapshot_settle_note,
     .does = "sync the file and its folder; then metadata, current snapshot, outcome and events in "
             "one commit. A file that is not whole, or not wanted any more, is removed, and the "
             "snapshot taken back",
     .image = "the overlay"},
};

/* --- hooks --- */

/* The last record before the end says no more than that it has been begun to hold and to save:
 * evidence of both is looked for, and taken back, from there. */
static void memory_resume(struct job *job)
{
    snapshot_resume(job);
    job->domain->saving = true;
    if (strcmp(job_step(job)->name, "hand") == 0 && !job_has(job, JOB_UNDOING))
        while (strcmp(job_step(job)->name, "save") != 0)
            job->step++;
}

void memory_conclude(struct job *job, const char *result)
{
    struct record_image *image = job_image(job, NULL, "memory");
    _cleanup_free_ char *found = TAKE_PTR(image->state);

    job->domain->saving = false;
    snapshot_conclude(job, result);
    if (strcmp(result, "completed") == 0)
        xstrset(&image->state, "valid");
    else if (found)
        xstrset(&image->state, found);
    else
        xstrset(&image->state, image->made ? "removed" : "valid");
}

void snapshot_job_add_memory(struct job *job, const char *file)
{
    struct record_image *image = record_job_add_image(&job->record, "", "memory", file);

    xstrset(&job->record.kind, "memory-snapshot");
    xstrset(&image->format, "raw");
    image->made = true;
    job->plan = &plan_memory;
    job->step = 0;
}

const struct plan plan_memory = {
    .name = "memory-snapshot",
    .title = "Snapshot of a running guest with its memory",
    .steps = memory_steps,
    .n_steps = sizeof(memory_steps) / sizeof(memory_steps[0]),
    .undone = "rolled-back",
    .observe = memory_observe,
    .resume = memory_resume,
    .forward = snapshot_forward,
    .offline = snapshot_offline,
    .conclude = memory_conclude,
};
