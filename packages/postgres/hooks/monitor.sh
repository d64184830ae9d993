#!/bin/sh
# Good while connections are accepted and, on a replica, while it streams from its primary.
. "$WRIGHT_PACKAGE/hooks/common.sh"

# In place of this shell: it is asked for as long as the server lives.
[ "$role" = replica ] || exec "$bin/pg_isready" -h "$WRIGHT_ADDRESS" -p "$port" -U postgres -t 2

PGSERVICEFILE=$service_file
export PGSERVICEFILE
status=$("$bin/psql" -XAt -c 'SELECT status FROM pg_stat_wal_receiver' \
    "service=primary host=$WRIGHT_ADDRESS port=$port dbname=postgres connect_timeout=2") ||
    fail "the replica cannot be asked"
[ "$status" = streaming ] || fail "the replica does not stream from its primary (${status:-no connection})"
