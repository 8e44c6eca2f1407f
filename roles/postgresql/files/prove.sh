#!/bin/sh
# What is true on this host. Lines "problem: …" are faults, "restart: …" names a setting that waits, "lower: …" one
# that waits and becomes lower, of those that no standby may have lower than the primary runs with.
# usage: prove.sh DATA_MOUNT BIN_DIR PORT
mount=$1 bin=$2 port=$3
mountpoint -q "$mount" || echo "problem: $mount is not a mount point"
for unit in postgresql.service postgresql@17-main.service; do
    [ "$(systemctl show -P LoadState "$unit")" = masked ] || echo "problem: $unit is not masked"
done
systemctl cat primacy-postgresql.service >/dev/null || echo "problem: primacy-postgresql.service is missing"
[ "$(systemctl is-enabled primacy-postgresql.service)" = static ] || echo "problem: primacy-postgresql.service starts at boot"
systemctl --quiet is-active primacy-postgresql.service || exit 0
"$bin/psql" -X -A -t -h /run/postgresql -p "$port" -U postgres -d postgres <<'SQL' || echo "problem: PostgreSQL runs and does not answer"
set statement_timeout = '5s';
select 'problem: ' || sourcefile || ' line ' || sourceline || ': ' || name || ': ' || error from pg_file_settings where error is not null and error <> 'setting could not be applied';
select 'problem: pg_hba.conf line ' || line_number || ': ' || error from pg_hba_file_rules where error is not null;
select 'problem: pg_ident.conf line ' || line_number || ': ' || error from pg_ident_file_mappings where error is not null;
select case when name in ('max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction')
  then case when coalesce((select f.setting from pg_file_settings f where f.name = s.name order by f.seqno desc limit 1), boot_val)::numeric
    < setting::numeric then 'lower: ' else 'restart: ' end
  else 'restart: ' end || name from pg_settings s where pending_restart;
SQL
