# shellcheck shell=bash
# What is written in the compose files; image.sh starts one of them, for which it takes the image
check "compose: schema" check-jsonschema --builtin-schema vendor.compose-spec deploy/compose/*/compose.yaml
check "compose: yaml" yamllint --strict --config-data '{extends: relaxed, rules: {line-length: disable}}' deploy/compose
check "compose: scripts" shellcheck deploy/compose/*/make/*.sh tests/deploy/cargo.sh
for project in deploy/compose/*/; do
    check "compose: $(basename "$project") is confined and pinned" python3 tests/deploy/compose.py written "$(basename "$project")"
done
check "compose: Keycloak's realm fits the proxy" python3 tests/deploy/compose.py realm
