"""Starts what a compose file says, without an engine: compose.py demo ROOT, compose.py gateway ROOT, where ROOT is the image's, in namespaces
of their own. And looks at what is written: compose.py written PROJECT, compose.py realm."""

import json
import os
import pathlib
import re
import sys

import pod
import yaml

OURS = "obo-proxy:local"
BINARY = "/usr/local/bin/obo-proxy"
DIRECTORY = pathlib.Path("deploy/compose")
# the one directory that whoever starts it makes
MADE = "./secrets"
SECRETS = f"{pod.WORK}/secrets"


def read(project):
    return yaml.safe_load((DIRECTORY / project / "compose.yaml").read_text())


def written(project):
    """Every service is confined, pinned and healthy or not, and what is published beyond this machine is TLS alone."""
    composed = read(project)
    for name, service in composed["services"].items():
        image, ours = service["image"], OURS in service["image"]
        if image.startswith("${SERVICE_IMAGE:?"):
            # of a user's service nothing is known but that it is reached through the proxy alone
            assert service["networks"] == ["behind"] and composed["networks"]["behind"] == {"internal": True}, name
            assert not service.keys() & {"ports", "network_mode"}, name
            assert f"upstream: http://{name}:" in config_of(project), "the route leads elsewhere"
            continue
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert ours or re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", image), image
        assert not ours or (service["user"] == "65532:65532" and service["read_only"]), name
        # who does not build the image waits for who does
        assert image != OURS or "build" in service or service["pull_policy"] == "never", name
        ports = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        assert not ports or (ports == ["8443:8443"] and "tls:" in config_of(project)), ports
        assert not ours or "healthcheck" in service, f"{name} has no health check"
        assert "secrets" not in service, f"{name}: a secret of compose is a file mounted alone"
        for source in [volume.partition(":")[0] for volume in service.get("volumes", [])]:
            is_there = source == MADE or not source.startswith(".") or (DIRECTORY / project / source).is_dir()
            assert is_there, f"{source}: not a directory"
    unwanted = [str(path) for path in (DIRECTORY / project).rglob("*") if path.name in ("secrets", ".env")]
    assert not unwanted, unwanted


def config_of(project):
    return (DIRECTORY / project / "etc/config.yaml").read_text()


def realm():
    """Keycloak's realm and the proxy's configuration speak of the same issuer, clients and audiences."""
    services = read("keycloak")["services"]
    realm = json.loads((DIRECTORY / "keycloak/realm/orders-realm.json").read_text())
    config = yaml.safe_load(config_of("keycloak"))
    provider, exchange = config["identity_providers"]["keycloak"], config["routes"]["orders"]["exchange"]
    clients = {client["clientId"]: client for client in realm["clients"]}
    told = services["keycloak"]["environment"]
    assert provider["oidc"]["issuer"] == f"{told['KC_HOSTNAME']}/realms/{realm['realm']}"
    assert told["KC_HOSTNAME"] == f"http://127.0.0.1:{told['KC_HTTP_PORT']}"
    assert f"{told['KC_HOSTNAME'].removeprefix('http://')}:{told['KC_HTTP_PORT']}" in services["gateway"]["ports"]

    def audiences(client):
        mappers = [mapper for mapper in client["protocolMappers"] if mapper["protocolMapper"] == "oidc-audience-mapper"]
        return [mapper["config"]["included.client.audience"] for mapper in mappers]

    proxy = clients[provider["client_id"]]
    assert not proxy["publicClient"] and proxy["attributes"]["standard.token.exchange.enabled"] == "true"
    assert audiences(clients["orders-app"]) == provider["audiences"] == [provider["client_id"]]
    assert audiences(proxy) == exchange["audience"] and set(exchange["audience"]) <= clients.keys()
    roles = {role["name"] for role in realm["roles"]["realm"]}
    for user in realm["users"]:
        assert set(config["routes"]["orders"]["require"]["roles"]) <= set(user["realmRoles"]) <= roles
    # no secret is in the file: each comes from a variable that the command line fills from a file that is made
    secrets = [proxy["secret"], *(given["value"] for user in realm["users"] for given in user["credentials"])]
    script = (DIRECTORY / "keycloak/make/secrets.sh").read_text()
    for secret in secrets:
        variable = re.fullmatch(r"\$\{(\w+)\}", secret)[1]
        file = re.search(rf'{variable}="\$\$\(<(\S+)\)"', services["keycloak"]["entrypoint"][2])[1]
        assert f"make {file} 1000" in script, file


class Project:
    """A compose file whose services run: those of the image in it, others by this machine's programs of the same name."""

    def __init__(self, name, root):
        self.name, self.root, self.running = name, root, {}
        self.services = read(name)["services"]

    def start(self, name):
        service = self.services[name]
        ours = OURS in service["image"]
        mounts = {}
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            here = f"{pod.WORK}/volumes/{source}"
            if source == MADE:
                here = SECRETS
            elif source.startswith("."):
                here = str((DIRECTORY / self.name / source).resolve())
            os.makedirs(here, exist_ok=True)
            mounts[target] = (here, mode != ["ro"])
        argv = [*service.get("entrypoint", [BINARY] if ours else []), *service.get("command", [])]
        capabilities = [{"CHOWN": pod.CHOWN}[given] for given in service.get("cap_add", [])]
        user = int(service["user"].partition(":")[0])
        self.running[name] = pod.Container(self.root if ours else "/", argv, mounts, user, capabilities)
        return self.running[name]

    def complete(self, name):
        container = self.start(name)
        code = container.process.wait(pod.PATIENCE)
        assert code == 0, f"{name}: {code}\n{container.said()}"

    def healthy(self, name):
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        container = self.running[name]

        def answer():
            assert container.process.poll() is None, f"{name} ended:\n{container.said()}"
            return container.run(command)[0] == 0

        pod.until(f"{name} is healthy", answer)


def demo(root):
    """`docker compose up`, the README's lines, and a proxy made anew that finds its tokens in Redis."""
    project = Project("demo", root)
    project.complete("secrets")
    for name in ["gateway", "legacy", "entra", "redis"]:
        project.start(name)
    for name in ["gateway", "legacy", "entra", "redis"]:
        project.healthy(name)
    gateway = project.running["gateway"]
    pod.try_the_readme()
    pod.try_the_readme()
    pod.until("the second answer is from the cache", lambda: '"cache":"hit"' in gateway.said())
    code, said = gateway.run([BINARY, "check", "--deny-warnings"])
    assert code == 0, said
    code, said = gateway.run([BINARY, "doctor"])
    assert code == 0, said
    project.complete("secrets")

    def shared():
        """Whether a gateway that was restarted had a token from Redis, which a machine that is busy may answer too late. Compose restarts
        who shares its network too."""
        for name in ["redis", "gateway"]:
            assert project.running[name].stop() == 0, project.running[name].said()
        for name in ["redis", "gateway"]:
            project.start(name)
            project.healthy(name)
        again = project.running["gateway"]
        pod.try_the_readme()
        pod.until("the answers are logged", lambda: again.said().count('"msg":"request"') >= 3)
        return '"cache":"shared"' in again.said()

    pod.until("Redis had the token", shared)
    for name in ["gateway", "entra", "legacy", "redis"]:
        container = project.running[name]
        code = container.stop()
        assert code == 0, f"{name}: {code}\n{container.said()}"
    secrets = [path.read_text().strip() for path in pathlib.Path(f"{pod.WORK}/volumes/proxy-secrets").iterdir()]
    assert len(secrets) == 3 and all(len(secret) == 64 for secret in secrets), "not what secrets.sh makes"
    for name, container in project.running.items():
        assert not any(secret in container.said() for secret in secrets), f"{name} logs a secret"


def gateway(root):
    """The gateway with secrets of its own: one thing to warn of, TLS, nobody enters without a token, and a file that is replaced is used."""
    project = Project("gateway", root)
    # as the page has it: the proxy's user, and nobody else
    os.mkdir(SECRETS, 0o700)
    os.chown(SECRETS, 65532, 65532)
    pod.shell(f"openssl rand -hex -out {SECRETS}/client_secret 32 && chown 65532 {SECRETS}/client_secret && chmod 0400 {SECRETS}/client_secret")
    certificate("orders.example")
    running = project.start("gateway")
    code, said = running.run([BINARY, "check"])
    assert code == 0 and "in clear" in said and "1 warning" in said, said
    # Entra cannot be reached from here, so it is never ready
    answers_as("orders.example")
    code, said = running.run(["obo-proxy", "health"])
    assert code == 1 and "not ready" in said, said
    certificate("renewed.example")
    answers_as("renewed.example")
    assert running.stop() == 0, running.said()


def certificate(host):
    """Puts one and its key into the directory, under the names of those before, as somebody would who renews it."""
    made = f"{pod.WORK}/made"
    names = f"-keyout {made}/tls.key -out {made}/tls.crt -subj /CN={host} -addext subjectAltName=DNS:{host}"
    pod.shell(f"mkdir -p {made} && openssl req -x509 -newkey rsa:2048 -nodes -days 90 {names}")
    for name in ("tls.crt", "tls.key"):
        beside = f"{SECRETS}/.new"
        pod.shell(f"install -o 65532 -m 0400 {made}/{name} {beside} && mv {beside} {SECRETS}/{name}")


def answers_as(host):
    curl = f"curl -s --cacert {SECRETS}/tls.crt --connect-to {host}::127.0.0.1: https://{host}:8443/"
    pod.until(f"the gateway answers as {host}", lambda: '"reason":"missing_token"' in pod.shell(f"{curl} || true"))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command in ("demo", "gateway"):
        pod.begin()
    {"written": written, "realm": realm, "demo": demo, "gateway": gateway}[command](*arguments)
