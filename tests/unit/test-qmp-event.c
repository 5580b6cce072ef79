/* QEMU's events by kind, and events of any shape. */
#include "qemu/qmp-event.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/json.h"
#include "proto/limits.h"

static const struct event_row {
    const char *text; /* with ' for " */
    enum qmp_event_kind kind;
    const char *id;
    enum view_job_status status;
    bool open;
} rows[] = {
    {"{'event':'STOP'}", QMP_EVENT_STOP, "", VIEW_JOB_NONE, false},
    {"{'event':'RESUME','data':{}}", QMP_EVENT_RESUME, "", VIEW_JOB_NONE, false},
    {"{'event':'SHUTDOWN','data':{'guest':true,'reason':'guest-shutdown'}}", QMP_EVENT_SHUTDOWN, "",
     VIEW_JOB_NONE, false},
    {"{'event':'RESET','data':{'guest':true}}", QMP_EVENT_RESET, "", VIEW_JOB_NONE, false},
    {"{'event':'JOB_STATUS_CHANGE','data':{'status':'pending','id':'j'}}", QMP_EVENT_JOB_STATUS,
     "j", VIEW_JOB_PENDING, false},
    {"{'event':'JOB_STATUS_CHANGE','data':{'status':'null','id':'j'}}", QMP_EVENT_JOB_STATUS, "j",
     VIEW_JOB_NONE, false},
    {"{'event':'JOB_STATUS_CHANGE','data':{'status':'new','id':'j'}}", QMP_EVENT_JOB_STATUS, "j",
     VIEW_JOB_UNKNOWN, false},
    {"{'event':'BLOCK_JOB_READY','data':{'device':'j','len':1}}", QMP_EVENT_JOB_READY, "j",
     VIEW_JOB_NONE, false},
    {"{'event':'BLOCK_JOB_PENDING','data':{'type':'commit','id':'j'}}", QMP_EVENT_JOB_PENDING, "j",
     VIEW_JOB_NONE, false},
    {"{'event':'BLOCK_JOB_COMPLETED','data':{'device':'j'}}", QMP_EVENT_JOB_COMPLETED, "j",
     VIEW_JOB_NONE, false},
    {"{'event':'BLOCK_JOB_CANCELLED','data':{'device':'j'}}", QMP_EVENT_JOB_CANCELLED, "j",
     VIEW_JOB_NONE, false},
    {"{'event':'BLOCK_JOB_ERROR','data':{'device':'j','action':'stop'}}", QMP_EVENT_JOB_ERROR, "j",
     VIEW_JOB_NONE, false},
    {"{'event':'BLOCK_IO_ERROR','data':{'device':'virtio0'}}", QMP_EVENT_IO_ERROR, "",
     VIEW_JOB_NONE, false},
    {"{'event':'VSERPORT_CHANGE','data':{'open':true,'id':'port0'}}", QMP_EVENT_PORT, "port0",
     VIEW_JOB_NONE, true},
    {"{'event':'VSERPORT_CHANGE','data':{'open':false,'id':'port0'}}", QMP_EVENT_PORT, "port0",
     VIEW_JOB_NONE, false},
    {"{'event':'NIC_RX_FILTER_CHANGED','data':{'id':'x'}}", QMP_EVENT_OTHER, "", VIEW_JOB_NONE,
     false},
    {"{'event':'JOB_STATUS_CHANGE'}", QMP_EVENT_JOB_STATUS, "", VIEW_JOB_UNKNOWN, false},
    {"{'event':'JOB_STATUS_CHANGE','data':[]}", QMP_EVENT_JOB_STATUS, "", VIEW_JOB_UNKNOWN, false},
    {"{'event':'BLOCK_JOB_READY','data':{'device':7}}", QMP_EVENT_JOB_READY, "", VIEW_JOB_NONE,
     false},
    {"{'event':'VSERPORT_CHANGE','data':{'open':1}}", QMP_EVENT_PORT, "", VIEW_JOB_NONE, false},
    {"{'event':7}", QMP_EVENT_OTHER, "", VIEW_JOB_NONE, false},
    {"{}", QMP_EVENT_OTHER, "", VIEW_JOB_NONE, false},
};

START_TEST(events)
{
    _cleanup_free_ char *text = xstrdup(rows[_i].text);
    _cleanup_json_ json_object *object = NULL;
    struct qmp_event event;

    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    ck_assert_int_eq(json_read(text, strlen(text), LIMIT_QMP_NESTING, &object), JSON_OK);
    event = qmp_event_read(object);
    ck_assert_int_eq(event.kind, rows[_i].kind);
    ck_assert_str_eq(event.id, rows[_i].id);
    ck_assert_int_eq(event.status, rows[_i].status);
    ck_assert_int_eq(event.open, rows[_i].open);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("qmp-event");
    TCase *tcase = tcase_create("events");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tcase, events, 0, sizeof(rows) / sizeof(rows[0]));
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
