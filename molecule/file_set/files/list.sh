#!/bin/sh
# Everything in FOLDER: name, kind, owner, mode, link; then what the files hold.
# usage: list.sh FOLDER
cd "$1" || exit 2
find . -mindepth 1 -printf '%P %y %u %g %m %l\n' | sed 's/ $//' | LC_ALL=C sort
sha256sum plain secret kept script
