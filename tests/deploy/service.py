"""The proxy as systemd runs it, without systemd: service.py confined|watchdog BINARY"""

import os
import re
import signal
import socket
import subprocess
import sys
import time

from stage import EXPECTED, Stage, get, until

HERE = os.path.dirname(os.path.abspath(__file__))
UNIT = os.path.join(HERE, "../../deploy/systemd/obo-proxy.service")
# of the system, which has the module for such filters
PYTHON = "/usr/bin/python3"


def confined(binary):
    """All that it does it can do with the system calls of the unit."""
    with Stage(binary, before=[PYTHON, f"{HERE}/confined.py", UNIT]) as stage:
        statuses = stage.traffic()
        assert statuses == EXPECTED, statuses
        with open(f"/proc/{stage.proxy.pid}/status", encoding="utf-8") as status:
            said = status.read()
        assert "Seccomp:\t2\n" in said, "the proxy is not confined"
        assert "NoNewPrivs:\t1\n" in said, "the proxy may gain privileges"
        with open(f"/proc/{stage.proxy.pid}/limits", encoding="utf-8") as limits:
            assert re.search(r"^Max core file size +0 +0 ", limits.read(), re.M), "a core may be written"
        assert "look into" not in stage.log("proxy.log"), "the unit refuses what the proxy does to itself"
        stage.proxy.send_signal(signal.SIGHUP)
        until("the configuration is read again", lambda: "was read again" in stage.log("proxy.log"))
        for process, log in ((stage.proxy, "proxy.log"), (stage.demo, "demo.log")):
            process.terminate()
            code = process.wait(timeout=30)
            assert code == 0, f"it ended with {code}: {stage.log(log)}"


class Manager:
    """Who is told how the proxy is."""

    def __init__(self):
        self.address = f"\0obo-proxy-check-{os.getpid()}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)

    def is_told(self, what, within):
        """Whether that is told within so many seconds."""
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if self.socket.recv(4096).decode().startswith(what):
                    return True
            except TimeoutError:
                break
        return False


def thread(process, name):
    """The number of the thread of that name."""
    tasks = f"/proc/{process}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/comm", encoding="utf-8") as comm:
            if comm.read().strip() == name:
                return task
    raise SystemExit(f"there is no thread {name}")


def watchdog(binary):
    """One worker that hangs, and nothing else, is enough for the watchdog not to be told, and for /livez to say no."""
    manager = Manager()
    told = {"NOTIFY_SOCKET": "@" + manager.address[1:], "WATCHDOG_USEC": "1000000"}
    with Stage(binary, environment=told) as stage:
        # the demo is no service
        assert manager.is_told("READY=1", 30) and manager.is_told("WATCHDOG=1", 30)
        worker = thread(stage.proxy.pid, "worker-0")
        waiting = "?epoll_wait,epoll_pwait"
        strace = subprocess.Popen(
            ["strace", "-o", "/dev/null", "-p", worker, "-e", f"trace={waiting}", "-e", f"inject={waiting}:delay_enter=60s"],
            stderr=subprocess.DEVNULL,
        )
        stage.running.append(strace)
        # twice and a half its time
        until("the watchdog is not told", lambda: not manager.is_told("WATCHDOG=1", 2.5))
        assert get(f"http://{stage.telemetry}/livez") == (503, "a worker does not turn over\n")
        # the rest of it goes on
        assert get(f"http://{stage.telemetry}/readyz")[0] == 200
        strace.terminate()
        strace.wait()
        assert manager.is_told("WATCHDOG=1", 30), "the watchdog is not told any more"
        assert get(f"http://{stage.telemetry}/livez")[0] == 200


if __name__ == "__main__":
    {"confined": confined, "watchdog": watchdog}[sys.argv[1]](sys.argv[2])
