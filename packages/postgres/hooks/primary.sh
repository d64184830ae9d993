# What run.sh does for a primary: the accounts and databases of etc/access.
# shellcheck shell=sh disable=SC2154

prepare() {
    [ -e "$cluster" ] || "$WRIGHT_PACKAGE/hooks/install.sh"
    [ ! -e "$cluster/standby.signal" ] ||
        fail "the data in $cluster is a replica's: promote it there first (pg_promote())"
    [ ! -e "$WRIGHT_ETC/access" ] || set_up "$WRIGHT_ETC/access"
    # From here on it may hold somebody's data.
    [ ! -e "$cluster/unused" ] || { rm "$cluster/unused" && sync "$cluster"; }
}

# Applies an access file, but not twice: that takes as long as a start does.
set_up() {
    wanted=$(sha256sum <"$1")
    [ "$wanted" != "$(cat "$cluster/access.applied" 2>/dev/null)" ] || return 0
    if [ -e "$cluster/unused" ]; then
        # It is brought to the disk as a whole, or else made again.
        new=$cluster.new
        rm -rf "$new"
        mv "$cluster" "$new"
        apply "$1" "$new" off
        echo "$wanted" >"$new/access.applied"
        rm "$new/unused"
        take_over "$new"
    else
        apply "$1" "$cluster" on
        echo "$wanted" >"$cluster/access.applied"
    fi
}

# apply ACCESS CLUSTER FSYNC, in the single-user mode, so before anybody can connect.
apply() {
    statements=$WRIGHT_RUN/access.sql
    statements_of "$1" >"$statements"
    # Neither statements nor what led to an error are logged: passwords are in them.
    named "$bin/postgres" --single -D "$2" -c log_min_error_statement=panic \
        -c log_checkpoints=off -c fsync="$3" postgres <"$statements" >"$WRIGHT_RUN/access.log" 2>&1 || :
    rm -f "$statements"
    # There are no conditional forms of CREATE ROLE and CREATE DATABASE.
    refused=$(grep -E '(ERROR|FATAL|PANIC): ' "$WRIGHT_RUN/access.log" | grep -v ' already exists$' || :)
    [ -z "$refused" ] || fail "$1: $(echo "$refused" | head -n 1)"
    grep -q '^backend>' "$WRIGHT_RUN/access.log" ||
        fail "$1: $(tail -n 1 "$WRIGHT_RUN/access.log")"
}

# The lines of an access file as SQL, one statement a line.
statements_of() {
    number=0
    while read -r what name owner password more || [ -n "$what" ]; do
        number=$((number + 1))
        [ "$what" != replication ] || { more=$password password=$owner owner=$name; }
        case $what in
        '' | '#'*) continue ;;
        database | replication) ;;
        *) fail "$1, line $number: \"$what\" is neither database nor replication" ;;
        esac
        case $name$owner in
        '' | *[!a-z0-9_]*) fail "$1, line $number: names are made of a-z, 0-9 and _" ;;
        esac
        case $password$more in
        '' | *[!A-Za-z0-9._~-]*) fail "$1, line $number: the password must be one word of letters, digits, . _ ~ and -" ;;
        esac
        echo "CREATE ROLE \"$owner\""
        if [ "$what" = database ]; then
            echo "ALTER ROLE \"$owner\" LOGIN PASSWORD '$password'"
            echo "CREATE DATABASE \"$name\" OWNER \"$owner\""
            echo "ALTER DATABASE \"$name\" OWNER TO \"$owner\""
        else
            # pg_monitor lets it see whether it streams.
            echo "ALTER ROLE \"$owner\" LOGIN REPLICATION PASSWORD '$password'"
            echo "GRANT pg_monitor TO \"$owner\""
        fi
    done <"$1"
}
