"""What `helm lint --strict`, `helm template` and the table of values in the chart's README say:
chart.py lint CHART VALUES | render CHART VALUES OUT | refused CHART VALUES WORD BROKEN | readme CHART. UPDATE_DOCS=1 writes the table."""

import json
import os
import sys

import helm_python as helm
import yaml

BEGIN, END = "<!-- values -->\n", "<!-- end of values -->\n"


def lint(chart, values):
    found = helm.lint(chart, read(values), strict=True, kube_version="v1.33.0")
    for message in found["messages"]:
        print(message["severity"], message["path"], message["error"])
    return not found["errors"]


def render(chart, values, out):
    with open(out, "w", encoding="utf-8") as file:
        file.write(rendered(chart, read(values)))
    return True


def rendered(chart, values):
    with helm.Chart.load(chart) as loaded:
        loaded.validate_schema(values)
        parts = loaded.render(values, name="demo", namespace="shop").items()
        return "".join(f"---\n# {name}\n{text}\n" for name, text in parts if text.strip() and name.endswith(".yaml"))


def refused(chart, values, word, broken):
    """`broken` is laid over values that are fine; `null` in it takes a value away."""
    merged = overlaid(read(values), yaml.safe_load(broken))
    try:
        rendered(chart, merged)
    except helm.HelmError as error:
        print(error)
        return word in str(error)
    print("nothing was refused")
    return False


def overlaid(below, above):
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    merged = {**below, **{key: overlaid(below.get(key), value) for key, value in above.items()}}
    return {key: value for key, value in merged.items() if value is not None}


def readme(chart):
    with open(f"{chart}/values.schema.json", encoding="utf-8") as file:
        schema = json.load(file)
    path = f"{chart}/README.md"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    values = read(f"{chart}/values.yaml")
    rows = "| Value | Default | |\n|---|---|---|\n" + "".join(table(schema, values, ""))
    before, rest = text.split(BEGIN)
    wanted = before + BEGIN + rows + END + rest.split(END)[1]
    if os.environ.get("UPDATE_DOCS") == "1":
        with open(path, "w", encoding="utf-8") as file:
            file.write(wanted)
        return True
    if wanted != text:
        print(f"{path} is not what UPDATE_DOCS=1 would write:\n{rows}")
    return wanted == text


def table(schema, values, prefix):
    """A row for each value; what the schema has and values.yaml has not, or the other way round, is an error."""
    properties = {key: one for key, one in schema["properties"].items() if key != "global"}
    assert set(properties) == set(values), f"{prefix}: schema and values.yaml differ in {set(properties) ^ set(values)}"
    assert schema.get("additionalProperties") is False, f"{prefix} takes whatever is misspelt"
    for key, one in properties.items():
        if "properties" in one:
            yield from table(one, values[key], f"{prefix}{key}.")
        else:
            yield f"| `{prefix}{key}` | `{json.dumps(values[key])}` | {one['description']} |\n"


def read(path):
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file) or {}


if __name__ == "__main__":
    sys.exit(not {"lint": lint, "render": render, "refused": refused, "readme": readme}[sys.argv[1]](*sys.argv[2:]))
