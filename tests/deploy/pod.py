"""Runs programs as an engine would run the containers of a pod: each with a root of its own that it cannot write to, as an ordinary user
without capabilities, all with one network. For a process that began in namespaces of its own: unshare --net --mount --pid --fork
--kill-child python3 ..., so that nothing outlives it and every port is free."""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time

PATIENCE = 60
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CHOWN = 0
LIBC = ctypes.CDLL(None, use_errno=True)
WORK = "/mnt"


def begin():
    """Makes the namespaces usable: loopback, a /proc that shows these processes, and a directory that is gone when they are."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sh14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "tmpfs", "tmpfs", WORK)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


class Container:
    """A running program. `mounts` maps a path within to a directory here and whether it may be written to."""

    def __init__(self, root, argv, mounts=None, user=65532, capabilities=(), environment=None):
        self.directory = tempfile.mkdtemp(dir=WORK)
        self.argv, self.user, self.capabilities = argv, user, set(capabilities)
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **(environment or {})}
        mount("--bind", root, self.directory)
        if root == "/":
            mount("-t", "tmpfs", "tmpfs", self.directory + "/run")
        for provided, kind in {"/proc": ["-t", "proc", "proc"], "/dev": ["--bind", "/dev"]}.items():
            os.makedirs(self.directory + provided, exist_ok=True)
            mount(*kind, self.directory + provided)
        for within, (here, writable) in (mounts or {}).items():
            os.makedirs(self.directory + within, exist_ok=True)
            mount("--bind", here, self.directory + within)
            if not writable:
                mount("-o", "remount,bind,ro", self.directory + within)
        mount("-o", "remount,bind,ro", self.directory)
        self.log = open(self.directory + ".log", "w")
        self.process = self.start(argv, stdout=self.log, stderr=self.log)

    def start(self, argv, **streams):
        """Starts a program beside the first one, as `exec` does."""
        return subprocess.Popen(
            argv, env=self.environment, stdin=subprocess.DEVNULL, preexec_fn=self._enter, **streams
        )

    def run(self, argv):
        """Runs a program beside the first one to its end: its exit code and what it said."""
        process = self.start(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, said

    def said(self):
        with open(self.log.name) as log:
            return log.read()

    def stop(self):
        """Ends it with SIGTERM: its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def status(self):
        """What the kernel says of the program."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return dict(line.split(":", 1) for line in status)

    def _enter(self):
        os.chroot(self.directory)
        os.chdir("/")
        for capability in range(64):
            if capability not in self.capabilities:
                LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
        os.setgid(self.user)
        os.setuid(self.user)
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def until(what, condition):
    """Asks again and again whether it is so, and gives what was answered."""
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE} s"
        time.sleep(0.1)
    return answer


def shell(line):
    """What a line says that someone pastes."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def readme_curls():
    """The lines of the README that try the demo: a call, one that lacks a scope, one that lacks a second factor."""
    with open("README.md") as readme:
        lines = [line.strip() for line in readme if line.startswith("curl -i http://127.0.0.1:8080/")]
    assert len(lines) == 3, lines
    return lines


def try_the_readme():
    """Pastes them, and looks whether what came back is what the README says."""
    expected = [
        ("HTTP/1.1 200", '"aud":"api://orders-backend"'),
        ("HTTP/1.1 403", "insufficient_scope"),
        ("HTTP/1.1 401", 'error="insufficient_claims", claims="eyJ'),
    ]
    for line, (status, part) in zip(readme_curls(), expected):
        answer = shell(line)
        assert answer.startswith(status) and part in answer, f"{line}\n{answer}"
