# shellcheck shell=bash
# Alerts and the dashboard: read by promtool, held against the registry, and against a real Prometheus that scrapes a proxy
: "${binary:?is given by run.sh}"
observability=tests/deploy/observability.py
check "alerts are read" promtool check rules deploy/observability/alerts.yaml
check "the configuration of a Prometheus is read" promtool check config deploy/observability/prometheus.yaml
check "alerts fire when they should and are silent when they should" promtool test rules deploy/observability/alerts.test.yaml
check "every alert is tried both ways and has a runbook" python3 "$observability" cases
check "every expression of the dashboard is read" python3 "$observability" expressions
check "alerts and dashboard name what there is" python3 "$observability" words
check "the operator's rules are the same" python3 "$observability" operator
check "a Prometheus answers every panel and evaluates every alert" python3 "$observability" scrape "$binary"
check "yaml of alerts" yamllint --strict --config-data '{extends: relaxed, rules: {line-length: disable}}' deploy/observability deploy/systemd
check "script of the operator's rules" shellcheck deploy/observability/prometheusrule.sh
