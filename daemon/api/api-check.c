/* domain.check: what is wrong with a domain's disks, and how to repair it. */
#include "api/answer.h"
#include "api/call.h"
#include "api/context.h"
#include "api/error-json.h"
#include "api/handlers.h"
#include "job/check.h"
#include "job/finding.h"

static void add_text(json_object *object, const char *name, const char *text)
{
    json_object_object_add(object, name, text ? clean_string(text) : NULL);
}

static json_object *finding_to_json(const struct finding *finding)
{
    json_object *object = json_object_new_object();

    json_add_string(object, "level", finding_level_name(finding->level));
    json_add_string(object, "kind", finding->kind);
    add_text(object, "disk", finding->disk);
    add_text(object, "file", finding->file);
    add_text(object, "what", finding->what);
    add_text(object, "repair", finding->repair);
    return object;
}

static void checked(void *arg, const struct findings *findings, const struct error *err)
{
    struct call *call = arg;
    json_object *result, *list;

    if (err) {
        call_error(call, err);
        return;
    }
    result = json_object_new_object();
    list = json_object_new_array();
    for (unsigned i = 0; i < findings->n; i++)
        json_object_array_add(list, finding_to_json(&findings->list[i]));
    json_object_object_add(result, "findings", list);
    call_result(call, result);
}

void domain_check_handle(struct call *call)
{
    struct domain *domain = answer_need_domain(call);

    if (domain)
        check_domain(call_context(call)->engine, domain, checked, call);
}
