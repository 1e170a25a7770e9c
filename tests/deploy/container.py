"""The proxy under deploy/security/seccomp.json: container.py works|refuses|measure BINARY

`works` begins it under the profile, has it do all that it can, and expects that it asks for nothing that the profile refuses. `refuses`
tries what no proxy needs. `measure` prints the system calls of the same run, for whoever changes the profile.
"""

import base64
import ctypes
import hashlib
import http.server
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

from stage import CONFIG, EXPECTED, Stage, until

HERE = os.path.dirname(os.path.abspath(__file__))
PROFILE = os.path.join(HERE, "../../deploy/security/seccomp.json")
# of the system, which has the module for such filters
PYTHON = "/usr/bin/python3"
# no system call says this by itself here: only the filter does
SAID = 120


def lay(refused):
    """Lays the profile upon this process and what it becomes; what it does not name has that action."""
    import seccomp

    with open(PROFILE, encoding="utf-8") as file:
        profile = json.load(file)
    actions = {"SCMP_ACT_ALLOW": lambda _: seccomp.ALLOW, "SCMP_ACT_ERRNO": lambda rule: seccomp.ERRNO(rule["errnoRet"])}
    compared = {"SCMP_CMP_EQ": lambda arg: (seccomp.EQ, arg["value"]),
                "SCMP_CMP_MASKED_EQ": lambda arg: (seccomp.MASKED_EQ, arg["value"], arg["valueTwo"])}
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    filter = seccomp.SyscallFilter(refused(seccomp))
    for rule in profile["syscalls"]:
        arguments = [seccomp.Arg(arg["index"], *compared[arg["op"]](arg)) for arg in rule.get("args", [])]
        for name in rule["names"]:
            # fails for a name that is none
            number = seccomp.resolve_syscall(seccomp.Arch(), name)
            if number >= 0:  # else of another architecture
                filter.add_rule(actions[rule["action"]](rule), name, *arguments)
    filter.load()


class Neighbour(http.server.BaseHTTPRequestHandler):
    """An API behind TLS, which speaks WebSocket too, and a collector of traces."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.end_headers()
            self.wfile.write(b"\x81\x05hello")
            self.close_connection = True
        else:
            self.answer(b"hello")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.posted.set()
        self.answer(b"")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Neighbour)
    server.posted = threading.Event()
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Everything(Stage):
    """A stage on which exchanges succeed, with a Redis, a collector, and an API behind TLS."""

    def __exit__(self, *_):
        super().__exit__()
        for server in (self.api, self.collector):
            server.shutdown()

    def begin(self):
        self.api = self.collector = serve()
        super().begin()

    def configuration(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.directory}/tls.crt", f"{self.directory}/tls.key")
        self.api = serve(context)
        redis = f"{self.directory}/redis.sock"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.running.append(subprocess.Popen(
            ["redis-server", "--port", str(port), "--save", "", "--dir", self.directory, "--unixsocket", redis],
            stdout=subprocess.DEVNULL,
        ))
        until("Redis listens", lambda: os.path.exists(redis))
        demo = subprocess.run([self.command[-1], "demo", "--print-config"], check=True, capture_output=True, text=True).stdout
        secret = re.search(r"secret: { value: \S+ }", demo)[0]
        text = super().configuration()
        for there, instead in [
            (r"certificate: { file: \S+, key: \S+ }", secret),
            ("redis://127.0.0.1:1", f"redis://127.0.0.1:{port}"),
            ("otlp: \"http://127.0.0.1:1\"", f"otlp: \"http://127.0.0.1:{self.collector.server_port}\""),
            ("\nroutes:\n", "\nupstreams:\n  api: { url: \"https://localhost:%d\", tls: { ca: %s/tls.crt } }\nroutes:\n"
             "  api: { match: /api, upstream: api, auth: anonymous }\n" % (self.api.server_port, self.directory)),
        ]:
            text, number = re.subn(there, instead, text)
            assert number == 1, there
        self.redis = redis
        return text

    def everything(self):
        """All that a proxy does between its start and its end."""
        statuses = self.traffic()
        assert statuses == {**EXPECTED, "our credential is refused": 200}, statuses
        keys = subprocess.run(["redis-cli", "-s", self.redis, "dbsize"], check=True, capture_output=True, text=True).stdout
        assert int(keys) > 0, "Redis has no token"
        assert curl(f"https://{self.public}/api", "--http2") == "hello"
        said = curl("--include", "--http2", "--output", "-", f"https://{self.public}/api")
        assert said.startswith("HTTP/2 200"), said
        until("the collector has traces", self.collector.posted.is_set)
        self.websocket()
        self.proxy.send_signal(signal.SIGHUP)
        until("the configuration is read again", lambda: "was read again" in self.log("proxy.log"))
        for process, log in ((self.proxy, "proxy.log"), (self.demo, "demo.log")):
            process.terminate()
            code = process.wait(timeout=60)
            assert code == 0, f"it ended with {code}: {self.log(log)}"

    def websocket(self):
        host, port = self.plain.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as opened:
            opened.sendall(f"GET /api HTTP/1.1\r\nHost: {self.plain}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
            said = b""
            while not said.endswith(b"\x81\x05hello"):
                more = opened.recv(4096)
                assert more, said
                said += more
            assert said.startswith(b"HTTP/1.1 101 "), said


def curl(*words):
    return subprocess.run(["curl", "--silent", "--insecure", *words], check=True, capture_output=True, text=True).stdout


def works(binary):
    """What the profile refuses ends the process here, where a runtime only refuses it."""
    with Everything(binary, before=[PYTHON, __file__, "begin"]) as stage:
        with open(f"/proc/{stage.proxy.pid}/status", encoding="utf-8") as status:
            assert "Seccomp:\t2\n" in status.read(), "the proxy is not confined"
        stage.everything()


def measure(binary):
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as said:
        with Everything(binary, before=["strace", "-D", "-f", "-qq", "-A", "-o", said.name]) as stage:
            stage.everything()
        asked = set(re.findall(r"^\d+ +(\w+)\(", said.read(), re.MULTILINE))
    with open(PROFILE, encoding="utf-8") as file:
        named = {name for rule in json.load(file)["syscalls"] for name in rule["names"]}
    print("asked for:", *sorted(asked))
    print("not in the profile:", *sorted(asked - named))
    print("never asked for here:", *sorted(named - asked))


# What a proxy never does, each with arguments that hurt nobody if it is let through, and numbers on x86-64 and elsewhere.
NEVER = {
    "execveat": (322, 281), "ptrace": (101, 117), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "bpf": (321, 280), "unshare": (272, 97), "setns": (308, 268), "init_module": (175, 105), "finit_module": (313, 273),
    "kexec_load": (246, 104), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "keyctl": (250, 219), "add_key": (248, 217),
    "setuid": (105, 146), "setgid": (106, 144), "capset": (126, 91), "personality": (135, 92), "memfd_create": (319, 279),
    "open_by_handle_at": (304, 265), "reboot": (169, 142), "swapon": (167, 224), "settimeofday": (164, 170), "syslog": (103, 116),
    "mknodat": (259, 33), "symlinkat": (266, 36), "renameat2": (316, 276), "pidfd_getfd": (438, 438),
    "seccomp": (317, 277), "shmat": (30, 196),
}


def refuses(_):
    lay(lambda seccomp: seccomp.ERRNO(SAID))
    libc = ctypes.CDLL(None, use_errno=True)
    column = 0 if os.uname().machine == "x86_64" else 1

    def answer(number, *arguments):
        ctypes.set_errno(0)
        return libc.syscall(number, *arguments), ctypes.get_errno()

    for name, numbers in NEVER.items():
        assert answer(numbers[column], -1, 0, 0, 0, 0) == (-1, SAID), name
    clone, write_and_run, new_user = (56, 220)[column], 6, 0x10000000
    assert answer(clone, new_user, 0, 0, 0, 0) == (-1, SAID), "a namespace"
    assert answer((9, 222)[column], 0, 4096, write_and_run, 0x22, -1, 0) == (-1, SAID), "memory that is written and run"
    assert answer((10, 226)[column], 0, 0, 4) == (-1, SAID), "memory that is run after it was written"
    for family, error in ((16, 97), (17, SAID), (40, SAID)):  # netlink, packets, virtual machines
        try:
            socket.socket(family, socket.SOCK_RAW)
        except OSError as refused:
            assert refused.errno == error, (family, refused)
        else:
            raise AssertionError(f"a socket of family {family}")
    socket.socket(socket.AF_INET).close()


if __name__ == "__main__":
    if sys.argv[1] == "begin":
        lay(lambda seccomp: seccomp.KILL_PROCESS)
        os.execv(sys.argv[2], sys.argv[2:])
    {"works": works, "refuses": refuses, "measure": measure}[sys.argv[1]](sys.argv[2])
