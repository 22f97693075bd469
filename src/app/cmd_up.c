/* signalbox up, signalbox controller. */
#include <stdio.h>

#include "app/commands.h"
#include "app/controller.h"
#include "app/settings.h"

static sbx_err reload(void *user, sbx_config **ret_config)
{
    return sbx_settings_load(user, ret_config) == 0 ? SBX_OK : SBX_E_INVALID;
}

static int run(int argc, char **argv, bool with_local_workers)
{
    sbx_settings settings;
    sbx_config *config = NULL;
    bool is_bad = false;
    sbx_settings_init(&settings);
    for (int i = 1; i < argc && !is_bad; i++) {
        if (!sbx_settings_take_flag(&settings, argc, argv, &i, &is_bad)) {
            fprintf(stderr, "signalbox %s: unexpected \"%s\"\n", argv[0], argv[i]);
            is_bad = true;
        }
    }
    int code = is_bad ? 2 : sbx_settings_load(&settings, &config);
    if (code == 0)
        code = sbx_controller_run(&(sbx_controller_options){
            .config = config, .with_local_workers = with_local_workers, .reload = reload, .user = &settings});
    sbx_config_free(config);
    sbx_settings_deinit(&settings);
    return code;
}

int sbx_cmd_up(int argc, char **argv)
{
    return run(argc, argv, /* with_local_workers: */ true);
}

int sbx_cmd_controller(int argc, char **argv)
{
    return run(argc, argv, /* with_local_workers: */ false);
}
