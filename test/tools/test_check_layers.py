"""tools/check_layers is shown to catch each kind of violation, planted in a tree of its own."""
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text((ROOT / "CMakeLists.txt").read_text())
    for name in ("base/err.h", "core/router.h", "core/router_priv.h", "net/loop.h", "shell/shell.h"):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("/* A header. */\n")
    return tmp_path


def findings(tree, name, text):
    path = tree / "src" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    run = subprocess.run([ROOT / "tools/check_layers", tree], capture_output=True, text=True, timeout=30)
    assert run.stderr == ""
    return run.returncode, run.stdout


VIOLATIONS = [
    ("core/a.c", '#include "net/loop.h"\n', "core/ may not include net/"),
    ("base/a.c", '#include "core/router.h"\n', "base/ may not include core/"),
    ("shell/a.c", '#include "core/router_priv.h"\n', "is internal to core/"),
    ("shell/a.c", '#include "router.h"\n', "written from src/"),
    ("shell/a.c", '#include "core/gone.h"\n', "does not exist"),
    ("shell/a.c", "#include <nats/nats.h>\n", "only net/ may know nats.c"),
    ("strange/a.c", "int a;\n", "is no layer"),
    ("core/a.c", "#include <sys/socket.h>\n", "may not include <sys/socket.h>"),
    ("core/a.c", "#include <stdio.h>\n", "may not include <stdio.h>"),
    ("core/a.c", "int f(void) { return socket(1, 2, 3); }\n", "a socket: socket()"),
    ("core/a.c", "void f(void) { clock_gettime(0, 0); }\n", "a clock: clock_gettime()"),
    ("shell/a.c", "long f(void) { return uv_hrtime(); }\n", "a clock: uv_hrtime()"),
    ("base/a.c", "void f(void) { clock_gettime(CLOCK_MONOTONIC, 0); }\n", "a clock: clock_gettime()"),
    ("core/a.c", "void f(void) { clock_gettime(CLOCK_REALTIME, 0); }\n", "a clock: clock_gettime()"),
    ("core/a.c", "void f(void) { pthread_yield(); }\n", "a thread: pthread_yield()"),
    ("core/a.c", "void *f(void) { return malloc(1); }\n", "malloc: malloc()"),
    ("core/a.c", "void f(char *p) { snprintf(p, 1, \"x\"); }\n", "stdio: snprintf()"),
    ("codec/a.c", "void f(void) { printf(\"x\"); }\n", "stdio: printf()"),
    ("core/a.c", "static double x;\n", "floating point: double"),
    ("core/a.c", "static int x = (int)(3 * 1.5);\n", "floating point: 1.5"),
    ("core/a.c", "static int x = (int)1e9;\n", "floating point: 1e9"),
]


@pytest.mark.parametrize("name,text,expected", VIOLATIONS, ids=[v[2] for v in VIOLATIONS])
def test_a_planted_violation_is_named_with_file_and_line(tree, name, text, expected):
    code, out = findings(tree, name, "/* What this is. */\n" + text)
    assert code == 1
    assert f"src/{name}:2: " in out or "is no layer" in expected
    assert expected in out


INNOCENT = [
    ("core/a.c", '#include "base/err.h"\n#include "core/router_priv.h"\n#include <stdint.h>\n'),
    ("core/a.c", "/* malloc(1), 1.5 and \"net/loop.h\" in a comment */\n// printf(\n"),
    ("core/a.c", 'static const char *s = "socket( 1.5";\n'),
    ("core/a.c", "void f(void) { x->free(x); sbx_worker_free(x); queue.send(x); }\n"),
    ("core/a.c", "static int x = 0x1e5 + 10u + a.b2 + 1ull;\n"),
    ("net/a.c", "#include <nats/nats.h>\nlong f(void) { return uv_hrtime(); }\n"),
    ("base/a.c", "void f(void) { clock_gettime(CLOCK_REALTIME, 0); }\n"),
    ("codec/a.c", "void f(char *p) { snprintf(p, 1, \"x\"); }\n"),
]


@pytest.mark.parametrize("name,text", INNOCENT, ids=range(len(INNOCENT)))
def test_innocent_code_passes(tree, name, text):
    assert findings(tree, name, text) == (0, "6 files keep to their layers\n")


def test_the_layers_come_from_cmakelists(tree):
    cmake = tree / "CMakeLists.txt"
    cmake.write_text(cmake.read_text().replace("sbx_layer(core DEPS base)", "sbx_layer(core DEPS base net)"))
    assert findings(tree, "core/a.c", '#include "net/loop.h"\n')[0] == 0
