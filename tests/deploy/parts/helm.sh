# shellcheck shell=bash
# The chart of the gateway: what it renders is held to the same as deploy/kubernetes, and wrong values are refused
# shellcheck source=tests/deploy/manifests.sh
source tests/deploy/manifests.sh

chart=deploy/helm/obo-proxy
chart() {
    python3 tests/deploy/chart.py "$@"
}

rendered="${work:?}/helm"
mkdir -p "$rendered"
for file in "$chart"/ci/*-values.yaml; do
    name=$(basename "$file" -values.yaml)
    check "helm: $name lints" chart lint "$chart" "$file"
    check "helm: $name renders" chart render "$chart" "$file" "$rendered/$name.yaml"
    check "helm: $name is valid" valid "$rendered/$name.yaml"
done
# the third takes what is not the chart's: the configuration, and no policy
for name in minimal full; do
    check "helm: $name holds the rules" holds "$rendered/$name.yaml"
done
check "helm: rules see a broken minimal" broken_is_seen "$rendered/minimal.yaml"
check "helm: the README has every value" chart readme "$chart"
check "helm: yaml" yamllint --strict --config-data '{extends: relaxed, rules: {line-length: disable}}' "$chart/values.yaml" "$chart/Chart.yaml" "$chart/ci"
# the chart ships the version that this repository builds
version() {
    local version
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    grep -qx "version: $version" "$chart/Chart.yaml" && grep -qx "appVersion: $version" "$chart/Chart.yaml" &&
        ! grep -rhE '(obo-proxy:|newTag: )[0-9]' deploy/kubernetes | grep -vE "(obo-proxy:|newTag: )$version( |$)"
}
check "helm: the versions agree" version

# refused WORD BROKEN: laid over the minimal values, this is refused with that word
refuse() {
    check "helm: refuses $2" chart refused "$chart" "$chart/ci/minimal-values.yaml" "$1" "$2"
}
refuse imagee '{imagee: {}}'
refuse replica '{autoscaling: {replica: 2}}'
refuse replicas '{replicas: two}'
refuse digest '{image: {digest: sha256:abc}}'
refuse tag '{image: {tag: latest}}'
refuse clientId '{workloadIdentity: {clientId: contoso}}'
refuse kind '{monitor: {kind: Probe}}'
refuse port '{service: {port: 70000}}'
refuse hosts '{ingress: {enabled: true}}'
refuse extraEnv '{extraEnv: [{name: CLIENT_SECRET, value: abc}]}'
refuse 'needed, it is written' '{workloadIdentity: {clientId: ""}}'
refuse 'name a ConfigMap' '{config: null}'
refuse 'only one of them' '{existingConfig: mine}'
refuse 'secrets do not belong' '{config: {identity_providers: {contoso: {credential: {secret: {value: abc}}}}}}'
refuse 'secrets do not belong' '{config: {cache: {redis: {encryption_keys: [{value: abc}]}}}}'
# what the pod and its configuration say of the same thing
refuse 'ports.http is 8080' '{config: {listeners: {public: {address: "0.0.0.0:8443"}}}}'
refuse 'ports.http is 8443' '{ports: {http: 8443}}'
refuse 'ports.http is 8080' '{config: {listeners: {local: {address: "127.0.0.1:8080"}}}}'
refuse 'ports.telemetry is 9902' '{config: {telemetry: {address: "0.0.0.0:9999"}}}'
refuse 'config.shutdown takes 65 s' '{config: {shutdown: {drain: 60s}}}'
refuse 'config.shutdown takes 120.5 s' '{config: {shutdown: {delay: 500ms, drain: 2m}}, terminationGracePeriodSeconds: 120}'
refuse 'terminationGracePeriodSeconds is 20' '{terminationGracePeriodSeconds: 20}'
refuse minReplicas '{autoscaling: {enabled: true, minReplicas: 9}}'
refuse maxUnavailable '{podDisruptionBudget: {maxUnavailable: 0%}}'
refuse instance '{podLabels: {app.kubernetes.io/instance: another}}'
refuse repository '{image: {repository: "a\nb: c"}}'
refuse className '{ingress: {enabled: true, className: "a\nb: c", hosts: [orders.example]}}'
refuse extraEnv '{extraEnv: [{name: OBO__identity_providers__contoso__credential__secret__value, value: abc}]}'
refuse 'secrets do not belong' '{config: {identity_providers: {contoso: {credential: {secret: {value: 123}}}}}}'
refuse 'begins with a letter' '{fullnameOverride: "123"}'
