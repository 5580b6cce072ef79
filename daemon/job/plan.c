#include "job/plan.h"

#include <string.h>

static const struct plan *const plans[] = {
    &plan_snapshot,   &plan_back,       &plan_drop,          &plan_off_snapshot,  &plan_commit,
    &plan_copy,       &plan_keep,       &plan_copied,        &plan_merge,         &plan_pull,
    &plan_off_commit, &plan_off_active, &plan_delete_inside, &plan_delete,        &plan_off_delete,
    &plan_off_revert, &plan_memory,     &plan_memory_back,   &plan_memory_inside, &plan_memory_drop,
    &plan_load,       &plan_halt,       &plan_memory_halt,
};

#define N_PLANS (sizeof(plans) / sizeof(plans[0]))

const struct plan *plan_of_step(const char *kind, const char *step, unsigned *ret_index)
{
    for (size_t i = 0; i < N_PLANS; i++) {
        if (strcmp(plans[i]->name, kind) != 0)
            continue;
        for (unsigned k = 0; k < plans[i]->n_steps; k++) {
            if (strcmp(plans[i]->steps[k].name, step) != 0)
                continue;
            *ret_index = k;
            return plans[i];
        }
    }
    return NULL;
}

static const char *step_record(const struct step *step)
{
    if (step->flags & STEP_DECIDE)
        return "decision";
    if (step->flags & STEP_END)
        return "end";
    return step->flags & STEP_RECORD ? "before" : "-";
}

static const char *step_undo(const struct step *step)
{
    return step->undo ? "yes" : "-";
}

/* The hyphens of QEMU's commands are none of typography: roff has to be told. */
static void roff_print(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '-')
            fputc('\\', out);
        fputc(*text, out);
    }
}

/* Letters, which leave room for the texts: the page says what they mean. */
static const char *step_marks(const struct step *step)
{
    if (step->flags & STEP_DECIDE)
        return "D";
    if (step->flags & STEP_END)
        return "E";
    if (step->flags & STEP_RECORD)
        return step->undo ? "R U" : "R";
    return step->undo ? "U" : "";
}

static void roff_print_block(FILE *out, const char *text)
{
    fprintf(out, "|T{\n");
    roff_print(out, text);
    fprintf(out, "\nT}");
}

/* A table as wide as the terminal, whose texts wrap flush left and without hyphenation. */
static void plan_print_roff(FILE *out, const struct plan *plan)
{
    fprintf(out, ".SS %s\n.na\n.nh\n.TS\ntab(|);\n", plan->title);
    fprintf(out, "lb2 lb2 lb2 lb\nl2 l2 lx2 lw(16n).\n");
    fprintf(out, "step|mark|what it does|right image\n");
    for (unsigned i = 0; i < plan->n_steps; i++) {
        const struct step *step = &plan->steps[i];

        roff_print(out, step->name);
        fprintf(out, "|%s", step_marks(step));
        roff_print_block(out, step->does);
        roff_print_block(out, step->image);
        fputc('\n', out);
    }
    fprintf(out, ".TE\n.hy\n.ad\n");
}

static bool plan_tells_of_crashes(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].lives)
            return true;
    return false;
}

/* What settles a crash, of the steps at which a job may be found. */
static void plan_print_roff_crash(FILE *out, const struct plan *plan)
{
    if (!plan_tells_of_crashes(plan))
        return;
    fprintf(out, ".PP\n.na\n.nh\n.TS\ntab(|);\n");
    fprintf(out, plan->look ? "lb2 lb\nl2 lx.\nfound at|looked at\n"
                            : "lb2 lb2 lb\nl2 lx2 lw(27n).\n"
                              "found at|while QEMU lives|once it has ended\n");
    for (unsigned i = 0; i < plan->n_steps; i++) {
        const struct step *step = &plan->steps[i];

        if (!step->lives)
            continue;
        roff_print(out, step->name);
        roff_print_block(out, step->lives);
        if (step->gone)
            roff_print_block(out, step->gone);
        fputc('\n', out);
    }
    fprintf(out, ".TE\n.hy\n.ad\n");
}

static void plan_print_text(FILE *out, const struct plan *plan)
{
    fprintf(out, "%s (job kind %s)\n", plan->title, plan->name);
    for (unsigned i = 0; i < plan->n_steps; i++) {
        const struct step *step = &plan->steps[i];

        fprintf(out, "  %-15s record: %-8s undo: %-3s  %s\n%45s right image: %s\n", step->name,
                step_record(step), step_undo(step), step->does, "", step->image);
        if (step->lives)
            fprintf(out, "%45s %s: %s\n", "", plan->look ? "looked at" : "QEMU lives", step->lives);
        if (step->gone)
            fprintf(out, "%45s QEMU has ended: %s\n", "", step->gone);
    }
    fprintf(out, "\n");
}

void plan_print_all(FILE *out, bool roff)
{
    for (size_t i = 0; i < N_PLANS; i++) {
        if (!plans[i]->title)
            continue;
        if (roff) {
            plan_print_roff(out, plans[i]);
            plan_print_roff_crash(out, plans[i]);
        } else {
            plan_print_text(out, plans[i]);
        }
    }
}
