"""Looks at the image: image.py settings INSPECTED | files ROOT | dependencies ROOT | check ROOT | demo ROOT. The last two need namespaces of
their own."""

import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import tempfile
import zlib

import pod

BINARY = "/usr/local/bin/obo-proxy"


def settings(inspected):
    """What the image says of itself, as `buildah inspect` prints it."""
    image = json.loads(pathlib.Path(inspected).read_text())["Docker"]
    config = image["config"]
    expected = {
        "User": "65532:65532",
        "Entrypoint": [BINARY],
        "Cmd": ["run"],
        "StopSignal": "SIGTERM",
        "ExposedPorts": {"8080/tcp": {}, "9902/tcp": {}},
    }
    for name, value in expected.items():
        assert config[name] == value, f"{name}: {config[name]}"
    assert config["Healthcheck"]["Test"] == ["CMD", BINARY, "health"], config["Healthcheck"]
    version = re.search(r'^version = "(.+)"$', pathlib.Path("Cargo.toml").read_text(), re.M)[1]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    wanted = {"title": "obo-proxy", "licenses": "Apache-2.0", "version": version, "revision": "0123456789abcdef"}
    assert wanted.items() <= labels.items(), labels
    assert all(labels.get(name) for name in ["description", "created", "base.name"]), labels
    dockerfile = pathlib.Path("Dockerfile").read_text()
    for name in ["BUILD_IMAGE", "RUNTIME_IMAGE"]:
        assert re.search(rf"^ARG {name}=\S+:\S+@sha256:[0-9a-f]{{64}}$", dockerfile, re.M), f"{name} has no digest"


def files(root):
    """What is in the image: one program of ours, and nothing that could become something else."""
    root = pathlib.Path(root)
    total, programs = 0, []
    for path in root.rglob("*"):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            continue
        total += status.st_size
        assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID), f"{path} is setuid or setgid"
        if status.st_mode & 0o111 and ".so" not in path.name:
            programs.append("/" + str(path.relative_to(root)))
    assert programs == [BINARY], programs
    ours = (root / BINARY[1:]).stat()
    assert ours.st_uid == 0 and not ours.st_mode & 0o022, "others may write to the program"
    print(f"size: {total / 1e6:.1f} MB, of which the program is {ours.st_size / 1e6:.1f} MB")


def dependencies(root):
    """The program says what it was made of, each at the version of the lock file, and where it was built is not in it."""
    program = pathlib.Path(root, BINARY[1:])
    with tempfile.NamedTemporaryFile() as section:
        subprocess.run(["objcopy", f"--dump-section=.dep-v0={section.name}", str(program), "/dev/null"], check=True)
        packages = json.loads(zlib.decompress(section.read()))["packages"]
    locked = set(re.findall(r'^name = "(.+)"\nversion = "(.+)"$', pathlib.Path("Cargo.lock").read_text(), re.M))
    listed = {(package["name"], package["version"]) for package in packages}
    assert len(listed) > 100 and listed <= locked, listed - locked
    told = re.findall(rb"(?<![\w.-])/(?:build|root|usr/local/cargo)/[ -~]*", program.read_bytes())
    assert not told, told
    print(f"{len(listed)} dependencies")


def check(root):
    """Every configuration that is shipped complete passes `check` in the image."""
    here = os.getcwd()
    container = pod.Container(root, [BINARY, "schema"], {"/etc/obo-proxy": (here, False)})
    assert container.process.wait(pod.PATIENCE) == 0, container.said()
    shipped = ["config/minimal.yaml", *map(str, sorted(pathlib.Path("deploy/compose").glob("*/etc/*.yaml")))]
    assert len(shipped) == 4, shipped
    for name in shipped:
        code, said = container.run([BINARY, "check", "--config", f"/etc/obo-proxy/{name}"])
        assert code == 0, f"{name}: {code}\n{said}"
    code, said = container.run([BINARY, "check", "--config", "/etc/obo-proxy/Cargo.toml"])
    assert code == 78, f"a file that is no configuration: {code}\n{said}"


def demo(root):
    """The demo in the image, confined: it serves, is healthy, and ends with 0."""
    container = pod.Container(root, [BINARY, "demo", "--json"])
    # beside what it logs
    addresses = pod.until(
        "the demo serves", lambda: next((line for line in container.said().splitlines() if '"proxy"' in line), None)
    )
    assert json.loads(addresses)["proxy"] == "127.0.0.1:8080", addresses
    status = container.status()
    assert status["Uid"].split() == ["65532"] * 4 and status["Gid"].split() == ["65532"] * 4, status["Uid"]
    for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
        assert int(status[kind], 16) == 0, f"{kind}: {status[kind]}"
    assert int(status["NoNewPrivs"]) == 1
    roots = [line.split() for line in open(f"/proc/{container.process.pid}/mountinfo")]
    assert [fields[5].split(",")[0] for fields in roots if fields[4] == "/"] == ["ro"], roots
    pod.try_the_readme()
    code, said = container.run([BINARY, "health", "--address", "127.0.0.1:9902"])
    assert code == 0, said
    code, said = container.run([BINARY, "health", "--address", "127.0.0.1:9"])
    assert code == 1, said
    code = container.stop()
    assert code == 0, f"SIGTERM: {code}\n{container.said()}"


if __name__ == "__main__":
    command, argument = sys.argv[1:]
    if command in ("check", "demo"):
        pod.begin()
    {
        "settings": settings,
        "files": files,
        "dependencies": dependencies,
        "check": check,
        "demo": demo,
    }[command](argument)
