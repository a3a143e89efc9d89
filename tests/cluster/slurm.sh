#!/usr/bin/env bash
# A SLURM of our own on this machine, for tests: two nodes, 'one' and 'two', of two CPUs each.
# Usage, as root:  slurm.sh start FOLDER     installs what is missing (Debian's packages), starts the daemons;
#                                            then: export SLURM_CONF=FOLDER/slurm.conf
#                  slurm.sh stop FOLDER      ends them
# All that it writes is in FOLDER; a SLURM that this machine may have is left alone. Exit code 3: cannot be
# had here, with one line that says why.
set -euo pipefail

verb="${1:?start or stop}"
folder="$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)"
daemons=(slurmd.one slurmd.two slurmctld munged)

without() { echo "no SLURM here: $1" >&2; exit 3; }

stop() {
  if [ -s "$folder/slurmctld.pid" ] && [ -d "/proc/$(cat "$folder/slurmctld.pid")" ]; then
    export SLURM_CONF="$folder/slurm.conf"
    scancel --full --signal=KILL --user="$(id -un)" 2>/dev/null || true # what jobs have started, too
    scancel --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 50); do [ -z "$(squeue --noheader 2>/dev/null)" ] && break; sleep 0.2; done
  fi
  for daemon in "${daemons[@]}"; do
    file="$folder/$daemon.pid"
    [ -s "$file" ] || continue
    pid="$(cat "$file")"
    # Only what was started here: a number can belong to another process by now.
    if grep -qs "$folder" "/proc/$pid/cmdline"; then
      kill "$pid" 2>/dev/null || true
      for _ in $(seq 50); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
      kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$file"
  done
}

install() {
  [ "$(id -u)" -eq 0 ] || without "the daemons are started as root"
  missing=0
  for command in munged slurmctld slurmd sbatch; do command -v "$command" >/dev/null || missing=1; done
  [ "$missing" -eq 1 ] || return 0
  command -v apt-get >/dev/null || without "slurmctld, slurmd, sbatch or munged is not installed"
  export DEBIAN_FRONTEND=noninteractive
  packages=(slurmctld slurmd slurm-client munge)
  apt-get install -y --no-install-recommends "${packages[@]}" >"$folder/install.log" 2>&1 ||
    { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } >>"$folder/install.log" 2>&1 ||
    without "Debian's packages ${packages[*]} cannot be installed ($(tail -n 1 "$folder/install.log"))"
}

# Ports that are free now, beside each other's way.
free_ports() {
  python3 - <<'PORTS'
import socket
sockets = [socket.socket() for _ in range(3)]
for one in sockets:
    one.bind(("", 0))
print(*(one.getsockname()[1] for one in sockets))
PORTS
}

configure() {
  read -r control first second < <(free_ports)
  host="$(hostname -s)"
  mkdir -p "$folder/state" "$folder/spool.one" "$folder/spool.two"
  cat >"$folder/slurm.conf" <<CONF
ClusterName=vedute
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$control
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire: how long a requeued job waits as well, seconds.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=1,sched_min_interval=0
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=20
MinJobAge=3600
MailProg=/bin/true
NodeName=one NodeHostname=$host NodeAddr=127.0.0.1 Port=$first CPUs=2 RealMemory=4000
NodeName=two NodeHostname=$host NodeAddr=127.0.0.1 Port=$second CPUs=2 RealMemory=4000
PartitionName=main Nodes=one,two Default=YES MaxTime=1:00:00 State=UP
CONF
}

start() {
  install
  configure
  chmod 711 "$folder"
  (umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
  export SLURM_CONF="$folder/slurm.conf"
  # --force: a folder for temporary files is open to all, which munged thinks unsafe.
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" 2>>"$folder/munged.log" ||
    without "munged does not start ($(tail -n 1 "$folder/munged.log"))"
  slurmctld -c -f "$SLURM_CONF" || without "slurmctld does not start"
  for node in one two; do
    slurmd -c -N "$node" -f "$SLURM_CONF" -d /usr/sbin/slurmstepd || without "slurmd does not start"
  done
  for _ in $(seq 100); do
    idle="$(sinfo --noheader --Node --format %T 2>/dev/null | grep -c '^idle$' || true)"
    [ "$idle" -eq 2 ] && exit 0
    sleep 0.2
  done
  sinfo >&2 || true
  stop
  without "its nodes do not become idle ($(tail -n 1 "$folder/slurmctld.log"))"
}

case "$verb" in
  start) start ;;
  stop) stop ;;
  *) echo "start or stop, not $verb" >&2; exit 2 ;;
esac
