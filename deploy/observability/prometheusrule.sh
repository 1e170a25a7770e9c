#!/bin/sh
# Prints alerts.yaml as a resource for the Prometheus Operator: sh prometheusrule.sh | kubectl apply -f -
set -eu
cat <<'END'
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: obo-proxy
  labels: { app.kubernetes.io/name: obo-proxy }
spec:
END
sed 's/^\(.\)/  \1/' "$(dirname "$0")/alerts.yaml"
