#!/bin/bash
# sysbench's point selects against a real MariaDB: directly, through sqluice and through HAProxy, in turns within one run,
# with the CPU time per query of the process in between.
#
#   bench/sysbench.sh [path of sqluice]      default: target/release/sqluice
#
# ROUNDS, SECONDS_EACH, THREADS and PS_MODE (auto: prepared statements, disable: text) come from the environment.
# Needs sysbench, mariadbd and mariadb-install-db; haproxy is left out, and said so, where it is missing.
# Everything listens on 127.0.0.1 and lives in a temporary folder; what is started here is ended here.
set -euo pipefail

sqluice=${1:-target/release/sqluice}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
threads=${THREADS:-64}
ps_mode=${PS_MODE:-auto}
folder=$(mktemp -d)
started=()

finish() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    for process in "${started[@]}"; do wait "$process" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT
PATH=$PATH:/usr/sbin

# The proxy has the last CPU for itself, server and load the others.
cpus=$(nproc)
proxy_cpu=$((cpus - 1))
other_cpus=0
if ((cpus > 2)); then other_cpus=0-$((cpus - 2)); fi

# A port that nothing listens on, below those that the kernel gives to outgoing connections.
free_port() {
    while :; do
        local port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# Waits until the port serves a login, for at most 30 s; the log says why when it does not.
await() { # port log
    local deadline=$((SECONDS + 30))
    until mariadb --no-defaults -h127.0.0.1 -P"$1" -ubench -pbench bench -e 'SELECT 1' >"$folder/await.log" 2>&1; do
        if ((SECONDS > deadline)); then
            echo "port $1 does not serve:" >&2
            tail -5 "$2" "$folder/await.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

start_mariadb() {
    server_port=$(free_port)
    mariadb-install-db --no-defaults --datadir="$folder/data" --user="$(id -un)" --skip-test-db \
        --auth-root-authentication-method=normal >"$folder/install.log" 2>&1
    taskset -c "$other_cpus" mariadbd --no-defaults --datadir="$folder/data" --user="$(id -un)" --port="$server_port" \
        --bind-address=127.0.0.1 --socket="$folder/mariadb.sock" --pid-file="$folder/mariadb.pid" \
        --max-connections=1000 --skip-name-resolve >"$folder/mariadb.log" 2>&1 &
    started+=($!)
    local deadline=$((SECONDS + 30))
    until mariadb --no-defaults -S "$folder/mariadb.sock" -uroot -e "CREATE DATABASE IF NOT EXISTS bench;
        CREATE OR REPLACE USER bench@'127.0.0.1' IDENTIFIED BY 'bench'; GRANT ALL ON *.* TO bench@'127.0.0.1'" \
        2>"$folder/await.log"; do
        ((SECONDS <= deadline)) || { tail -5 "$folder/mariadb.log" "$folder/await.log" >&2; exit 1; }
        sleep 0.1
    done
    sysbench_at "$server_port" prepare >/dev/null
}

sysbench_at() { # port command
    taskset -c "$other_cpus" sysbench oltp_point_select --db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="$1" \
        --mysql-user=bench --mysql-password=bench --mysql-db=bench --db-ps-mode="$ps_mode" --tables=1 --table-size=10000 \
        --threads="$threads" --time="$seconds" --percentile=99 "$2"
}

start_haproxy() {
    haproxy_port=$(free_port)
    cat >"$folder/haproxy.cfg" <<END
global
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend bench
    bind 127.0.0.1:$haproxy_port
    default_backend servers
backend servers
    balance leastconn
    server mariadb 127.0.0.1:$server_port
END
    taskset -c "$proxy_cpu" haproxy -db -f "$folder/haproxy.cfg" >"$folder/haproxy.log" 2>&1 &
    haproxy_process=$!
    started+=("$haproxy_process")
    await "$haproxy_port" "$folder/haproxy.log"
}

start_sqluice() {
    sqluice_port=$(free_port)
    cat >"$folder/sqluice.toml" <<END
[process]
workers = 1
pin_workers = false

[log]
level = "warn"

[admin]
socket = "$folder/admin.sock"

[[listener]]
name = "bench"
address = "127.0.0.1:$sqluice_port"

[cluster.bench]
topology = "static"
monitor = { user = "bench", password = "bench" }

[[cluster.bench.server]]
name = "mariadb"
address = "127.0.0.1:$server_port"
role = "primary"

[pool.bench]
cluster = "bench"
role = "primary"

[[user]]
name = "bench"
password = "bench"
pool = "bench"
END
    taskset -c "$proxy_cpu" "$sqluice" run --config "$folder/sqluice.toml" >"$folder/sqluice.log" 2>&1 &
    sqluice_process=$!
    started+=("$sqluice_process")
    await "$sqluice_port" "$folder/sqluice.log"
}

# Nanoseconds on a CPU of all threads of a process.
cpu_of() { # pid
    cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# Prints: candidate, queries a second, microseconds of the proxy's CPU per query, 99th percentile in ms.
measure() { # name port [pid]
    local before=0 after=0
    [[ -z ${3:-} ]] || before=$(cpu_of "$3")
    sysbench_at "$2" run >"$folder/sysbench.log" 2>&1 || { tail -5 "$folder/sysbench.log" >&2; exit 1; }
    [[ -z ${3:-} ]] || after=$(cpu_of "$3")
    awk -v name="$1" -v cpu=$((after - before)) '
        /^ *queries:/ { queries = $2; rate = substr($3, 2) }
        /99th percentile:/ { p99 = $3 }
        END { printf "%-10s %10.0f %12s %10.2f\n", name, rate, cpu ? sprintf("%.2f", cpu / queries / 1000) : "-", p99 }
    ' "$folder/sysbench.log"
}

start_mariadb
have_haproxy=no
if command -v haproxy >/dev/null; then have_haproxy=yes; start_haproxy; else echo "haproxy is not installed: left out"; fi
start_sqluice

echo "kernel $(uname -r), $(mariadbd --version | awk '{ print $3 }'), $(sysbench --version), $threads threads, statements: $ps_mode"
printf '%-10s %10s %12s %10s\n' candidate queries/s 'CPU us/query' 'p99 ms'
for ((round = 0; round < rounds; round++)); do
    measure direct "$server_port"
    measure sqluice "$sqluice_port" "$sqluice_process"
    if [[ $have_haproxy == yes ]]; then measure haproxy "$haproxy_port" "$haproxy_process"; fi
done
