# shellcheck shell=bash
# For parts that render manifests

# holds FILE: the rules
holds() {
    python3 tests/deploy/manifests.py "${binary:?}" "$1"
}
# broken_is_seen FILE: each rule, on a file that breaks it
broken_is_seen() {
    python3 -B tests/deploy/broken_manifests.py "${binary:?}" "$1"
}
# valid FILE: the schemas of the oldest release that has all of it, and of newer ones
valid() {
    local release
    for release in 1.30 1.33 1.37; do
        kubernetes-validate --strict --quiet --no-warn -k "$release" "$1" || return
    done
}
