#include "journal/load.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "journal/db.h"
#include "journal/journal.h"
#include "journal/row.h"

static int load_domains(struct statement_set *set, struct journal_model *model)
{
    struct row row = row_start(set, STATEMENT_LIST_DOMAINS);
    int rc = SQLITE_OK;

    while (row_next(&row)) {
        model->domains = row_append(model->domains, &model->n_domains, sizeof(*model->domains));
        if (rc == SQLITE_OK)
            rc = row_domain(&row, &model->domains[model->n_domains - 1]);
    }
    return rc == SQLITE_OK ? row.rc : rc;
}

static int load_jobs(struct statement_set *set, struct journal_model *model)
{
    struct row row = row_start(set, STATEMENT_LIST_ACTIVE_JOBS);
    int rc = SQLITE_OK;

    while (row_next(&row)) {
        model->jobs = row_append(model->jobs, &model->n_jobs, sizeof(*model->jobs));
        if (rc == SQLITE_OK)
            rc = row_job(&row, &model->jobs[model->n_jobs - 1]);
    }
    if (rc == SQLITE_OK && row.rc == SQLITE_OK)
        rc = statement_number(set, STATEMENT_COUNT_JOBS, 0, &model->jobs_total);
    return rc == SQLITE_OK ? row.rc : rc;
}

static int load_snapshots(struct statement_set *set, struct journal_model *model)
{
    struct row row = row_start(set, STATEMENT_LIST_SNAPSHOTS);
    int rc = SQLITE_OK;

    while (row_next(&row)) {
        model->snapshots =
            row_append(model->snapshots, &model->n_snapshots, sizeof(*model->snapshots));
        if (rc == SQLITE_OK)
            rc = row_snapshot(&row, &model->snapshots[model->n_snapshots - 1]);
    }
    return rc == SQLITE_OK ? row.rc : rc;
}

static int load_debts(struct statement_set *set, struct journal_model *model)
{
    struct row row = row_start(set, STATEMENT_LIST_DEBTS);

    while (row_next(&row)) {
        model->debts = row_append(model->debts, &model->n_debts, sizeof(*model->debts));
        row_debt(&row, &model->debts[model->n_debts - 1]);
    }
    return row.rc;
}

static int load_requests(struct statement_set *set, struct journal_model *model)
{
    struct row row = row_start(set, STATEMENT_LIST_REQUESTS);

    while (row_next(&row)) {
        model->requests = row_append(model->requests, &model->n_requests, sizeof(*model->requests));
        row_request(&row, &model->requests[model->n_requests - 1]);
    }
    return row.rc;
}

static int load_all(struct statement_set *set, struct journal_model *model)
{
    int rc = statement_run(set, STATEMENT_BEGIN_READ);

    if (rc == SQLITE_OK)
        rc = load_domains(set, model);
    if (rc == SQLITE_OK)
        rc = load_jobs(set, model);
    if (rc == SQLITE_OK)
        rc = load_snapshots(set, model);
    if (rc == SQLITE_OK)
        rc = load_debts(set, model);
    if (rc == SQLITE_OK)
        rc = load_requests(set, model);
    if (rc == SQLITE_OK)
        rc = statement_run(set, STATEMENT_END_READ);
    return rc;
}

int load_model(const char *path, struct journal_model *ret_model, struct error *err)
{
    _cleanup_(db_closep) sqlite3 *db = NULL;
    _cleanup_(statement_deinit) struct statement_set set = {0};
    struct journal_model model = {0};

    if (db_open(path, DB_READ, &db, err) < 0 ||
        statement_prepare(&set, db, STATEMENT_READS, STATEMENT_END, err) < 0)
        return -1;
    if (load_all(&set, &model) != SQLITE_OK) {
        db_error(db, err);
        journal_model_deinit(&model);
        return -1;
    }
    *ret_model = model;
    return 0;
}

void journal_model_deinit(struct journal_model *model)
{
    for (unsigned i = 0; i < model->n_domains; i++)
        record_domain_deinit(&model->domains[i]);
    for (unsigned i = 0; i < model->n_jobs; i++)
        record_job_deinit(&model->jobs[i]);
    for (unsigned i = 0; i < model->n_snapshots; i++)
        record_snapshot_deinit(&model->snapshots[i]);
    for (unsigned i = 0; i < model->n_debts; i++)
        record_debt_deinit(&model->debts[i]);
    for (unsigned i = 0; i < model->n_requests; i++)
        record_request_deinit(&model->requests[i]);
    free(model->domains);
    free(model->jobs);
    free(model->snapshots);
    free(model->debts);
    free(model->requests);
    memset(model, 0, sizeof(*model));
}
