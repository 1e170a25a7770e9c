#!/usr/bin/env bash
# What others wrote of what we run: licenses, sources, bans and known faults of every crate, of the proxy and of tests/fuzz, by deny.toml.
# Installs cargo-deny, pinned, into target/supply-chain-tools, unless it is there in this version.
# The last line is `supply-chain: N passed, N failed`; what could not be checked is said in a line of its own and is not counted.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit

tools="${CARGO_TARGET_DIR:-target}/supply-chain-tools"
mkdir -p "$tools" && PATH="$(realpath "$tools")/bin:$PATH" || exit
passed=0
failed=0

# check NAME COMMAND...: what the command says is shown only if it fails
check() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok    $name"
    else
        failed=$((failed + 1))
        echo "FAIL  $name"
        sed 's/^/      /' <<<"$said"
    fi
}

# deny MANIFEST WHICH...
deny() {
    local manifest=$1
    shift
    cargo-deny --log-level error --locked --manifest-path "$manifest" --config deny.toml check --hide-inclusion-graph "$@"
}

declare -A manifests=([proxy]=Cargo.toml [fuzz]=tests/fuzz/Cargo.toml)
# that it is there is nothing to count, that it is not is
version=0.20.2
[ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $version" ] ||
    cargo install --quiet --locked --root "$tools" "cargo-deny@$version" || check "cargo-deny is installed" false
for name in "${!manifests[@]}"; do
    for which in bans licenses sources; do
        check "$which ($name)" deny "${manifests[$name]}" "$which"
    done
done
# the list of known faults is on GitHub, and not everybody gets there
if said=$(cargo-deny --config deny.toml fetch db 2>&1); then
    for name in "${!manifests[@]}"; do
        check "no known fault ($name)" deny "${manifests[$name]}" advisories
    done
elif ! grep -q 'failed to fetch advisory database' <<<"$said"; then
    check "the list of known faults is fetched" eval 'echo "$said"; false'
else
    echo "skip  known faults were NOT checked: the list (RustSec's advisory-db on github.com) cannot be fetched from here"
    tail -n 2 <<<"$said" | sed 's/^/      /'
fi

echo "supply-chain: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
