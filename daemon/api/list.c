#include "api/list.h"

#include <stdio_ext.h>
#include <stdlib.h>

void list_begin(struct list *list)
{
    *list = (struct list){0};
    list->file = open_memstream(&list->text, &list->size);
    if (!list->file)
        abort();
    __fsetlocking(list->file, FSETLOCKING_BYCALLER); /* it is nobody else's */
    fputc('[', list->file);
}

FILE *list_next(struct list *list)
{
    if (list->n++ > 0)
        fputc(',', list->file);
    return list->file;
}

void list_add(struct list *list, json_object *element)
{
    fputs(json_text(element), list_next(list));
    json_object_put(element);
}

json_object *list_end(struct list *list)
{
    fputc(']', list->file);
    if (fclose(list->file) != 0)
        abort();
    return json_raw(list->text);
}
