/* signalbox check: says everything that is wrong with a configuration, or prints what the table of keys says.
 */
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/settings.h"
#include "config/print.h"

static int print_text(sbx_err (*write)(sbx_buf *buf))
{
    sbx_buf buf;
    sbx_buf_init(&buf, SIZE_MAX);
    sbx_err err = write(&buf);
    if (err == SBX_OK)
        fwrite(sbx_buf_view(&buf).data, 1, sbx_buf_view(&buf).len, stdout);
    sbx_buf_deinit(&buf);
    return err == SBX_OK ? 0 : 1;
}

int sbx_cmd_check(int argc, char **argv)
{
    sbx_settings settings;
    sbx_config *config = NULL;
    bool is_bad = false;
    sbx_settings_init(&settings);
    for (int i = 1; i < argc && !is_bad; i++) {
        if (strcmp(argv[i], "--print-defaults") == 0)
            return print_text(sbx_config_print_defaults);
        if (strcmp(argv[i], "--print-docs") == 0)
            return print_text(sbx_config_print_docs);
        if (sbx_settings_take_flag(&settings, argc, argv, &i, &is_bad))
            continue;
        if (argv[i][0] == '-' || settings.config_path != NULL) {
            fprintf(stderr, "signalbox check: unexpected \"%s\"\n", argv[i]);
            is_bad = true;
        } else {
            settings.config_path = argv[i];
        }
    }
    int code = is_bad ? 2 : sbx_settings_load(&settings, &config);
    if (code == 0)
        printf("%s: ok\n", settings.config_path == NULL ? "defaults and environment" : settings.config_path);
    sbx_config_free(config);
    sbx_settings_deinit(&settings);
    return code;
}
