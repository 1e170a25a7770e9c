# shellcheck shell=bash
# What `kubectl apply -k` sends: every overlay and example, and each way to bring the credential to either form
# shellcheck source=tests/deploy/manifests.sh
source tests/deploy/manifests.sh

# render DIRECTORY FILE
render() {
    kubectl kustomize "$1" >"$2"
}
# misspelt FILE: strict means that an unknown field is seen
misspelt() {
    sed 's/restartPolicy: Always/restartPolcy: Always/' "$1" >"$1.broken"
    ! said=$(valid "$1.broken" 2>&1) && grep -q restartPolcy <<<"$said"
}
# combine FORM CREDENTIAL DIRECTORY: a kustomization as a user would write it, with the files of this repository
combine() {
    local kubernetes resource=examples/orders components=(sidecar drain) identity='entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }'
    local credential=workload_identity client='client_id: 6731de76-14a6-49ae-97bc-6eba6914391e, '
    [ "$1" = sidecar ] || resource=base components=()
    [ "$2" = client-secret ] && credential='{ certificate: { file: /run/secrets/obo-proxy/tls.crt, key: /run/secrets/obo-proxy/tls.key } }'
    mkdir -p "$3"
    kubernetes=$(realpath --relative-to "$3" deploy/kubernetes)
    cat >"$3/config.yaml" <<END
identity_providers:
  contoso: { $identity, ${client}credential: $credential }
routes:
  all: { match: /, upstream: http://127.0.0.1:8000, exchange: { scopes: [api://orders-backend/.default] } }
END
    {
        echo "namePrefix: my-"
        echo "namespace: elsewhere"
        echo "resources: [$kubernetes/$resource]"
        echo "components:"
        printf -- "- $kubernetes/components/%s\n" "${components[@]}" "$2" network-policy monitoring
        echo "configMapGenerator: [{ name: obo-proxy, files: [config.yaml] }]"
        echo "images: [{ name: registry.example/obo-proxy, newName: mine.example/obo, digest: sha256:$(printf '0%.0s' {1..64}) }]"
    } | grep -v 'components/$' >"$3/kustomization.yaml"
}
# refused_with WORD DIRECTORY PATCH: that much is laid over examples/orders, and then the sidecar and its pause do not render
refused_with() {
    mkdir -p "$2/service"
    kubernetes=$(realpath --relative-to "$2" deploy/kubernetes)
    printf 'resources: [../%s/examples/orders]\npatches: [%s]\n' "$kubernetes" "$3" >"$2/service/kustomization.yaml"
    printf 'resources: [service]\ncomponents: [%s/components/sidecar, %s/components/drain]\n' "$kubernetes" "$kubernetes" >"$2/kustomization.yaml"
    kubectl kustomize "$2/service" && ! kubectl kustomize "$2" 2>"$2/said" && cat "$2/said" && grep -q "$1" "$2/said"
}
# ports_are_moved DIRECTORY: every port of the Service, one that says nothing of where it leads included
ports_are_moved() {
    mkdir -p "$1/service"
    kubernetes=$(realpath --relative-to "$1" deploy/kubernetes)
    printf 'resources: [../%s/examples/orders]\npatches: [{ patch: "{ apiVersion: v1, kind: Service, metadata: { name: orders }, spec: { ports: [{ name: a, port: 81, targetPort: 8000 }, { name: b, port: 82 }] } }" }]\n' \
        "$kubernetes" >"$1/service/kustomization.yaml"
    printf 'resources: [service]\ncomponents: [%s/components/sidecar]\n' "$kubernetes" >"$1/kustomization.yaml"
    render "$1" "$1/rendered" && [ "$(grep -c 'targetPort: 8080$' "$1/rendered")" = 3 ] && ! grep -q 'kind: Port' "$1/rendered"
}
# before_129 DIRECTORY: the form for clusters that know no native sidecars, as docs/quickstart-aks.md tells to make it
before_129() {
    local kubernetes
    mkdir -p "$1/sidecar"
    cp -r deploy/kubernetes/components/projected-token "$1/"
    sed -i 's/path: sidecar.yaml/path: gateway.yaml/' "$1/projected-token/kustomization.yaml"
    kubernetes=$(realpath --relative-to "$1" deploy/kubernetes)
    cp deploy/kubernetes/components/sidecar/{kustomization,port}.yaml "$1/sidecar/"
    sed 's/initContainers:/containers:/; /restartPolicy:/d; /OBO__SHUTDOWN__DELAY/d' \
        deploy/kubernetes/components/sidecar/container.yaml >"$1/sidecar/container.yaml"
    printf 'resources: [%s/examples/orders]\ncomponents: [sidecar, projected-token]\n' "$kubernetes" >"$1/kustomization.yaml"
    render "$1" "$1/rendered" && kubernetes-validate --strict --quiet --no-warn -k 1.28 "$1/rendered" &&
        grep -q 'name: obo-proxy$' "$1/rendered" && ! grep -q initContainers "$1/rendered"
}
# same_proxy SIDECAR GATEWAY: the two forms differ in nothing but what they must
same_proxy() {
    python3 - "$@" <<'END'
import sys, yaml
def proxy(path, among):
    pod = next(one for one in yaml.safe_load_all(open(path)) if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    found = next(one for one in pod[among] if one["name"] == "obo-proxy")
    found["volumeMounts"] = [one for one in found["volumeMounts"] if "no-token" not in one["name"]]
    return {key: value for key, value in found.items() if key not in ("env", "resources", "restartPolicy")}
assert proxy(sys.argv[1], "initContainers") == proxy(sys.argv[2], "containers")
END
}

rendered="${work:?}/kubernetes"
mkdir -p "$rendered"
for directory in deploy/kubernetes/overlays/* deploy/kubernetes/examples/*; do
    name=$(basename "$directory")
    check "kubernetes: $name renders" render "$directory" "$rendered/$name.yaml"
    check "kubernetes: $name is valid" valid "$rendered/$name.yaml"
    check "kubernetes: $name holds the rules" holds "$rendered/$name.yaml"
done
for name in aks secret gateway; do
    check "kubernetes: rules see a broken $name" broken_is_seen "$rendered/$name.yaml"
done
check "kubernetes: a misspelt field is seen" misspelt "$rendered/aks.yaml"
check "kubernetes: sidecar and gateway are the same proxy" same_proxy "$rendered/aks.yaml" "$rendered/gateway.yaml"
# what the overlays do not show, in another namespace and under another name
for form in sidecar gateway; do
    for credential in projected-token client-secret; do
        name="$form-$credential"
        combine "$form" "$credential" "$work/$name"
        check "kubernetes: $form with $credential renders" render "$work/$name" "$rendered/$name.yaml"
        check "kubernetes: $form with $credential is valid" valid "$rendered/$name.yaml"
        check "kubernetes: $form with $credential holds the rules" holds "$rendered/$name.yaml"
    done
done
# what would go past the proxy, or take something away, in silence
check "kubernetes: every port of the Service is the proxy's" ports_are_moved "$work/ports"
check "kubernetes: a pause of the Deployment's own is not replaced" refused_with '/lifecycle failed: test failed' "$work/pause" \
    '{ patch: "{ apiVersion: apps/v1, kind: Deployment, metadata: { name: orders }, spec: { template: { spec: { containers: [{ name: orders, lifecycle: { preStop: { sleep: { seconds: 3 } } } }] } } } }" }'
check "kubernetes: nor its own grace" refused_with '/terminationGracePeriodSeconds failed: test failed' "$work/grace" \
    '{ patch: "{ apiVersion: apps/v1, kind: Deployment, metadata: { name: orders }, spec: { template: { spec: { terminationGracePeriodSeconds: 120 } } } }" }'
check "kubernetes: as before native sidecars" before_129 "$work/before"
check "kubernetes: yaml" yamllint --strict --config-data '{extends: relaxed, rules: {line-length: disable}}' deploy/kubernetes
