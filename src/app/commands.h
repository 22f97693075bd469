/* The commands: each takes its arguments (argv[0] is the command's own word) and gives the exit code: 0 well,
 * 1 it failed, 2 the arguments or the configuration are wrong. */
#ifndef SBX_APP_COMMANDS_H
#define SBX_APP_COMMANDS_H

#define SBX_COMMAND(word, function, arguments, text) int function(int argc, char **argv);
#include "app/commands.def"
#undef SBX_COMMAND

/* How this program was started; set before any command runs. */
extern const char *sbx_program;

#endif
