# shellcheck shell=bash
# Shell scripts, and every YAML file that is not a template
check "shell scripts" shellcheck --severity=warning --external-sources .ci/run tests/run.sh tests/deploy/run.sh tests/deploy/parts/*.sh tests/supply_chain/*.sh
check "yaml of the examples" yamllint --strict --config-data '{extends: relaxed, rules: {line-length: disable}}' config
