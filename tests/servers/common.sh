# What the scripts of this folder share: where things are installed, how a server of each flavour is run, which
# process is whose. Sourced, not run.
# shellcheck shell=bash

# Everything that is installed aside from the host's packages; kept between runs.
CACHE=${SQLUICE_SERVERS:-$HOME/.cache/sqluice-servers}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# root_of FLAVOUR: the folder that a flavour's packages were unpacked into.
root_of() { echo "$CACHE/roots/$1"; }

# in_root FLAVOUR PROGRAM [ARGUMENT...]: sets the array COMMAND to run a program of an unpacked flavour. The program
# is started by its own dynamic loader with its own libraries, so the host's libc may be older; no chroot is needed.
in_root() {
  local root program=$2
  root=$(root_of "$1")
  shift 2
  COMMAND=("$root/lib64/ld-linux-x86-64.so.2" --argv0 "$root/$program"
    --library-path "$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu:$root/usr/lib/mysql-router"
    "$root/$program" "$@")
}

# server_command FLAVOUR: sets COMMAND to the flavour's server with the options that say where its own files lie.
server_command() {
  local root
  root=$(root_of "$1")
  case $1 in
    mariadb10) COMMAND=(/usr/sbin/mariadbd --no-defaults --basedir=/usr) ;;
    mariadb11)
      in_root mariadb11 usr/sbin/mariadbd --no-defaults --basedir="$root/usr" --plugin-dir="$root/usr/lib/mysql/plugin" \
        --lc-messages-dir="$root/usr/share/mariadb" --character-sets-dir="$root/usr/share/mariadb/charsets"
      ;;
    mysql97)
      in_root mysql97 usr/sbin/mysqld --no-defaults --basedir="$root/usr" --plugin-dir="$root/usr/lib/mysql/plugin" \
        --lc-messages-dir="$root/usr/share/mysql" --character-sets-dir="$root/usr/share/mysql/charsets"
      ;;
    *) fail "unknown flavour $1 (mariadb10, mariadb11 or mysql97)" ;;
  esac
  # A server refuses to run as root unless it is told to. The data are throw-away and only loopback is served.
  if ((EUID == 0)); then COMMAND+=(--user=root); fi
}

# client_command FLAVOUR: sets COMMAND to the flavour's command-line client, without any option file.
client_command() {
  case $1 in
    mariadb10) COMMAND=(mariadb --no-defaults) ;;
    mariadb11)
      in_root mariadb11 usr/bin/mariadb --no-defaults --plugin-dir="$(root_of mariadb11)/usr/lib/x86_64-linux-gnu/libmariadb3/plugin"
      ;;
    mysql97) in_root mysql97 usr/bin/mysql --no-defaults --plugin-dir="$(root_of mysql97)/usr/lib/mysql/plugin" ;;
    *) fail "unknown flavour $1" ;;
  esac
}

# started_at PID: when the process was started, in clock ticks since boot; with the pid it names one process for ever.
started_at() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | awk '{ print $20 }'; }

# live_pid FOLDER: the pid of the server of that folder, if it lives and is the one that was started there.
live_pid() {
  local pid started
  [[ -f $1/pid ]] || return 1
  read -r pid started <"$1/pid"
  [[ -n $started && "$(started_at "$pid")" == "$started" ]] || return 1
  [[ "$(sed 's/^.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null)" != Z ]] || return 1
  echo "$pid"
}
