#!/usr/bin/env bash
# Runs a program under mpirun over two hosts that this machine pretends to be: two network namespaces with a hostname
# each, joined by a link, so that ranks of different hosts speak over TCP and through nothing else.
#   tests/ranks/two_hosts.sh COMMAND…           a rank on each host
#   RANKS=4 tests/ranks/two_hosts.sh COMMAND…   two on each; the first half of the ranks is on the first host
#   RATE=100mbit tests/ranks/two_hosts.sh …     the link carries so much each way (tc's units: mbit, mbps = 10^6 bytes/s)
#   MPIRUN_OPTIONS="…" tests/ranks/two_hosts.sh …   more for mpirun
# Ends as mpirun does, or says SKIPPED with the reason and ends with 77 where the machine does not allow it: needs root,
# iproute2 and Open MPI (openmpi-bin).
set -uo pipefail

case "${1:---help}" in -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;; esac
skip() {
  echo "SKIPPED: $1"
  exit 77
}
ranks=${RANKS:-2}
case "$ranks" in *[!0-9]* | 0) echo "tests/ranks/two_hosts.sh: RANKS=$ranks: expected a number" >&2 && exit 2 ;; esac
[ "$(id -u)" = 0 ] || skip "only root makes network namespaces"
for needed in ip:iproute2 tc:iproute2 unshare:util-linux mpirun:openmpi-bin; do
  command -v "${needed%%:*}" > /dev/null || skip "there is no ${needed%%:*}, which is in Debian's ${needed##*:}"
done

# Open MPI frees not all it takes.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"

# The names are the process's, so that several may run at once; the addresses are seen within the namespaces alone.
first=striate-$$-1
second=striate-$$-2
folder=$(mktemp -d)
clean_up() {
  # A rank that outlives mpirun would keep its namespace.
  for host in "$first" "$second"; do
    for process in $(ip netns pids "$host" 2> /dev/null); do kill -KILL "$process" 2> /dev/null; done
    ip netns delete "$host" 2> /dev/null
  done
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

quiet() { reason=$("$@" 2>&1) || skip "the machine does not allow '$*': $reason"; }
quiet ip netns add "$first"
quiet ip netns add "$second"
quiet ip link add name link netns "$first" type veth peer name link netns "$second"
for host in "$first 10.9.0.1" "$second 10.9.0.2"; do
  read -r name address <<< "$host"
  quiet ip -n "$name" address add "$address/24" dev link
  quiet ip -n "$name" link set dev lo up
  quiet ip -n "$name" link set dev link up
  # Half a megabyte may wait, or 50 ms of the rate: as much as keeps TCP at the rate.
  if [ -n "${RATE:-}" ]; then
    quiet ip netns exec "$name" tc qdisc add dev link root tbf rate "$RATE" burst 256kb latency 50ms
  fi
done

# What mpirun starts a remote host's daemon with, instead of ssh: HOST COMMAND…
cat > "$folder/enter" << EOF
#!/bin/sh
case "\$1" in
  10.9.0.1) space=$first name=host1 ;;
  10.9.0.2) space=$second name=host2 ;;
  *) echo "there is no host '\$1'" >&2; exit 1 ;;
esac
shift
exec ip netns exec \$space unshare --uts sh -c 'hostname "\$0"; exec sh -c "\$1"' \$name "\$*"
EOF
cat > "$folder/run" << EOF
#!/bin/sh
hostname host1
exec "\$@"
EOF
chmod +x "$folder/enter" "$folder/run"

# Not bound: each host's daemon takes itself for alone, and would bind its first rank to the same core.
slots=$(((ranks + 1) / 2))
# shellcheck disable=SC2086  # the options are words
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ip netns exec "$first" unshare --uts "$folder/run" \
  mpirun -n "$ranks" --host "10.9.0.1:$slots,10.9.0.2:$slots" --bind-to none --mca plm_rsh_agent "$folder/enter" \
  --mca pml ob1 --mca btl tcp,self,vader --mca btl_tcp_if_include 10.9.0.0/24 --mca oob_tcp_if_include 10.9.0.0/24 \
  ${MPIRUN_OPTIONS:-} "$@"
