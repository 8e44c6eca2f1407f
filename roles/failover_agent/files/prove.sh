#!/bin/sh
# What is true on this host. Lines "problem: …" are faults.
# usage: prove.sh RELEASE_DIR
release=$1
for unit in failover-gate.service failover-agent.service; do
    systemctl --quiet is-active "$unit" || echo "problem: $unit is $(systemctl is-active "$unit")"
    [ "$(systemctl is-enabled "$unit")" = enabled ] || echo "problem: $unit does not start at boot"
done
nft list table inet failover_gate >/dev/null 2>&1 || echo "problem: the gate's table is not loaded"
for needed in $(systemctl show -P Requires primacy-postgresql.service); do
    [ "$needed" = failover-gate.service ] && gated=yes
done
[ "${gated:-}" = yes ] || echo "problem: PostgreSQL could start without the gate"
# The interpreter in a release is a link out of it; what is mapped in from the release tells.
pid=$(systemctl show -P MainPID failover-agent.service)
tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q failover-agent || echo "problem: the agent does not run"
grep -q "$release/" "/proc/$pid/maps" || echo "problem: the agent runs another release than $release"
exit 0
