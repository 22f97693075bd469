/* A nats-server child of the test itself (the product's own way is net/nats_server.h). */
#include "unit/net/support_nats.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static void fail(const char *what)
{
    perror(what);
    abort();
}

static void pause_ms(long ms)
{
    struct timespec t = {.tv_nsec = ms * 1000000};
    nanosleep(&t, NULL);
}

static void run_server(const support_nats *server)
{
    char port[16];
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves none behind */
#endif
    snprintf(port, sizeof port, "%d", server->port == 0 ? -1 : (int)server->port);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    setenv("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin", /* overwrite= */ 1);
    const char *conf = server->conf_path[0] == '\0' ? NULL : "-c"; /* ends the arguments, or names one more */
    execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "--ports_file_dir", server->dir, conf,
           server->conf_path, (char *)NULL);
    _exit(127);
}

/* The file is not written at once: complete when the closing brackets are there. */
static int read_port(const support_nats *server)
{
    char path[160], text[512] = {0};
    int port = 0;
    snprintf(path, sizeof path, "%s/nats-server_%d.ports", server->dir, (int)server->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    const char *at = strstr(text, "://127.0.0.1:"); /* nats or tls */
    if (len == 0 || at == NULL || strchr(at, '}') == NULL)
        return 0;
    port = atoi(at + strlen("://127.0.0.1:"));
    unlink(path);
    return port;
}

void support_nats_restart(support_nats *server)
{
    server->pid = fork();
    if (server->pid < 0)
        fail("fork");
    if (server->pid == 0)
        run_server(server);
    for (int i = 0; i < 5000; i++) {
        int port = read_port(server);
        if (port != 0) {
            server->port = (uint16_t)port;
            snprintf(server->url, sizeof server->url, "nats://127.0.0.1:%d", port);
            return;
        }
        pause_ms(1);
    }
    fail("nats-server did not come up");
}

static void make_dir(support_nats *server)
{
    memset(server, 0, sizeof *server);
    strcpy(server->dir, "/tmp/sbx-test-nats-XXXXXX");
    if (mkdtemp(server->dir) == NULL)
        fail("mkdtemp");
}

void support_nats_start(support_nats *server)
{
    make_dir(server);
    support_nats_restart(server);
}

static void write_conf(const support_nats *server, const char *conf)
{
    FILE *file = fopen(server->conf_path, "w");
    if (file == NULL)
        fail("conf");
    for (const char *c = conf; *c != '\0'; c++) {
        if (c[0] == '%' && c[1] == 's') {
            fputs(server->dir, file);
            c++;
        } else {
            fputc(*c, file);
        }
    }
    fclose(file);
}

void support_nats_start_with(support_nats *server, const char *conf, void (*files)(const char *dir))
{
    make_dir(server);
    snprintf(server->conf_path, sizeof server->conf_path, "%s/test.conf", server->dir);
    write_conf(server, conf);
    if (files != NULL)
        files(server->dir);
    support_nats_restart(server);
}

void support_nats_kill(support_nats *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void support_nats_stop(support_nats *server)
{
    support_nats_kill(server);
    DIR *d = opendir(server->dir);
    for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d))
        unlinkat(dirfd(d), e->d_name, 0); /* "." and ".." are refused */
    if (d != NULL)
        closedir(d);
    rmdir(server->dir);
}
