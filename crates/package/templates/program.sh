#!/bin/sh
# Serves a page on the port `http`, if the baseline gives it one; replace it with your program.
set -eu

echo "${WRIGHT_INSTANCE:-NAME} on ${WRIGHT_HOST:-this machine} begins"
cd "${WRIGHT_DATA:-.}"

if [ -n "${WRIGHT_PORT_HTTP:-}" ] && command -v python3 >/dev/null; then
    echo "hello from ${WRIGHT_INSTANCE:-NAME}" >index.html
    exec python3 -m http.server --bind "${WRIGHT_ADDRESS:-127.0.0.1}" "$WRIGHT_PORT_HTTP"
fi
exec sleep infinity
