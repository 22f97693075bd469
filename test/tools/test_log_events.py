"""A call of sbx_log that does not fit base/events.def does not compile; one that fits does."""
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def compiles(compiler, tmp_path, call):
    source = tmp_path / "call.c"
    source.write_text('#include "base/log.h"\nvoid call(sbx_view id);\nvoid call(sbx_view id)\n{\n    (void)id;\n    ' + call + "\n}\n")
    command = [compiler, "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-I", ROOT / "src",
               "-fsyntax-only", source]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


GOOD = "sbx_log(worker_refused, .worker = id, .why = \"no room\");"
BAD = {
    "an unknown event": "sbx_log(worker_refuses, .worker = id, .why = \"no room\");",
    "an unknown field": "sbx_log(worker_refused, .worker = id, .reason = \"no room\");",
    "a missing field": "sbx_log(worker_refused, .worker = id);",
    "a field too many": "sbx_log(worker_refused, .worker = id, .why = \"no room\", .pid = 1);",
    "a field twice, another missing": "sbx_log(worker_refused, .worker = id, .worker = id);",
    "a value of the wrong type": "sbx_log(worker_refused, .worker = \"w1\", .why = \"no room\");",
    "no field at all": "sbx_log(worker_refused, );",
}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_call_that_fits_the_table_compiles(compiler, tmp_path):
    run = compiles(compiler, tmp_path, GOOD)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("what", BAD)
def test_a_call_that_does_not_fit_is_refused(compiler, what, tmp_path):
    assert compiles(compiler, tmp_path, BAD[what]).returncode != 0


def test_nobody_but_base_goes_around_the_table():
    users = [path for path in (ROOT / "src").rglob("*.[ch]")
             if "sbx_log_write" in path.read_text() and path.parent.name != "base"]
    assert users == []
