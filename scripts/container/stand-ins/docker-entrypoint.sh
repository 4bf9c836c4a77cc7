#!/usr/bin/env bash
# The parts of the official postgres entry point that a compose file can see.
set -euo pipefail
shopt -s nullglob

file_env() {                       # VAR, or the content of the file VAR_FILE
  local var=$1 file=${1}_FILE def=${2:-} val
  if [ -n "${!var:-}" ] && [ -n "${!file:-}" ]; then
    echo >&2 "error: both $var and $file are set (but are exclusive)"; exit 1
  fi
  val=$def
  if [ -n "${!var:-}" ]; then val=${!var}; elif [ -n "${!file:-}" ]; then val=$(<"${!file}"); fi
  export "$var=$val"; unset "$file"
}

[ "${1:0:1}" = - ] && set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then        # start as root: own the directories, then drop to postgres
  mkdir -p "$PGDATA" /var/run/postgresql
  find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
  chown postgres /var/run/postgresql; chmod 3777 /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
fi

mkdir -p "$PGDATA"; chmod 0700 "$PGDATA" || :
if [ -s "$PGDATA/PG_VERSION" ]; then
  echo; echo 'PostgreSQL Database directory appears to contain a database; Skipping initialization'; echo
  exec "$@"
fi

file_env POSTGRES_PASSWORD
file_env POSTGRES_USER postgres
file_env POSTGRES_DB "$POSTGRES_USER"
file_env POSTGRES_INITDB_ARGS
: "${POSTGRES_HOST_AUTH_METHOD:=}"
if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
  echo >&2 'Error: Database is uninitialized and superuser password is not specified.'; exit 1
fi

eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"$POSTGRES_INITDB_ARGS"
auth=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "${@:2}")}
printf '\nhost all all all %s\n' "$auth" >> "$PGDATA/pg_hba.conf"

# temporary server: unix socket only, exactly like the official image (so a
# socket pg_isready turns green here while TCP is still refused)
export PGPASSWORD=$POSTGRES_PASSWORD
PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "$(printf '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}")" -w start
psql=(psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password)
if [ "$POSTGRES_DB" != postgres ]; then
  echo 'CREATE DATABASE :"db" ;' | "${psql[@]}" --dbname postgres --set db="$POSTGRES_DB"
fi
for f in /docker-entrypoint-initdb.d/*; do
  # shellcheck disable=SC1090 # whatever was mounted
  case $f in
    *.sh)     if [ -x "$f" ]; then echo "$0: running $f"; "$f"; else echo "$0: sourcing $f"; . "$f"; fi ;;
    *.sql)    echo "$0: running $f"; "${psql[@]}" --dbname "$POSTGRES_DB" -f "$f" ;;
    *.sql.gz) echo "$0: running $f"; gunzip -c "$f" | "${psql[@]}" --dbname "$POSTGRES_DB" ;;
    *)        echo "$0: ignoring $f" ;;
  esac
done
PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
unset PGPASSWORD
echo; echo 'PostgreSQL init process complete; ready for start up.'; echo
exec "$@"
