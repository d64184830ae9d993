#!/bin/sh
# Makes an empty cluster for a primary. A replica's comes from its primary, when it starts.
. "$WRIGHT_PACKAGE/hooks/common.sh"

[ "$role" = primary ] || exit 0
[ ! -e "$cluster" ] || exit 0

new=$cluster.new
rm -rf "$new"
# The superuser has no password: nobody can sign in as postgres but over the instance's own socket.
named "$bin/initdb" --pgdata="$new" --username=postgres --auth=reject --encoding=UTF8 \
    --locale=C.UTF-8 --no-sync --no-instructions >"$WRIGHT_LOG/initdb.log" 2>&1 ||
    fail "initdb: $(tail -n 1 "$WRIGHT_LOG/initdb.log")"
touch "$new/unused"
take_over "$new"
