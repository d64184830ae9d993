#!/bin/sh
# Good while connections are accepted and, on a replica, while it streams from its primary.
. "$WRIGHT_PACKAGE/hooks/common.sh"

"$bin/pg_isready" -q -h "$WRIGHT_ADDRESS" -p "$port" -U postgres -t 2 ||
    fail "does not accept connections at $WRIGHT_ADDRESS:$port"
[ "$role" = replica ] || exit 0

PGSERVICEFILE=$service_file
export PGSERVICEFILE
status=$("$bin/psql" -XAt -c 'SELECT status FROM pg_stat_wal_receiver' \
    "service=primary host=$WRIGHT_ADDRESS port=$port dbname=postgres connect_timeout=2") ||
    fail "the replica cannot be asked"
[ "$status" = streaming ] || fail "the replica does not stream from its primary (${status:-no connection})"
