"""Child processes of tests: each has a log file, is ended by its pid, and carries the test's mark.

The mark is an environment variable that grandchildren inherit, so that after a test it can be shown
that no process of its own is left, whoever started it.
"""
import os
import pathlib
import signal
import subprocess

from support.wait import SCALE, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / os.environ.get("SBX_BINARY", "build/release/signalbox")
MARK = "SBX_TEST_RUN"


class Child:
    def __init__(self, name, argv, folder, mark="", env=None, preexec=None):
        self.name = name
        self.log_path = pathlib.Path(folder) / f"{name}.log"
        self.out_path = pathlib.Path(folder) / f"{name}.out"
        with open(self.log_path, "ab") as log, open(self.out_path, "wb") as out:
            self.process = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                env={**os.environ, MARK: mark, **(env or {})}, cwd=ROOT, preexec_fn=preexec)
        self.pid, self.is_told = self.process.pid, False

    @property
    def alive(self):
        return self.process.poll() is None

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def out(self):
        return self.out_path.read_text(errors="replace")

    def first_line(self, seconds=10):
        """The first whole line on standard output."""
        def line():
            text = self.out
            if "\n" not in text and not self.alive:
                raise AssertionError(f"{self.name} ended ({self.process.returncode}): {self.log[-2000:]}")
            return text.split("\n")[0] if "\n" in text else None
        return until(line, seconds, f"{self.name} prints a line")

    def descriptors(self, except_ports=()):
        """How many are open; connections to peers at except_ports (a pool's, kept on purpose) do not count."""
        kept = 0
        ports = {f"{port:04X}" for port in except_ports}
        inodes = {row.split()[9] for row in pathlib.Path(f"/proc/{self.pid}/net/tcp").read_text().split("\n")[1:]
                  if row and row.split()[2].split(":")[1] in ports}
        for entry in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                kept += os.readlink(f"/proc/{self.pid}/fd/{entry}").strip("socket:[]") in inodes
            except OSError:
                kept += 1
        return len(os.listdir(f"/proc/{self.pid}/fd")) - kept

    def resident_bytes(self):
        pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def signal(self, number):
        if self.alive:
            os.kill(self.pid, number)

    def kill(self):
        """kill -9, and waits for the end."""
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def tell_to_end(self):
        """SIGTERM, once: a second one would mean "at once"."""
        if not self.is_told:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        self.is_told = True

    def stop(self, seconds=15):
        """SIGTERM; returns the exit code. A child that does not end in time is killed and reported."""
        self.tell_to_end()
        try:
            return self.process.wait(seconds * SCALE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds} s of SIGTERM: {self.log[-2000:]}")


def marked(mark):
    """{pid: command line} of the living processes that carry the mark."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environ = pathlib.Path(f"/proc/{entry}/environ").read_bytes()
            state = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[0]
            if f"{MARK}={mark}".encode() in environ.split(b"\0") and state != "Z":
                found[int(entry)] = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found
