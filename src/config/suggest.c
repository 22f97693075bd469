/* "Did you mean": the known key with the smallest edit distance, when that is small for its length. */
#include "config/schema_priv.h"

enum {
    NAME_MAX_BYTES = 40 /* longer ones are no slip of the finger */
};

static uint8_t fold(uint8_t c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Optimal string alignment: insert, delete, replace and swap of neighbours cost 1; case and '_' cost nothing,
 * so that max_retries finds maxRetries. */
static size_t distance(sbx_view a, sbx_view b)
{
    size_t rows[3][NAME_MAX_BYTES + 1];
    size_t *older = rows[0], *old = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        old[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            uint8_t x = fold(a.data[i - 1]), y = fold(b.data[j - 1]);
            now[j] = least_of(old[j] + (x != '_'), now[j - 1] + (y != '_'), old[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == fold(b.data[j - 2]) && y == fold(a.data[i - 2]) &&
                older[j - 2] < now[j])
                now[j] = older[j - 2] + 1;
        }
        size_t *free_row = older;
        older = old;
        old = now;
        now = free_row;
    }
    return old[b.len];
}

const sbx_schema *sbx_schema_closest(const sbx_schema *schema, sbx_view name)
{
    const sbx_schema *closest = NULL;
    size_t least = name.len < 4 ? 2 : 1 + (name.len + 2) / 3; /* one more than is close enough */
    if (name.len == 0 || name.len > NAME_MAX_BYTES)
        return NULL;
    for (const sbx_schema *child = schema->children; child != NULL; child = child->next) {
        if (child->name.len > NAME_MAX_BYTES)
            continue;
        size_t found = distance(name, child->name);
        if (found < least) {
            least = found;
            closest = child;
        }
    }
    return closest;
}
