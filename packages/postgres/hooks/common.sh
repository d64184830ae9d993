# Read by the other hooks. POSTGRES_ROLE comes from the baseline's `env`.
# shellcheck shell=sh disable=SC2034
set -eu
umask 077

fail() {
    echo "postgres: $*" >&2
    exit 1
}

role=${POSTGRES_ROLE:-primary}
case $role in
primary | replica) ;;
*) fail "POSTGRES_ROLE is \"$role\"; primary or replica was expected" ;;
esac

port=${WRIGHT_PORT_POSTGRES:?the baseline gives no port named postgres}
cluster=$WRIGHT_DATA/cluster
# How a replica reaches its primary, in libpq's own format.
service_file=$WRIGHT_ETC/primary.conf

for bin in "$WRIGHT_PACKAGE"/usr/lib/postgresql/*/bin; do :; done
[ -x "$bin/postgres" ] || fail "the package holds no server"

# Runs a program that wants to know its user's name: the instance's user has none.
named() {
    echo "postgres:x:$(id -u):$(id -g)::$WRIGHT_HOME:/bin/sh" >"$WRIGHT_RUN/passwd"
    echo "postgres:x:$(id -g):" >"$WRIGHT_RUN/group"
    env LD_PRELOAD="$WRIGHT_PACKAGE/lib/libnss_wrapper.so" \
        NSS_WRAPPER_PASSWD="$WRIGHT_RUN/passwd" NSS_WRAPPER_GROUP="$WRIGHT_RUN/group" "$@"
}

# Makes what was prepared beside it the cluster: all of it is on disk before it has the name. One
# call for a thousand files takes a tenth of the time of one call each.
take_over() {
    sync --file-system "$1"
    mv "$1" "$cluster"
    sync "$WRIGHT_DATA"
}
