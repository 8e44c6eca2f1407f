#!/bin/sh
# One line that changes with everything the agent reads only when it starts.
set -e
{
    readlink -f /opt/failover-agent/current
    cat /etc/failover-agent/agent.yml /etc/systemd/system/failover-agent.service \
        /etc/primacy/tls/ca.crt /etc/primacy/tls/node.crt /etc/primacy/tls/node.key \
        /etc/primacy/secrets/replication /etc/primacy/secrets/rewind
} | sha256sum
