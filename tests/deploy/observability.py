"""Alerts and dashboard against what the proxy says: observability.py cases|words|expressions|operator|scrape [BINARY]"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse

import yaml

from stage import Stage, get, until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
DEPLOY = f"{ROOT}/deploy/observability"
# What Prometheus puts on everything it scrapes, and what histograms have.
TARGET = {"job", "instance", "namespace", "le"}
# What stands for metrics of others.
SUFFIXES = ("_bucket", "_count", "_sum")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def alerts():
    groups = yaml.safe_load(read(f"{DEPLOY}/alerts.yaml"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    """The expressions of the dashboard, by panel and letter."""
    panels = json.loads(read(f"{DEPLOY}/dashboard.json"))["panels"]
    targets = {f"{one['title']} {target['refId']}": target["expr"] for one in panels for target in one.get("targets", [])}
    assert len(targets) > 30, targets.keys()
    return targets


def filled(expression, rate="10s"):
    """An expression as Grafana sends it, of all proxies."""
    for variable, value in (("$job", ".*"), ("$instance", ".*"), ("$__rate_interval", rate)):
        expression = expression.replace(variable, value)
    assert "$" not in re.sub(r'"[^"]*"', "", expression), expression
    return expression


def cases():
    """Each alert fires in one case and not in another, and says what a person needs who is woken by it."""
    tests = yaml.safe_load(read(f"{DEPLOY}/alerts.test.yaml"))["tests"]
    tried = [one for test in tests for one in test["alert_rule_test"]]
    anchors = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
               for title in re.findall(r"^#+ (.*)$", read(f"{ROOT}/docs/troubleshooting.md"), re.M)}
    for rule in alerts():
        name, of_it = rule["alert"], [one for one in tried if one["alertname"] == rule["alert"]]
        assert any(one["exp_alerts"] for one in of_it), f"{name} fires in no case"
        assert any(not one["exp_alerts"] for one in of_it), f"{name} is silent in no case"
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, name
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/troubleshooting.md" and anchor == name.lower() and anchor in anchors, name


def known():
    """Metrics with their labels, each with the words it can be if they are few: from the page that the program makes."""
    metrics = {}
    reasons = set(re.findall(r"`([a-z_]+)`", read(f"{ROOT}/README.md").split("## What callers see")[1].split("\n## ")[0]))
    for section in read(f"{ROOT}/docs/metrics.md").split("\n## ")[1:]:
        name = re.match(r"`(\w+)`", section)[1]
        labels = {}
        for label, text in re.findall(r"^\* `(\w+)`: (.*)$", section, re.M):
            words = set(re.findall(r"`([\w]+)`", text))
            if "#what-callers-see" in text:
                words |= reasons
            labels[label] = words if words and "name under" not in text and "_OTHER" not in words else None
        metrics[name] = labels
    assert len(metrics) > 20 and {"reason", "route"} == metrics["obo_refusals_total"].keys(), metrics
    return metrics


def words():
    """Every metric, every label and every value of one that a rule or a panel names is one that there is."""
    metrics = known()
    for place, expression in [*dashboard().items(), *((rule["alert"], rule["expr"]) for rule in alerts())]:
        expression = filled(expression)
        named = selectors(expression)
        assert named, f"{place}: there is no metric in {expression}"
        labels_of_all = set(TARGET)
        for name, matchers in named:
            base = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
            base = name if name in metrics else base
            assert base in metrics, f"{place}: there is no metric {name}"
            labels_of_all |= metrics[base].keys()
            for label, operator, value in re.findall(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"", matchers):
                if label in TARGET:
                    continue
                assert label in metrics[base], f"{place}: {name} has no label {label}"
                can_be = metrics[base][label]
                for wanted in value.split("|") if can_be else []:
                    assert any(re.fullmatch(wanted, word) for word in can_be), f"{place}: {label} is never {wanted}"
        for listed in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
            for label in re.split(r"\s*,\s*", listed.strip()):
                assert label in labels_of_all, f"{place}: nothing there has the label {label}"


def selectors(expression):
    """The metrics of an expression, each with what is demanded of its labels."""
    # lists of labels, and the arguments of label_replace behind the first, name no metrics
    left = re.sub(r"\b(?:by|on)\s*\([^)]*\)", "", expression)
    left = re.sub(r"(label_replace\(.*?\]\)),[^)]*\(\.\*\)\"\s*\)", r"\1)", left, flags=re.S)
    return re.findall(r"\b((?:obo|http|process)_\w+)\b(?!\s*(?:=~|!~|!=|=)\s*\")(?:\{([^}]*)\})?", left)


def expressions():
    """promtool reads every expression of the dashboard, and the dashboard is what its program prints."""
    printed = subprocess.run([sys.executable, f"{DEPLOY}/dashboard.py"], check=True, capture_output=True, text=True).stdout
    assert printed == read(f"{DEPLOY}/dashboard.json"), "stale: python3 dashboard.py > dashboard.json"
    rules = [{"record": f"panel:{number}", "expr": filled(one)} for number, one in enumerate(dashboard().values())]
    given = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    subprocess.run(["promtool", "check", "rules", "/dev/stdin"], input=given, text=True, check=True)


def operator():
    """What the operator of Kubernetes is given is what Prometheus is given, with labels and links where they are asked for."""

    def printed(*arguments):
        command = ["sh", f"{DEPLOY}/prometheusrule.sh", *arguments]
        return yaml.safe_load(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    resource = printed()
    assert (resource["apiVersion"], resource["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule"), resource
    assert resource["spec"] == yaml.safe_load(read(f"{DEPLOY}/alerts.yaml"))
    served = "https://git.example/obo-proxy/"
    other = printed("-u", served, "-l", "release=stack", "-l", "example.com/scraped=true")
    added = {"release": "stack", "example.com/scraped": "true"}
    assert other["metadata"]["labels"] == {**resource["metadata"]["labels"], **added}, other["metadata"]
    for group in resource["spec"]["groups"]:
        for rule in group["rules"]:
            rule["annotations"]["runbook_url"] = served + rule["annotations"].pop("runbook")
    assert other["spec"] == resource["spec"]


class Prometheus:
    """One that scrapes a stage every second and evaluates the alerts."""

    def __init__(self, stage):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        targets = [stage.addresses["telemetry"], stage.telemetry]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [os.path.realpath(f"{DEPLOY}/alerts.yaml")],
            "scrape_configs": [{"job_name": "obo-proxy", "static_configs": [{"targets": targets}]}],
        }
        with open(f"{stage.directory}/prometheus.yaml", "w", encoding="utf-8") as file:
            yaml.safe_dump(config, file)
        with open(f"{stage.directory}/prometheus.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={stage.directory}/prometheus.yaml",
                 f"--storage.tsdb.path={stage.directory}/data", f"--web.listen-address={self.address}"],
                stderr=log,
            )
        stage.running.append(self.process)
        until("Prometheus is ready", self.is_ready)

    def is_ready(self):
        try:
            return get(f"http://{self.address}/-/ready")[0] == 200
        except OSError:
            return False

    def api(self, path):
        status, text = get(f"http://{self.address}/api/v1/{path}")
        assert status == 200, f"{path}: {text}"
        return json.loads(text)["data"]

    def query(self, expression):
        """What there is of it now, without numbers that are none."""
        found = self.api("query?query=" + urllib.parse.quote(expression))["result"]
        return [one for one in found if one["value"][1] != "NaN"]


def scrape(binary):
    """A real Prometheus has something to say to every panel, and no alert fails to be evaluated."""
    with Stage(binary) as stage:
        prometheus = Prometheus(stage)
        missing = dashboard()
        end = time.monotonic() + 60
        while missing and time.monotonic() < end:
            stage.traffic()
            # a token that leaves early
            stage.purge()
            missing = {place: one for place, one in missing.items() if not prometheus.query(filled(one))}
        assert not missing, f"nothing is seen of: {missing}"
        down = [one for one in prometheus.query("up") if one["value"][1] != "1"]
        assert not down, down
        for rule in alerts():
            for name, _ in selectors(rule["expr"]):
                assert prometheus.query(f"count({name})"), f"{rule['alert']}: nothing says {name}"
        evaluated = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
        assert len(evaluated) == len(alerts())
        sick = {rule["name"]: rule.get("lastError") for rule in evaluated if rule["health"] != "ok"}
        assert not sick, sick
        # those that need no time
        firing = {one["labels"]["alertname"] for one in prometheus.api("alerts")["alerts"] if one["state"] == "firing"}
        assert not firing, firing


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
