#!/usr/bin/env bash
# Runs every test, on a Debian machine that has Rust; installs by package name what is missing, as root or with sudo.
# With --interop those of tests/interop too, which need npm and packages from its registry; with --deploy those of tests/deploy, which
# need Python and packages from PyPI; with --supply-chain those of tests/supply_chain, which build a tool of crates.io. With --fuzz each
# target of tests/fuzz for a minute, with --fuzz=SECONDS for so long.
# With --soak a proxy is called for a minute while everything around it goes wrong in turn, with --soak=SECONDS for so long.
# The last line is `N passed, N failed`, over all of them; the exit status is 0 only if none failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

interop=no
deploy=no
fuzz=0
soak=0
supply_chain=no
for argument in "$@"; do
    case "$argument" in
        --interop) interop=yes ;;
        --deploy) deploy=yes ;;
        --supply-chain) supply_chain=yes ;;
        --fuzz) fuzz=60 ;;
        --fuzz=[1-9]*) fuzz=${argument#*=} ;;
        --soak) soak=60 ;;
        --soak=[6-9][0-9] | --soak=[1-9][0-9][0-9]*) soak=${argument#*=} ;;
        *)
            echo "usage: tests/run.sh [--interop] [--deploy] [--supply-chain] [--fuzz[=SECONDS]] [--soak[=SECONDS]]; a soak takes 60 seconds or more" >&2
            exit 2
            ;;
    esac
done

if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
fi

# aws-lc is C: it wants a compiler and make; some tests speak TLS with the system's roots, or run the README's curls
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
command -v curl >/dev/null || missing+=(curl)
# proxies share a cache through servers that the tests start themselves; the one that the package may start is left alone
command -v redis-server >/dev/null || missing+=(redis-server)
# a forward proxy on the way to the identity provider; here too, only those that the tests start are spoken to
command -v tinyproxy >/dev/null || missing+=(tinyproxy)
# changes the clock of a proxy
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(libfaketime)
# starts one with few descriptors
command -v prlimit >/dev/null || missing+=(util-linux)
# what is said of certificates is compared with what openssl says
command -v openssl >/dev/null || missing+=(openssl)
[ -s /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
if [ "$interop" = yes ]; then
    command -v npm >/dev/null || missing+=(nodejs npm)
    command -v chromium >/dev/null || missing+=(chromium)
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    # for promtool, which reads what /metrics says
    command -v promtool >/dev/null || missing+=(prometheus)
fi
if [ "$deploy" = yes ]; then
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    # the image is built, and run without an engine
    command -v buildah >/dev/null || missing+=(buildah)
    # promtool reads the alerts, and Prometheus scrapes a proxy
    command -v prometheus >/dev/null || missing+=(prometheus)
    # reads the unit; what the unit says of system calls is laid upon a proxy; a worker is made to hang
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    /usr/bin/python3 -c 'import seccomp' 2>/dev/null || missing+=(python3 python3-seccomp)
    command -v strace >/dev/null || missing+=(strace)
fi
if [ "$fuzz" != 0 ]; then
    # libFuzzer is C++
    command -v c++ >/dev/null || missing+=(g++)
fi
if [ "${#missing[@]}" -gt 0 ]; then
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

export CARGO_TERM_COLOR=never # the summaries are read below
export RUST_BACKTRACE=0       # what a test says when it fails is worth more than where it was called
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0
failed=0

# run COMMAND...: runs some of the tests and adds what nextest, libtest or a run.sh of ours says of them to the sums
run() {
    local status=0 good bad
    "$@" 2>&1 | tee "$log" || status=$?
    read -r good bad < <(awk '
        / tests? run: / {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^tests?$/) run += $(i - 1)
                if ($i ~ /^passed/) good += $(i - 1)
            }
        }
        /^test result: / {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) { good += $(i - 1); run += $(i - 1) }
                if ($i ~ /^failed/) run += $(i - 1)
            }
        }
        /^(interop|deploy|supply-chain|fuzz|soak): [0-9]+ passed, [0-9]+ failed$/ { good += $2; run += $2 + $4 }
        END { print good + 0, run - good }' "$log")
    # what broke before a test could fail, such as a build, counts as a failure too
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
}

if cargo nextest --version >/dev/null 2>&1; then
    run cargo nextest run --locked --no-fail-fast
    run cargo test --locked --doc
else
    run cargo test --locked --no-fail-fast
fi

# its packages bring the Node.js they want: the system's may be older
node() {
    local brought=(tests/interop/node_modules/node-linux-*/bin/node)
    "${brought[0]}" "$@"
}
interop() {
    cargo build --locked &&
        (cd tests/interop && npm ci) &&
        node tests/interop/run.mjs "${CARGO_TARGET_DIR:-target}/debug/obo-proxy"
}
# the status page in a browser
status_page() {
    node tests/interop/page.mjs "${CARGO_TARGET_DIR:-target}/debug/obo-proxy"
}
if [ "$interop" = yes ]; then
    run cargo test --locked --test it -- --ignored
    run interop
    run status_page
fi
if [ "$deploy" = yes ]; then
    cargo build --locked
    run bash tests/deploy/run.sh "${CARGO_TARGET_DIR:-target}/debug/obo-proxy"
fi
if [ "$supply_chain" = yes ]; then
    run bash tests/supply_chain/run.sh
fi
if [ "$fuzz" != 0 ]; then
    run bash tests/fuzz/run.sh "$fuzz"
fi
if [ "$soak" != 0 ]; then
    run cargo test --locked --test soak -- "$soak"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
