/* Replays seed files through a fuzz target, for builds without libFuzzer: every seed of the folder (or
 * file) named on the command line is fed once. Prints how many; fails when there were none. */
#include <assert.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    uint8_t *data = malloc(1U << 20);
    assert(data != NULL);
    size_t size = fread(data, 1, 1U << 20, file);
    fclose(file);
    uint8_t *exact = malloc(size + (size == 0)); /* exactly sized, so that sanitizers see overreads */
    assert(exact != NULL);
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    free(data);
    return 1;
}

static unsigned replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return 0;
    unsigned count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        count += replay_file(name);
    }
    closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info) != 0)
            continue;
        count += S_ISDIR(info.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
    }
    printf("%u seeds replayed\n", count);
    return count > 0 ? 0 : 1;
}
