"""A demo and, beside it, a proxy with all that leaves traces in metrics: on loopback, for as long as a check takes."""

import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = 30

CONFIG = """
listeners:
  plain: {{ address: "127.0.0.1:0" }}
  public:
    address: "127.0.0.1:0"
    tls: {{ certificate: {directory}/tls.crt, key: {directory}/tls.key }}
  local: {{ address: "unix:{directory}/http.sock" }}
identity_providers:
  demo:
    entra: {{ tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490, authority: "http://{idp}" }}
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    # none that the demo knows: exchanges are refused
    credential: {{ certificate: {{ file: {directory}/tls.crt, key: {directory}/tls.key }} }}
routes:
  orders: {{ match: /orders, upstream: "http://{echo}", exchange: {{ scopes: [api://orders-backend/orders.read] }} }}
  public: {{ match: /public, upstream: "http://{echo}", auth: anonymous }}
  gone: {{ match: /gone, upstream: "http://localhost:1", auth: anonymous }}
cache:
  redis: {{ url: "redis://127.0.0.1:1", encryption_keys: [{{ file: {directory}/encryption.key }}] }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }}, traces: {{ otlp: "http://127.0.0.1:1", sample_ratio: 1 }} }}
admin: {{ address: "127.0.0.1:0" }}
shutdown: {{ delay: 0s, drain: 2s }}
"""


def until(what, is_it, patience=PATIENCE):
    """What `is_it` says once that is something."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if answer := is_it():
            return answer
        time.sleep(0.05)
    raise SystemExit(f"not yet so: {what}")


def get(url, token=None):
    """The status and the text of an answer."""
    request = urllib.request.Request(url)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Stage:
    """Both, each begun by `before` and the binary."""

    def __init__(self, binary, before=(), environment=None):
        self.command = [*before, binary]
        self.environment = {**os.environ, **(environment or {})}
        self.running = []

    def __enter__(self):
        self.kept = tempfile.TemporaryDirectory()
        self.directory = self.kept.name
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
            process.wait()
        self.kept.cleanup()

    def begin(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=orders",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", f"{self.directory}/tls.key", "-out", f"{self.directory}/tls.crt"],
            check=True, stderr=subprocess.DEVNULL,
        )
        subprocess.run(["openssl", "rand", "-base64", "-out", f"{self.directory}/encryption.key", "32"], check=True)
        free = [word for flag in ("proxy", "idp", "upstream", "telemetry", "admin") for word in (f"--{flag}", "127.0.0.1:0")]
        self.demo = self.start(["demo", "--json", *free], "demo.log", stdout=subprocess.PIPE)
        line = self.demo.stdout.readline()
        if not line:
            raise SystemExit("the demo did not start: " + self.log("demo.log"))
        self.addresses = json.loads(line)
        with open(f"{self.directory}/config.yaml", "w", encoding="utf-8") as file:
            file.write(self.configuration())
        self.proxy = self.start(["run", "--config", f"{self.directory}/config.yaml"], "proxy.log")
        listening = until("the proxy listens", self.listening)
        self.plain, self.public, self.telemetry = (listening[of] for of in ("plain", "public", "telemetry"))
        until("the proxy is ready", lambda: get(f"http://{self.telemetry}/readyz")[0] == 200)

    def configuration(self):
        return CONFIG.format(directory=self.directory, idp=self.addresses["idp"], echo=self.addresses["upstream"])

    def start(self, arguments, log, **more):
        with open(f"{self.directory}/{log}", "w", encoding="utf-8") as file:
            process = subprocess.Popen([*self.command, *arguments], stderr=file, env=self.environment, **more)
        self.running.append(process)
        return process

    def log(self, name):
        with open(f"{self.directory}/{name}", encoding="utf-8") as file:
            return file.read()

    def listening(self):
        """Addresses by the names of listeners, once they are all known."""
        if self.proxy.poll() is not None:
            raise SystemExit("the proxy did not start: " + self.log("proxy.log"))
        found = {}
        for line in self.log("proxy.log").splitlines():
            if line.startswith("{"):
                said = json.loads(line)
                if said["msg"] == "listening":
                    found[said["listener"]] = said["address"]
                elif said["msg"] == "probes and metrics":
                    found["telemetry"] = said["address"]
        return found if {"plain", "public", "telemetry"} <= found.keys() else None

    def token(self, query):
        status, text = get(f"http://{self.addresses['idp']}/demo/token?{query}")
        assert status == 200, text
        return text

    def traffic(self):
        """Requests of each kind: what became of them, by their names."""
        demo = f"http://{self.addresses['proxy']}"
        alice = self.token("user=alice")
        asked = {
            "exchanged": (f"{demo}/orders/1", alice),
            "no scope": (f"{demo}/reports/1", alice),
            "no token": (f"{demo}/orders/1", None),
            "no route": (f"{demo}/nowhere", None),
            "needs a second factor": (f"{demo}/orders/1", self.token("user=mfa")),
            "throttled": (f"{demo}/orders/1", self.token("user=throttled")),
            "anonymous": (f"http://{self.plain}/public", None),
            "our credential is refused": (f"http://{self.plain}/orders/1", alice),
            "the upstream is gone": (f"http://{self.plain}/gone", None),
        }
        statuses = {name: get(url, token)[0] for name, (url, token) in asked.items()}
        for address in ([f"https://{self.public}/public", "--insecure"],
                        ["http://localhost/public", "--unix-socket", f"{self.directory}/http.sock"]):
            code = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *address],
                                  check=True, capture_output=True, text=True).stdout
            statuses[address[0].split(":")[0]] = int(code)
        return statuses

    def purge(self):
        """Has the demo forget Alice's tokens."""
        body = b'{"tenant":"8eaef023-2b34-4da1-9baa-8bc8c9d6a490","oid":"a11ce000-5b1e-4c55-8d0a-0a4c3f1e7b01"}'
        headers = {"X-Obo-Admin": "1", "Content-Type": "application/json"}
        address = f"http://{self.addresses['admin']}/api/v1/cache/purge"
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=PATIENCE) as response:
            assert response.status == 200


# What becomes of each kind, the first time; who was throttled keeps the demo's Entra from being asked for a while.
EXPECTED = {
    "exchanged": 200,
    "no scope": 403,
    "no token": 401,
    "no route": 404,
    "needs a second factor": 401,
    "throttled": 503,
    "anonymous": 200,
    "our credential is refused": 502,
    "the upstream is gone": 502,
    "https": 200,
    "http": 200,
}
