#!/bin/sh
# launch.sh CGROUP LOOP FOLDER LOWER NSPAWN_COMMAND...
#
# Runs in a mount namespace of its own, so that a host's disk is mounted nowhere else and vanishes with
# its last process. From the first line on, everything is in the host's cgroup: one write kills it all.
set -e
cgroup=$1 loop=$2 folder=$3 lower=$4
shift 4
echo $$ >"$cgroup/cgroup.procs"
mount -t ext4 -o noatime "$loop" "$folder/disk"
mkdir -p "$folder/disk/upper" "$folder/disk/work"
mount -t overlay -o "lowerdir=$lower,upperdir=$folder/disk/upper,workdir=$folder/disk/work" overlay "$folder/root"
set +e
while :; do
    "$@"
    # nspawn's word for "the host asked for a reboot" (EXIT_FORCE_RESTART, with --keep-unit).
    [ $? -eq 133 ] || exit 0
done
