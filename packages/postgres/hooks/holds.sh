#!/bin/sh
# holds.sh SQL: good if the first database of etc/access (on a replica: the one named postgres)
# answers true. For a baseline's `verify`.
. "$WRIGHT_PACKAGE/hooks/common.sh"

if [ "$role" = primary ]; then
    read -r _ database owner password <<FIRST
$(grep '^database ' "$WRIGHT_ETC/access")
FIRST
    PGPASSWORD=$password
    export PGPASSWORD
    to="host=$WRIGHT_ADDRESS port=$port user=$owner dbname=$database connect_timeout=2"
else
    PGSERVICEFILE=$service_file
    export PGSERVICEFILE
    to="service=primary host=$WRIGHT_ADDRESS port=$port dbname=postgres connect_timeout=2"
fi
answer=$("$bin/psql" -XAt -c "$1" "$to") || fail "cannot be asked"
[ "$answer" = t ] || fail "not true, but \"$answer\": $1"
