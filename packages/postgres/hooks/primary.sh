# What run.sh does for a primary: the accounts and databases of etc/access.
# shellcheck shell=sh disable=SC2154

prepare() {
    [ -e "$cluster" ] || "$WRIGHT_PACKAGE/hooks/install.sh"
    [ ! -e "$cluster/standby.signal" ] ||
        fail "the data in $cluster is a replica's: promote it there first (pg_promote())"
    access=$WRIGHT_ETC/access
    [ -e "$access" ] || return 0
    # Only when they changed: it takes as long as a start does.
    applied=$cluster/access.applied
    wanted=$(sha256sum <"$access")
    [ "$wanted" != "$(cat "$applied" 2>/dev/null)" ] || return 0
    apply "$access"
    echo "$wanted" >"$applied"
}

# Runs them in the single-user mode, so before anybody can connect.
apply() {
    statements=$WRIGHT_RUN/access.sql
    statements_of "$1" >"$statements"
    # Neither statements nor what led to an error are logged: passwords are in them.
    named "$bin/postgres" --single -D "$cluster" -c log_min_error_statement=panic \
        -c log_checkpoints=off postgres <"$statements" >"$WRIGHT_RUN/access.log" 2>&1 || :
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
