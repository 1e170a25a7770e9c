"""That the rules of manifests.py see what is wrong: broken_manifests.py BINARY FILE breaks what FILE holds in many ways, and each must be seen."""

import copy
import sys

from manifests import FORM, PROXY, TOKEN_PATH, WORKLOAD_IDENTITY, Manifests, containers, labels, load


def breakages(objects):
    """Ways to break what is shipped, and a word of the problem that must be seen. Each gets objects of its own."""

    def first(kind, broken):
        return next(one for one in broken if one["kind"] == kind)

    def pod(broken):
        return next(
            one["spec"]["template"] for one in broken if one["kind"] == "Deployment" and FORM in labels(one["spec"]["template"])
        )

    def proxy(broken):
        return next(one for one in containers(pod(broken)["spec"]) if one["name"] == PROXY)

    def service_container(broken):
        return next(one for one in containers(pod(broken)["spec"]) if one["name"] != PROXY)

    def drop(kind):
        return lambda broken: broken.remove(first(kind, broken))

    def in_proxy(**changes):
        return lambda broken: proxy(broken).update(changes)

    def in_security(**changes):
        return lambda broken: proxy(broken)["securityContext"].update(changes)

    def in_pod(**changes):
        return lambda broken: pod(broken)["spec"].update(changes)

    def config(text):
        return lambda broken: first("ConfigMap", broken)["data"].update({"config.yaml": text})

    def add_config(text):
        return lambda broken: config(first("ConfigMap", broken)["data"]["config.yaml"] + text)(broken)

    def no_token_shadow(broken):
        pod(broken)["spec"].pop("automountServiceAccountToken")
        first("ServiceAccount", broken).pop("automountServiceAccountToken")
        proxy(broken)["volumeMounts"] = [one for one in proxy(broken)["volumeMounts"] if one["mountPath"] != TOKEN_PATH]

    def as_container(broken):
        spec = pod(broken)["spec"]
        spec["containers"].append(proxy(broken))
        spec["initContainers"] = [one for one in spec["initContainers"] if one["name"] != PROXY]

    def ingress(broken):
        return next(one for one in broken if one["kind"] == "NetworkPolicy" and "Ingress" in one["spec"]["policyTypes"])

    def egress(broken):
        return next(one for one in broken if one["kind"] == "NetworkPolicy" and "Egress" in one["spec"]["policyTypes"])

    def bare(template):
        return {"template": {**template, "spec": {**template["spec"], "hostNetwork": True}}}

    def unhash(broken, template):
        template["metadata"].pop("annotations", None)
        found = first("ConfigMap", broken)
        for volume in template["spec"]["volumes"]:
            if volume.get("configMap", {}).get("name") == found["metadata"]["name"]:
                volume["configMap"]["name"] = "plain"
        found["metadata"]["name"] = "plain"

    def projected(broken):
        return next((one for one in pod(broken)["spec"]["volumes"] if "projected" in one), None)

    def token_for_all(broken):
        service_container(broken)["volumeMounts"] = [{"name": projected(broken)["name"], "mountPath": "/token"}]

    yield "privileged", in_security(privileged=True), "privileged"
    yield "root", in_security(runAsUser=0), "runs as root"
    yield "perhaps root", in_security(runAsNonRoot=False), "may run as root"
    yield "escalation", in_security(allowPrivilegeEscalation=True), "privileges may grow"
    yield "capabilities", in_security(capabilities={}), "keeps capabilities"
    yield "a capability", in_security(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}), "adds capabilities"
    yield "no seccomp", in_security(seccompProfile={"type": "Unconfined"}), "no seccomp profile"
    yield "root can be written", in_security(readOnlyRootFilesystem=False), "can be written"
    yield "another user", in_security(runAsUser=1000), "65532"
    yield "host network", in_pod(hostNetwork=True), "hostNetwork"
    yield "host path", lambda broken: pod(broken)["spec"]["volumes"].append({"name": "x", "hostPath": {}}), "hostPath"
    yield "latest", in_proxy(image="registry.example/obo-proxy:latest"), "may change"
    yield "no tag", in_proxy(image="registry.example:5000/obo-proxy"), "may change"
    yield "no limit", in_proxy(resources={"requests": {"cpu": "1", "memory": "1"}}), "no limit of memory"
    yield "no requests", in_proxy(resources={"limits": {"memory": "1"}}), "no requests"
    yield "another probe", in_proxy(livenessProbe={"httpGet": {"path": "/readyz", "port": "obo-telemetry"}}), "livenessProbe does not ask"
    yield "another port", in_proxy(livenessProbe={"httpGet": {"path": "/livez", "port": "obo-http"}}), "livenessProbe asks"
    yield "a secret", in_proxy(env=[{"name": "CLIENT_SECRET", "value": "x"}]), "holds a secret"
    yield "token", no_token_shadow, "the token of the service account"
    yield "grace", in_pod(terminationGracePeriodSeconds=30), "too few"
    yield "no ConfigMap", drop("ConfigMap"), "there is no ConfigMap"
    yield "no roll", lambda broken: unhash(broken, pod(broken)), "does not roll"
    yield "wrong configuration", config("routes: 7"), "check says"
    yield "telemetry elsewhere", add_config("\ntelemetry: { address: 0.0.0.0:9000 }\n"), "obo-telemetry is another port"
    yield "listener elsewhere", add_config("\nlisteners: { x: { address: 0.0.0.0:9000 } }\n"), "nobody listens"
    yield "a file that is nowhere", add_config("\n# /run/secrets/elsewhere/secret\n"), "nothing is mounted"
    yield "warning", add_config("\nadmin: { token: { value: 0123456789abcdef0123456789abcdef } }\n"), "check warns"
    yield "ingress", lambda broken: first("NetworkPolicy", broken)["spec"].update({"podSelector": {"matchLabels": {"a": "b"}}}), "selects no pod"
    yield "no policies", lambda broken: broken.__setitem__(slice(None), [one for one in broken if one["kind"] != "NetworkPolicy"]), "of NetworkPolicies"
    yield "a Secret", lambda broken: broken.append({"kind": "Secret", "metadata": {"name": "x"}}), "a Secret is shipped"
    yield "past the proxy", lambda broken: first("Service", broken)["spec"]["ports"][0].update({"targetPort": 8000}), "past the proxy"
    yield "telemetry", lambda broken: first("Service", broken)["spec"]["ports"][0].update({"targetPort": 9902}), "past the proxy"
    yield "on the nodes", lambda broken: first("Service", broken)["spec"].update({"type": "NodePort"}), "is on the nodes"
    yield "shared processes", in_pod(shareProcessNamespace=True), "shareProcessNamespace"
    yield "a secret in small letters", in_proxy(env=[{"name": "OBO__x__secret__value", "value": "x"}]), "holds a secret"
    yield "a Secret's variables", in_proxy(envFrom=[{"secretRef": {"name": "x"}}]), "in the environment"
    yield "a second for the probe", lambda broken: proxy(broken)["livenessProbe"].pop("timeoutSeconds"), "does not wait"
    yield "all ports", lambda broken: ingress(broken)["spec"]["ingress"].append({"from": [{"podSelector": {}}]}), "more ports"
    yield "many ports", lambda broken: ingress(broken)["spec"]["ingress"][0]["ports"][0].update({"endPort": 9000}), "more ports"
    yield "everybody", lambda broken: egress(broken)["spec"]["egress"].append({}), "may call everybody"
    yield "another namespace", lambda broken: ingress(broken)["metadata"].update({"namespace": "elsewhere"}), "policies are in"
    yield "a set", lambda broken: broken.append({**first("Deployment", broken), "kind": "StatefulSet", "spec": bare(pod(broken))}), "StatefulSet"
    yield "selector", lambda broken: first("Deployment", broken)["spec"].update({"selector": {"matchLabels": {"a": "b"}}}), "its own pods"
    yield "Service", lambda broken: first("Service", broken)["spec"].update({"selector": {"a": "b"}}), "selects no pod"
    if any(labels(one["spec"]["template"]).get(WORKLOAD_IDENTITY) for one in objects if one["kind"] == "Deployment"):
        yield "client id", lambda broken: first("ServiceAccount", broken)["metadata"].pop("annotations"), "names no client id"
    if any(one["kind"] == "PodMonitor" for one in objects):
        yield "PodMonitor", lambda broken: first("PodMonitor", broken)["spec"]["podMetricsEndpoints"][0].update({"port": "x"}), "no port x"
        yield "misspelt endpoint", lambda broken: first("PodMonitor", broken)["spec"]["podMetricsEndpoints"][0].update({"pth": "x"}), "pth"
    if any(one["kind"] == "HorizontalPodAutoscaler" for one in objects):
        yield "replicas", lambda broken: first("Deployment", broken)["spec"].update({"replicas": 2}), "each apply undoes"
        yield "autoscaler", lambda broken: first("HorizontalPodAutoscaler", broken)["spec"]["scaleTargetRef"].update({"name": "x"}), "scales nothing"
    if any("secret" in one for one in pod(objects)["spec"]["volumes"]):
        secret = lambda broken: next(one["secret"] for one in pod(broken)["spec"]["volumes"] if "secret" in one)
        yield "Secret for all", lambda broken: secret(broken).update({"defaultMode": 0o444}), "whoever is in the pod"
        yield "Secret for root", lambda broken: secret(broken).update({"defaultMode": 0o400}), "cannot read"
        yield "no group", lambda broken: pod(broken)["spec"]["securityContext"].pop("fsGroup"), "cannot read"
    if labels(pod(objects))[FORM] == "sidecar":
        yield "a name", lambda broken: first("Service", broken)["spec"]["ports"][0].update({"targetPort": "obo-http"}), "no port obo-http"
        yield "init container", lambda broken: proxy(broken).pop("restartPolicy"), "not a native sidecar"
        yield "container", as_container, "among containers"
        yield "no pause", lambda broken: service_container(broken).pop("lifecycle"), "while requests still come"
        yield "same port", lambda broken: service_container(broken).update({"ports": [{"name": "x", "containerPort": 8080}]}), "the proxy's port"
        open_port = {"ports": [{"port": 8000}]}
        yield "open port", lambda broken: ingress(broken)["spec"]["ingress"].append(open_port), "port 8000 is let in"
        if projected(objects):
            yield "token for all", token_for_all, "has the credential"
            yield "token for root", lambda broken: projected(broken)["projected"].update({"defaultMode": 0o440}), "cannot read"


def main():
    binary, path = sys.argv[1:]
    objects = load(path)
    problems = []
    for name, change, word in breakages(objects):
        spoiled = copy.deepcopy(objects)
        change(spoiled)
        seen = Manifests(binary, spoiled).check()
        if not any(word in one for one in seen):
            problems.append(f"{name}: nobody says {word!r}, only {seen}")
    print("\n".join(problems))
    sys.exit(bool(problems))


main()
