#!/bin/sh
# Sends Redis a command and expects an answer that begins with a text: ask.sh COMMAND ANSWER
set -eu

# The password goes in by a pipe: in the environment or the arguments others could see it.
password=$(sed -n 's/^requirepass  *//p' "$WRIGHT_ETC/redis.conf")
answer=$({
    [ -z "$password" ] || printf 'AUTH %s\n' "$password"
    printf '%s\n' "$1"
} | timeout 4 "$WRIGHT_PACKAGE/usr/bin/redis-cli" -h "$WRIGHT_ADDRESS" -p "$WRIGHT_PORT_REDIS" 2>&1 | tail -n 1)
case $answer in
"$2"*) ;;
*)
    echo "redis: $1: ${answer:-no answer}" >&2
    exit 1
    ;;
esac
