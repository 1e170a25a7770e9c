# shellcheck shell=bash
# The unit: read by systemd, judged by it, and what it says of system calls laid upon a proxy that works
: "${binary:?is given by run.sh}" "${work:?}"

# as systemd reads the unit, with this binary, and before version 253 with the file that it then needs; nothing may be said
unit_is_read() {
    local version units="$work/units" said
    version=$(systemctl --version | awk 'NR == 1 { print $2 }')
    mkdir -p "$units/obo-proxy.service.d"
    sed "s,^ExecStart=/usr/local/bin/obo-proxy ,ExecStart=$binary ," deploy/systemd/obo-proxy.service >"$units/obo-proxy.service"
    [ "$version" -ge 253 ] || cp deploy/systemd/before-253.conf "$units/obo-proxy.service.d/"
    said=$(SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify obo-proxy.service 2>&1) || { echo "$said" && return 1; }
    if [ "$version" -lt 253 ]; then
        said=$(grep -v 'Failed to parse service type, ignoring: notify-reload$' <<<"$said")
    fi
    echo "$said"
    [ -z "$said" ]
}

check "the unit is read" unit_is_read
# 1.2, of which most is that it speaks to the network
check "the unit is locked in" systemd-analyze security --offline=true --threshold=15 deploy/systemd/obo-proxy.service
check "the unit's configuration" "$binary" check --config deploy/systemd/config.yaml
check "the proxy needs no system call that the unit refuses" python3 tests/deploy/service.py confined "$binary"
check "one hung worker is enough for the watchdog" python3 tests/deploy/service.py watchdog "$binary"
