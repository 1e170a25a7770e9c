#!/usr/bin/env bash
# Checks everything under deploy/ and the Dockerfile with the tools that read such files: tests/deploy/run.sh BINARY
# Installs the tools that PyPI has, pinned, into a directory of its own. The last line is `deploy: N passed, N failed`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
# with it Python would leave out every `assert` of the checks
unset PYTHONOPTIMIZE

binary=$(realpath "$1") || exit
export binary # for the parts
tools="${CARGO_TARGET_DIR:-target}/deploy-tools"
if ! cmp -s tests/deploy/requirements.txt "$tools/requirements.txt"; then
    rm -rf "$tools"
    python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --requirement tests/deploy/requirements.txt &&
        cp tests/deploy/requirements.txt "$tools/" || exit
fi
PATH="$(realpath "$tools")/bin:$PATH"

passed=0
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check NAME COMMAND...: one check; what the command says is shown only if it fails
check() {
    local name=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
        echo "ok    $name"
    else
        failed=$((failed + 1))
        echo "FAIL  $name"
        sed 's/^/      /' "$work/output"
    fi
}

for part in tests/deploy/parts/*.sh; do
    # shellcheck source=/dev/null
    source "$part" || check "$part is read to its end" false
done

echo "deploy: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
