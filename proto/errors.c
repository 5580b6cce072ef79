#include "proto/errors.h"

#include <stddef.h>
#include <string.h>

static const struct {
    int code;
    const char *kind;
} errors[] = {
#define ERRORS_ROW(name, code, kind) {code, kind},
    SNAPVM_ERROR_LIST(ERRORS_ROW)
#undef ERRORS_ROW
};

#define N_ERRORS (sizeof(errors) / sizeof(errors[0]))

const char *errors_kind(int code)
{
    for (size_t i = 0; i < N_ERRORS; i++)
        if (errors[i].code == code)
            return errors[i].kind;
    return "InternalError";
}

int errors_code(const char *kind)
{
    for (size_t i = 0; i < N_ERRORS; i++)
        if (strcmp(errors[i].kind, kind) == 0)
            return errors[i].code;
    return SNAPVM_ERROR_NONE;
}
