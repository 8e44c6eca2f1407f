#!/bin/sh
# What PostgreSQL does on this host while there is no agent. Lines "problem: …" are faults.
# usage: try_postgresql.sh BIN_DIR DATA_DEVICE
bin=$1 device=$2
mount=/srv/postgresql scratch=/var/tmp/try_postgresql
problem() { echo "problem: $*"; }

[ "$(readlink -f "$(findmnt -no SOURCE $mount)")" = "$(readlink -f "$device")" ] || problem "$mount is not $device but $(findmnt -no SOURCE $mount)"
[ "$(findmnt -no FSTYPE $mount)" = ext4 ] || problem "$mount is $(findmnt -no FSTYPE $mount)"

# Nobody but the agent starts it: not by its unit, not by Debian's, not at boot.
for unit in primacy-postgresql.service postgresql.service postgresql@17-main.service; do
    systemctl start "$unit" 2>/dev/null
    ! systemctl --quiet is-active "$unit" || problem "$unit could be started"
done
! pgrep -x postgres >/dev/null || problem "a server runs"
[ -z "$(pg_lsclusters -h 2>/dev/null)" ] || problem "Debian made a cluster: $(pg_lsclusters -h)"
for package in postgresql-17 postgresql-client-17 postgresql-common; do
    apt-mark showhold | grep -qx $package || problem "$package is not held"
done

# The settings carry a server: who may come in, and how.
rm -rf $scratch
install -d -o postgres -m 0700 $scratch
as_postgres() { setpriv --reuid postgres --regid postgres --init-groups --reset-env "$@"; }
as_postgres "$bin/initdb" -D $scratch/data --auth=reject -U postgres >/dev/null || problem "initdb failed"
as_postgres "$bin/pg_ctl" -D $scratch/data -s -w -t 60 -l $scratch/log start \
    -o "-c config_file=/etc/primacy/postgresql/postgresql.conf -c data_directory=$scratch/data" || problem "no server from these settings: $(tail -n 3 $scratch/log)"
trap 'as_postgres "$bin/pg_ctl" -D $scratch/data -s -m immediate stop; rm -rf $scratch' EXIT

ask() { as_postgres psql -XAtq -h /run/postgresql -U postgres -d postgres -c "$1" 2>&1; }
# What the command line says instead could not be applied, and is no fault.
wrong=$(ask "select name || ': ' || error from pg_file_settings where error <> 'setting could not be applied'")
[ -z "$wrong" ] || problem "settings: $wrong"
[ "$(ask "select count(*) from pg_hba_file_rules where error is not null")" = 0 ] || problem "pg_hba.conf: $(ask "select line_number, error from pg_hba_file_rules where error is not null")"
ask "create role app login password 'verify'; create role replicator login replication password 'verify'" >/dev/null
address=$(ask "select split_part(current_setting('listen_addresses'), ',', 1)")
[ "$address" = '*' ] && address=$(hostname -I | cut -d' ' -f1)
come() { PGPASSWORD=verify psql -XAtq "host=$address connect_timeout=3 dbname=postgres $1" -c 'select ssl from pg_stat_ssl where pid = pg_backend_pid()' 2>&1; }
[ "$(come 'user=app sslmode=verify-full sslrootcert=/etc/primacy/tls/ca.crt')" = t ] || problem "a client with the right password: $(come 'user=app sslmode=verify-full sslrootcert=/etc/primacy/tls/ca.crt')"
for stranger in 'user=app sslmode=disable' 'user=postgres sslmode=require' 'user=replicator sslmode=disable'; do
    answer=$(come "$stranger") && problem "'$stranger' came in: $answer"
done
! setpriv --reuid nobody --clear-groups --reset-env psql -XAtq -h /run/postgresql -U postgres -d postgres -c 'select 1' >/dev/null 2>&1 ||
    problem "anybody on this host is superuser"
exit 0
