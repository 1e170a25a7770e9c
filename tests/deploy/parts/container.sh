# shellcheck shell=bash
# The system calls that a container with the proxy may use: laid upon a proxy that works, and tried with what no proxy does
: "${binary:?is given by run.sh}"

check "the proxy needs no system call that the container's profile refuses" /usr/bin/python3 tests/deploy/container.py works "$binary"
check "the container's profile refuses what no proxy does" /usr/bin/python3 tests/deploy/container.py refuses "$binary"
