# What run.sh does for a replica: a copy of the primary that etc/primary.conf leads to.
# shellcheck shell=sh disable=SC2034,SC2154

prepare() {
    [ -r "$service_file" ] || fail "a replica needs $service_file, which says where its primary is"
    export PGSERVICEFILE="$service_file"
    # The password stays in that file: it is read again for every connection.
    primary_conninfo='service=primary'
    set_aside_another_primarys
    [ -e "$cluster" ] || copy
    touch "$cluster/standby.signal"
}

# A copy of another primary cannot stream from this one. It may be the last of its data, so it is kept.
set_aside_another_primarys() {
    [ -e "$cluster" ] || return 0
    here=$("$bin/pg_controldata" "$cluster" | sed -n 's/^Database system identifier: *//p')
    [ -n "$here" ] || fail "it cannot be seen whose data is in $cluster"
    # A primary that is away is no reason not to serve what is here.
    there=$("$bin/psql" -XAt -c IDENTIFY_SYSTEM \
        'service=primary replication=true connect_timeout=2' 2>/dev/null | cut -d '|' -f 1) || return 0
    [ -n "$there" ] && [ "$there" != "$here" ] || return 0
    aside=$cluster.of-$here
    rm -rf "$aside"
    mv "$cluster" "$aside"
    echo "postgres: the data here was of another primary, it is now in $aside" >&2
}

copy() {
    new=$cluster.new
    rm -rf "$new"
    "$bin/pg_basebackup" --dbname='service=primary connect_timeout=5' --pgdata="$new" \
        --checkpoint=fast --wal-method=stream --no-sync ||
        fail "the primary could not be copied"
    rm -f "$new/access.applied"
    take_over "$new"
}
