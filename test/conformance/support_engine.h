/* An HTTP engine on the test's own loop that does with each request what it is told (conf_answer), and
 * remembers what it saw. GET requests (health, models) are answered aside. */
#ifndef CONFORMANCE_SUPPORT_ENGINE_H
#define CONFORMANCE_SUPPORT_ENGINE_H

#include "support_world.h"

typedef struct conf_engine conf_engine;

conf_engine *conf_engine_new(sbx_loop *loop);
void conf_engine_free(conf_engine *engine);
uint16_t conf_engine_port(const conf_engine *engine);

void conf_engine_answer_with(conf_engine *engine, const conf_answer *answer);
/* Stops listening, and cuts what is at work. */
void conf_engine_die(conf_engine *engine);

size_t conf_engine_seen_count(const conf_engine *engine);
conf_seen conf_engine_seen(const conf_engine *engine, size_t index);
/* Connections open now. */
size_t conf_engine_open_count(const conf_engine *engine);

#endif
