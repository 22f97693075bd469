/* Looking into parsed heads. */
#include "net/http_message.h"

sbx_view sbx_http_head_get(const sbx_http_head *head, const char *name)
{
    sbx_view wanted = sbx_view_cstr(name);
    for (size_t i = 0; i < head->header_count; i++) {
        if (sbx_view_eq_nocase(head->headers[i].name, wanted))
            return head->headers[i].value;
    }
    return (sbx_view){0};
}
