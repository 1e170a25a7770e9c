"""What rendered manifests must hold: manifests.py BINARY FILE... prints every problem."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

import yaml

PROXY = "obo-proxy"
FORM = "obo.example.com/proxy"
WORKLOAD_IDENTITY = "azure.workload.identity/use"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
PROBES = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
# what the webhook of workload identity sets
WEBHOOK = {
    "AZURE_CLIENT_ID": "6731de76-14a6-49ae-97bc-6eba6914391e",
    "AZURE_TENANT_ID": "8eaef023-2b34-4da1-9baa-8bc8c9d6a490",
    "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
    "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
}


def load(path):
    with open(path, encoding="utf-8") as file:
        return [one for one in yaml.safe_load_all(file) if one]


class Manifests:
    """The objects of one installation."""

    def __init__(self, binary, objects):
        self.binary = binary
        self.objects = objects
        self.problems = []

    def of(self, *kinds):
        return [one for one in self.objects if one["kind"] in kinds]

    def named(self, kind, name):
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    def must(self, condition, problem):
        if not condition:
            self.problems.append(problem)

    def check(self):
        for pod, where in self.pods():
            self.restricted(pod["spec"], where)
            for container in containers(pod["spec"]):
                self.image(container["image"], f"{where}/{container['name']}")
            if FORM in labels(pod):
                self.proxied(pod, where)
        self.must(not self.of("Secret"), "a Secret is shipped")
        self.selectors()
        return self.problems

    def pods(self):
        for one in self.of("Deployment", "StatefulSet", "DaemonSet", "Pod", "Job"):
            where = f"{one['kind']} {one['metadata']['name']}"
            yield (one if one["kind"] == "Pod" else one["spec"]["template"]), where

    # --- every pod

    def restricted(self, spec, where):
        """The level `restricted` of the Pod Security Standards."""
        pod = spec.get("securityContext", {})
        for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            self.must(not spec.get(key), f"{where}: {key}")
        self.must(not pod.get("sysctls"), f"{where}: sysctls")
        allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
        for volume in spec.get("volumes", []):
            kinds = set(volume) - {"name"}
            self.must(kinds <= allowed and kinds, f"{where}: volume {volume['name']} is {kinds}")
        for container in containers(spec):
            name = f"{where}/{container['name']}"
            own = container.get("securityContext", {})
            in_use = {**pod, **own}
            self.must(not own.get("privileged"), f"{name}: privileged")
            self.must(own.get("allowPrivilegeEscalation") is False, f"{name}: privileges may grow")
            self.must(in_use.get("runAsNonRoot") is True, f"{name}: may run as root")
            self.must(in_use.get("runAsUser", 1) != 0, f"{name}: runs as root")
            self.must(own.get("capabilities", {}).get("drop") == ["ALL"], f"{name}: keeps capabilities")
            self.must(set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"}, f"{name}: adds capabilities")
            profile = in_use.get("seccompProfile", {}).get("type")
            self.must(profile in ("RuntimeDefault", "Localhost"), f"{name}: no seccomp profile")
            self.must(own.get("procMount", "Default") == "Default", f"{name}: procMount")
            for port in container.get("ports", []):
                self.must(not port.get("hostPort"), f"{name}: hostPort")

    def image(self, image, where):
        tag = re.search(r":([\w.-]+)(@|$)", image.rsplit("/", 1)[-1])
        self.must("@sha256:" in image or (tag and tag[1] != "latest"), f"{where}: the image {image} may change")

    # --- pods with a proxy

    def proxied(self, pod, where):
        spec = pod["spec"]
        sidecar = labels(pod)[FORM] == "sidecar"
        among, others = ("initContainers", "containers") if sidecar else ("containers", "initContainers")
        found = [one for one in spec.get(among, []) if one["name"] == PROXY]
        self.must(not [one for one in spec.get(others, []) if one["name"] == PROXY], f"{where}: the proxy is among {others}")
        self.must(len(found) == 1, f"{where}: {len(found)} proxies among {among}")
        if len(found) != 1:
            return
        proxy = found[0]
        self.must(proxy.get("restartPolicy") == ("Always" if sidecar else None), f"{where}: not a native sidecar")
        self.container(proxy, where)
        self.tokens(pod, proxy, where)
        self.policies(pod, proxy, where)
        config = self.configuration(pod, proxy, where)
        if config:
            self.ports_and_end(spec, proxy, config, where)

    def container(self, proxy, where):
        security = proxy.get("securityContext", {})
        self.must(security.get("runAsUser") == 65532, f"{where}: the proxy is not uid 65532")
        self.must(security.get("readOnlyRootFilesystem") is True, f"{where}: the proxy's root can be written")
        resources = proxy.get("resources", {})
        self.must({"cpu", "memory"} <= set(resources.get("requests", {})), f"{where}: no requests")
        self.must("memory" in resources.get("limits", {}), f"{where}: no limit of memory")
        self.must("cpu" not in resources.get("limits", {}), f"{where}: a limit of CPU delays every request")
        for variable in proxy.get("env", []):
            name = variable["name"].upper()
            secret = re.search(r"SECRET|PASSWORD|ENCRYPTION_KEYS", name) and "FILE" not in name
            self.must(not (secret and "value" in variable), f"{where}: {variable['name']} holds a secret")
        self.must(not any("secretRef" in one for one in proxy.get("envFrom", [])), f"{where}: a Secret is in the environment")
        # /livez waits that long for workers, and a second is the default
        self.must(proxy.get("livenessProbe", {}).get("timeoutSeconds", 1) > 5, f"{where}: livenessProbe does not wait for the answer")
        for probe, path in PROBES.items():
            get = proxy.get(probe, {}).get("httpGet", {})
            self.must(get.get("path") == path, f"{where}: {probe} does not ask {path}")
            self.must(get.get("port") == "obo-telemetry", f"{where}: {probe} asks another port")

    def tokens(self, pod, proxy, where):
        """The token of the service account is not in the proxy's container; one for Entra is there alone."""
        spec = pod["spec"]
        account = self.named("ServiceAccount", spec.get("serviceAccountName"))
        mounts = spec.get("automountServiceAccountToken", (account or {}).get("automountServiceAccountToken", True))
        shadowed = any(one["mountPath"] == TOKEN_PATH for one in proxy.get("volumeMounts", []))
        self.must(mounts is False or shadowed, f"{where}: the proxy gets the token of the service account")
        others = [one for one in containers(spec) if one is not proxy]
        for volume in spec.get("volumes", []):
            sources = volume.get("projected", {}).get("sources", [])
            if "secret" in volume or any("serviceAccountToken" in source for source in sources):
                for other in others:
                    mounted = [one["name"] for one in other.get("volumeMounts", [])]
                    self.must(volume["name"] not in mounted, f"{where}: {other['name']} has the credential {volume['name']}")
            mounted = [one for one in proxy.get("volumeMounts", []) if one["name"] == volume["name"]]
            group = "fsGroup" in spec.get("securityContext", {})
            if mounted and "secret" in volume:
                mode = volume["secret"].get("defaultMode", 0o644)
                self.must(group and mode & 0o040, f"{where}: the proxy cannot read {volume['name']}")
                self.must(not mode & 0o007, f"{where}: whoever is in the pod may read {volume['name']}")
            if mounted and any("serviceAccountToken" in source for source in sources):
                # the kubelet gives it to the pod's only user, or to its group; else root owns it
                mode = volume["projected"].get("defaultMode", 0o644)
                self.must(not others or group or mode & 0o004, f"{where}: the proxy cannot read {volume['name']}")
        if labels(pod).get(WORKLOAD_IDENTITY) == "true":
            annotations = (account or {"metadata": {}})["metadata"].get("annotations") or {}
            client = annotations.get("azure.workload.identity/client-id", "")
            self.must(account is None or re.fullmatch(r"[0-9a-f-]{36}", client), f"{where}: its ServiceAccount names no client id")
            skipped = pod["metadata"].get("annotations", {}).get("azure.workload.identity/skip-containers", "").split(";")
            for other in others:
                self.must(other["name"] in skipped, f"{where}: {other['name']} gets the federated token")

    def policies(self, pod, proxy, where):
        policies = [one for one in self.of("NetworkPolicy") if matches(one["spec"]["podSelector"], labels(pod))]
        for one in policies:
            namespaces = {other["metadata"].get("namespace") for other in self.of("ServiceAccount", "Deployment", "NetworkPolicy")}
            self.must(one["metadata"].get("namespace") in namespaces and len(namespaces) == 1, f"{where}: policies are in {namespaces}")
        selected = [one["spec"] for one in policies]
        for one in selected:
            for rule in one.get("ingress", []):
                self.must(rule.get("ports") and not any("endPort" in port for port in rule["ports"]), f"{where}: more ports are let in")
            for rule in one.get("egress", []):
                self.must(rule.get("to"), f"{where}: it may call everybody")
        kinds = {kind for one in selected for kind in one["policyTypes"]}
        self.must(kinds == {"Ingress", "Egress"}, f"{where}: of NetworkPolicies it has {sorted(kinds)}")
        ports = {one["name"]: one["containerPort"] for one in proxy.get("ports", [])}
        rules = [(rule, port["port"]) for one in selected for rule in one.get("ingress", []) for port in rule.get("ports", [{"port": "any"}])]
        for rule, port in rules:
            self.must(port in ports.values() or port in ports, f"{where}: port {port} is let in")
            telemetry = port in ("obo-telemetry", ports.get("obo-telemetry"))
            self.must(not telemetry or rule.get("from"), f"{where}: everybody may ask for metrics")
        self.must(ports.get("obo-http") in [port for _, port in rules] or "obo-http" in [port for _, port in rules], f"{where}: callers are kept out")

    def configuration(self, pod, proxy, where):
        """The ConfigMap is there, rolls the pods when it changes, and our own check has nothing to say about it."""
        mount = next((one for one in proxy.get("volumeMounts", []) if one["mountPath"] == "/etc/obo-proxy"), None)
        volume = next((one for one in pod["spec"].get("volumes", []) if mount and one["name"] == mount["name"]), {})
        self.must(mount and not mount.get("subPath") and mount.get("readOnly"), f"{where}: the configuration is not a read-only directory")
        name = volume.get("configMap", {}).get("name", "")
        config_map = self.named("ConfigMap", name)
        self.must(config_map, f"{where}: there is no ConfigMap {name!r}")
        if not config_map:
            return None
        text = config_map["data"].get("config.yaml", "")
        checksum = pod["metadata"].get("annotations", {}).get("checksum/config")
        hashed = re.search(r"-[0-9a-z]{10}$", name) or checksum == hashlib.sha256(text.encode()).hexdigest()
        self.must(hashed, f"{where}: another configuration does not roll the pods")
        environment = {one["name"]: one.get("value", "") for one in proxy.get("env", [])}
        if labels(pod).get(WORKLOAD_IDENTITY) == "true":
            environment |= WEBHOOK
        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, "config.yaml")
            with open(file, "w", encoding="utf-8") as out:
                out.write(text)
            ask = lambda *command: subprocess.run(
                [self.binary, *command, "--config", file], env=environment, capture_output=True, text=True, check=False
            )
            checked = ask("check", "--format", "json")
            shown = ask("config", "--defaults", "--json")
        self.must(checked.returncode == 0, f"{where}: check says: {checked.stdout}{checked.stderr}")
        if checked.returncode != 0:
            return None
        mounted = [one["mountPath"] + "/" for one in proxy.get("volumeMounts", [])] + ["/var/run/secrets/azure/tokens/"]
        for path in re.findall(r"/(?:var|run|etc)/[\w./-]+", text) + [environment.get("AZURE_FEDERATED_TOKEN_FILE", mounted[0])]:
            self.must(any(path.startswith(one) for one in mounted), f"{where}: nothing is mounted where {path} should be")
        for warning in json.loads(checked.stdout):
            # no Secret is mounted here
            self.must("cannot be read" in warning["message"], f"{where}: check warns: {warning['message']}")
        return json.loads(shown.stdout)["values"]

    def ports_and_end(self, spec, proxy, config, where):
        ports = {one["name"]: one["containerPort"] for one in proxy.get("ports", [])}
        self.must(ports.get("obo-telemetry") == port_of(config["telemetry"]["address"]), f"{where}: obo-telemetry is another port")
        listening = [port_of(one["address"]) for one in config["listeners"].values()]
        self.must(ports.get("obo-http") in listening, f"{where}: nobody listens on obo-http")
        for other in containers(spec):
            clash = {one["containerPort"] for one in other.get("ports", [])} & set(ports.values())
            self.must(other is proxy or not clash, f"{where}: {other['name']} listens on the proxy's port")
        pauses = [one.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0) for one in spec["containers"]]
        if proxy.get("restartPolicy") == "Always":
            self.must(max(pauses) >= 5, f"{where}: the service ends while requests still come")
        takes = max(pauses) + seconds(config["shutdown"]["delay"]) + seconds(config["shutdown"]["drain"])
        grace = spec.get("terminationGracePeriodSeconds", 30)
        self.must(grace >= takes + 5, f"{where}: {grace} s are too few for an end of {takes:g} s")

    # --- what points at pods

    def selectors(self):
        pods = [(labels(pod), pod["spec"], where) for pod, where in self.pods()]
        for one in self.of("Deployment"):
            self.must(
                matches(one["spec"]["selector"], labels(one["spec"]["template"])),
                f"Deployment {one['metadata']['name']} does not select its own pods",
            )
        for one in self.of("Service"):
            self.service(one, pods)
        for one in self.of("PodDisruptionBudget", "PodMonitor", "NetworkPolicy"):
            where = f"{one['kind']} {one['metadata']['name']}"
            selector = one["spec"].get("selector", one["spec"].get("podSelector"))
            chosen = [spec for labelled, spec, _ in pods if matches(selector, labelled)]
            self.must(chosen, f"{where} selects no pod")
            for endpoint in one["spec"].get("podMetricsEndpoints", []):
                # no schema of Kubernetes has it
                self.must(endpoint.keys() == {"port", "path", "interval"} and endpoint["path"] == "/metrics", f"{where}: {endpoint}")
                self.must(all(endpoint["port"] in port_names(spec) for spec in chosen), f"{where}: no port {endpoint['port']}")
        for one in self.of("ServiceMonitor"):
            where = f"ServiceMonitor {one['metadata']['name']}"
            chosen = [service for service in self.of("Service") if matches(one["spec"]["selector"], service["metadata"].get("labels", {}))]
            self.must(chosen, f"{where} selects no Service")
            for endpoint in one["spec"]["endpoints"]:
                found = [port["name"] for service in chosen for port in service["spec"]["ports"]]
                self.must(endpoint["port"] in found, f"{where}: no port {endpoint['port']}")
        for one in self.of("HorizontalPodAutoscaler"):
            target = self.named(one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"])
            self.must(target, f"HorizontalPodAutoscaler {one['metadata']['name']} scales nothing")
            self.must(not target or "replicas" not in target["spec"], "each apply undoes what the HorizontalPodAutoscaler did")

    def service(self, one, pods):
        where = f"Service {one['metadata']['name']}"
        chosen = [(labelled, spec) for labelled, spec, _ in pods if matches({"matchLabels": one["spec"]["selector"]}, labelled)]
        self.must(chosen, f"{where} selects no pod")
        self.must(one["spec"].get("type", "ClusterIP") != "NodePort" and "externalIPs" not in one["spec"], f"{where} is on the nodes")
        for labelled, spec in chosen:
            # before 1.33 a Service knows no names of the ports of native sidecars
            named = {port["name"]: port["containerPort"] for container in spec["containers"] for port in container.get("ports", []) if "name" in port}
            for port in one["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                self.must(isinstance(target, int) or target in named, f"{where}: no port {target}")
                if FORM in labelled:
                    proxy = next(container for container in containers(spec) if container["name"] == PROXY)
                    ports = {port["name"]: port["containerPort"] for port in proxy["ports"]}
                    number = named.get(target, target)
                    inside = one["spec"].get("clusterIP") == "None" and number == ports["obo-telemetry"]
                    self.must(number == ports["obo-http"] or inside, f"{where} leads past the proxy, to {target}")


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def labels(pod):
    return pod["metadata"].get("labels", {})


def port_names(spec):
    return [port["name"] for one in containers(spec) for port in one.get("ports", [])]


def port_of(address):
    return int(address.rsplit(":", 1)[-1])


def seconds(text):
    return sum(float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", text))


def matches(selector, labelled):
    for key, value in selector.get("matchLabels", {}).items():
        if labelled.get(key) != value:
            return False
    for one in selector.get("matchExpressions", []):
        there = labelled.get(one["key"])
        if not {"Exists": there is not None, "In": there in one.get("values", [])}[one["operator"]]:
            return False
    return True


def main():
    binary, *paths = sys.argv[1:]
    problems = []
    for path in paths:
        objects = load(path)
        assert objects, f"{path} is empty"
        problems += [f"{os.path.basename(path)}: {one}" for one in Manifests(binary, objects).check()]
    print("\n".join(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
