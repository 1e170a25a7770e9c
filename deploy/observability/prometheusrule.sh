#!/bin/sh
# Prints alerts.yaml as a resource for the Prometheus Operator:
#   sh prometheusrule.sh [-u URL] [-l LABEL=VALUE]... | kubectl apply -n monitoring -f -
# -u URL          where this repository is served, with a slash at its end: runbooks become links
# -l LABEL=VALUE  a label by which your Prometheus selects rules
set -eu
url='' labels=''
while getopts u:l: option; do
    case "$option" in
        u) url=$OPTARG ;;
        l) labels="$labels, ${OPTARG%%=*}: \"${OPTARG#*=}\"" ;;
        *) exit 2 ;;
    esac
done
cat <<END_OF_HEAD
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: obo-proxy
  labels: { app.kubernetes.io/name: obo-proxy$labels }
spec:
END_OF_HEAD
sed -e 's/^\(.\)/  \1/' ${url:+-e "s,^\( *runbook\): ,\1_url: $url,"} "$(dirname "$0")/alerts.yaml"
