#!/bin/sh
# Whether the agent runs with other files than are there now: "due: WHY", or nothing.
systemctl --quiet is-active failover-agent.service || { echo "due: it does not run"; exit 0; }
started=$(cat /run/failover-agent/started-with 2>/dev/null) || { echo "due: it does not say with what it was started"; exit 0; }
now=$(/opt/failover-agent/fingerprint) || exit 1
[ "$started" = "$now" ] || echo "due: its release, its settings or its secrets have changed since it was started"
