#!/bin/sh
# What is true on this host. Lines "problem: …" are faults.
# usage: try_host.sh NAME HOST=ADDRESS…
name=$1
shift
problem() { echo "problem: $*"; }

[ "$(cat /proc/sys/kernel/hostname)" = "$name" ] || problem "the kernel calls this host $(cat /proc/sys/kernel/hostname)"
for pair in "$@"; do
    found=$(getent ahostsv4 "${pair%=*}" | head -n 1 | cut -d' ' -f1)
    [ "$found" = "${pair#*=}" ] || problem "${pair%=*} is known as '$found', its address is ${pair#*=}"
done
[ "$(cat /proc/sys/net/ipv4/tcp_keepalive_time)" = 60 ] || problem "keepalives begin after $(cat /proc/sys/net/ipv4/tcp_keepalive_time) s"

# The journal is on the disk and takes what is written to it.
logger -t try_host "written by $$"
journalctl --sync
journalctl -q -D /var/log/journal -t try_host | grep -q "written by $$" || problem "the journal on the disk lacks what was just written"

# Sleep is refused, not only unlikely.
! systemctl suspend 2>/dev/null || problem "this host can be put to sleep"
for unit in apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service; do
    ! systemctl --quiet is-active "$unit" || problem "$unit runs"
    ! systemctl start "$unit" 2>/dev/null || problem "$unit can be started"
done

# In a container no chrony runs; a second of one that leaves the clock alone says whom it would ask.
chronyd -x -f /etc/chrony/chrony.conf
chronyc -n -c sources | cut -d, -f3 | grep -qx 169.254.169.123 || problem "the clock asks $(chronyc -n -c sources 2>&1 | cut -d, -f3)"
chronyc shutdown >/dev/null
exit 0
