#!/bin/sh
# What a removal has to know of this host, as JSON. usage: look.sh PORT
agent=false; [ -e /etc/systemd/system/failover-agent.service ] && agent=true
plain=false; grep -q '^WantedBy=' /etc/systemd/system/primacy-postgresql.service 2>/dev/null && plain=true
recovery=$(runuser -u postgres -- psql -h /run/postgresql -p "$1" -d postgres -XAtc 'select pg_is_in_recovery()' 2>/dev/null)
case $recovery in t) server=standby ;; f) server=primary ;; *) server=silent ;; esac
printf '{"agent": %s, "plain": %s, "server": "%s"}\n' "$agent" "$plain" "$server"
