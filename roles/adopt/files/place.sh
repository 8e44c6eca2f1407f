#!/bin/sh
# Bring the data directory FROM to TO: by its name on the same file system, else by a copy that gets its name when whole.
# usage: place.sh FROM TO
set -eu
from=$1 to=$2
parent=$(dirname "$to")
install -d -o postgres -g postgres -m 0700 "$parent"
rmdir "$to" 2>/dev/null || true
if [ "$(stat -c %d "$from")" = "$(stat -c %d "$parent")" ]; then
    mv -T "$from" "$to"
else
    rm -rf "$to.copying"
    cp -a -T "$from" "$to.copying"
    sync -f "$parent"
    mv -T "$to.copying" "$to"
fi
sync -f "$parent"
