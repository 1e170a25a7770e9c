#!/bin/sh
# Makes what is not there yet: the proxy's client secret, for the proxy (65532) and for Keycloak (1000), and Alice's password.
set -eu
umask 377

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# make FILE OWNER TEXT
make() {
    [ "${#3}" -ge 64 ]
    rm -f "$1.new"
    printf '%s\n' "$3" >"$1.new"
    chown "$2" "$1.new"
    mv "$1.new" "$1"
}

[ -e /run/keycloak/alice_password ] || make /run/keycloak/alice_password 1000:0 "$(random)"
if [ ! -e /run/keycloak/client_secret ]; then
    secret=$(random)
    make /run/secrets/client_secret 65532:65532 "$secret"
    make /run/keycloak/client_secret 1000:0 "$secret"
fi
