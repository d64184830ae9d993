#!/bin/sh
# Brings the cluster to what etc asks for, then becomes the server.
. "$WRIGHT_PACKAGE/hooks/common.sh"
. "$WRIGHT_PACKAGE/hooks/$role.sh"

# The site's own file, or else the package's.
settings() {
    if [ -e "$WRIGHT_ETC/$1" ]; then echo "$WRIGHT_ETC/$1"; else echo "$WRIGHT_PACKAGE/share/$1"; fi
}

# A socket's path has at most 107 bytes. Where the instance's is longer there is none.
sockets=$WRIGHT_RUN
length=$(printf %s "$sockets/.s.PGSQL.$port" | wc -c)
[ "$length" -le 107 ] || sockets=

prepare
exec "$bin/postgres" -D "$cluster" -p "$port" \
    -c "config_file=$(settings postgresql.conf)" \
    -c "hba_file=$(settings pg_hba.conf)" \
    -c "listen_addresses=$WRIGHT_ADDRESS" \
    -c "unix_socket_directories=$sockets" \
    -c "cluster_name=$WRIGHT_INSTANCE" \
    -c "primary_conninfo=${primary_conninfo:-}"
