/* The entry: picks the command. Everything else of the program is behind one of them. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"

const char *sbx_program = "signalbox";

static const struct {
    const char *word;
    int (*run)(int argc, char **argv);
    const char *arguments;
    const char *text;
} commands[] = {
#define SBX_COMMAND(word, function, arguments, text) {word, function, arguments, text},
#include "app/commands.def"
#undef SBX_COMMAND
};

enum {
    COMMAND_COUNT = sizeof commands / sizeof commands[0]
};

static void print_usage(FILE *out)
{
    fprintf(out, "Signalbox %s: one reliable OpenAI-compatible endpoint for many machines.\n\nUsage:\n",
            SBX_VERSION);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  signalbox %s %s\n      %s\n", commands[i].word, commands[i].arguments,
                commands[i].text);
}

int sbx_cmd_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    print_usage(stdout);
    return 0;
}

int sbx_cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("signalbox %s\n", SBX_VERSION);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    sbx_program = argv[0];
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    if (strcmp(word, "--version") == 0)
        word = "version";
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(word, commands[i].word) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "signalbox: unknown command \"%s\"\n\n", argv[1]);
    print_usage(stderr);
    return 2;
}
