#!/bin/bash
# As in edoburu/pgbouncer: DATABASE_URL, or DB_HOST, _PORT, _NAME, _USER, _PASSWORD, say where the server is; LISTEN_PORT,
# AUTH_TYPE and other settings of pgbouncer.ini in capitals; a configuration that is there already is left as it is.
set -e
cd /etc/pgbouncer
if [ -n "${DATABASE_URL:-}" ]; then
  [[ $DATABASE_URL =~ ^[a-z]+://(([^:@/]*)(:([^@]*))?@)?([^:/]*)(:([0-9]+))?(/(.*))?$ ]] || { echo 'DATABASE_URL is no URL' >&2; exit 1; }
  DB_USER=${BASH_REMATCH[2]} DB_PASSWORD=${BASH_REMATCH[4]} DB_HOST=${BASH_REMATCH[5]} DB_PORT=${BASH_REMATCH[7]:-5432} DB_NAME=${BASH_REMATCH[9]}
fi
if [ -n "$DB_USER" ] && [ -n "$DB_PASSWORD" ]; then
  case $AUTH_TYPE in
    plain|scram-sha-256) word=$DB_PASSWORD ;;
    *) word=md5$(printf %s "$DB_PASSWORD$DB_USER" | md5sum | cut -d ' ' -f 1) ;;
  esac
  printf '"%s" "%s"\n' "$DB_USER" "$word" >>userlist.txt
fi
touch userlist.txt
[ -e pgbouncer.ini ] || {
  printf '[databases]\n%s = host=%s port=%s auth_user=%s\n' "${DB_NAME:-*}" "${DB_HOST:?DB_HOST or DATABASE_URL has to be set}" "${DB_PORT:-5432}" "${DB_USER:-postgres}"
  printf '[pgbouncer]\nlisten_addr = %s\nlisten_port = %s\nunix_socket_dir =\n' "${LISTEN_ADDR:-0.0.0.0}" "${LISTEN_PORT:-5432}"
  printf 'auth_file = /etc/pgbouncer/userlist.txt\nauth_type = %s\nadmin_users = %s\n' "${AUTH_TYPE:-md5}" "${ADMIN_USERS:-postgres}"
  printf 'ignore_startup_parameters = %s\n' "${IGNORE_STARTUP_PARAMETERS:-extra_float_digits}"
  for setting in pool_mode max_client_conn default_pool_size min_pool_size reserve_pool_size max_db_connections \
    server_reset_query server_check_delay server_lifetime server_idle_timeout server_connect_timeout server_login_retry \
    query_timeout query_wait_timeout client_idle_timeout client_login_timeout stats_users log_connections verbose \
    client_tls_sslmode client_tls_key_file client_tls_cert_file server_tls_sslmode server_tls_ca_file; do
    variable=${setting^^}
    [ -z "${!variable:-}" ] || printf '%s = %s\n' "$setting" "${!variable}"
  done
} >pgbouncer.ini
exec "$@"
