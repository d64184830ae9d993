#!/bin/sh
# A server that was killed leaves a piece of System V shared memory, which it notes in line 7.
. "$WRIGHT_PACKAGE/hooks/common.sh"

[ -e "$cluster/postmaster.pid" ] || exit 0
segment=$(sed -n '7s/.* //p' "$cluster/postmaster.pid")
[ -z "$segment" ] || ipcrm --shmem-id "$segment" 2>/dev/null || :
