#!/bin/sh
# Makes what is not there yet, readable by user 65532 alone: a client secret, the password of Redis and its user, a key that seals tokens. And
# lets that user write where Redis keeps them.
set -eu
umask 377

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# make FILE TEXT
make() {
    [ "${#2}" -ge 64 ]
    rm -f "$1.new"
    printf '%s\n' "$2" >"$1.new"
    chown 65532:65532 "$1.new"
    mv "$1.new" "$1"
}

[ -e /run/secrets/client_secret ] || make /run/secrets/client_secret "$(random)"
[ -e /run/secrets/cache_key ] || make /run/secrets/cache_key "$(random)"
if [ ! -e /run/redis/users.acl ]; then
    password=$(random)
    make /run/secrets/redis_password "$password"
    make /run/redis/users.acl "user default off
user obo on >$password ~obo:* resetchannels -@all +getrange +set +del"
fi
chown 65532:65532 /run/tokens
