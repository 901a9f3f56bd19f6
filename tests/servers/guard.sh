# shellcheck shell=bash
# The guard: runs servers for tests and leaves nothing of them behind. Sourced by `redis`, `sentinels`, `rabbitmq`.
#
# Each guard owns a temporary folder, a block of loopback ports and the servers in it. It lives as long as its standard
# input is open: when its owner ends, however it ends, the kernel closes the pipe, and the guard kills its servers and
# removes the folder. The owner (tests/run, or the harness in crates/testkit) speaks one line at a time:
#
#   guard says   folder PATH            first of all
#                port NAME NUMBER       for each port
#                ok | failed WHY        for the first start, and for every command after it
#   owner says   start|stop|kill|pause|resume NAME...
#
# What a server says goes to FOLDER/NAME.log, its process number to FOLDER/NAME.pid.
#
# The script that sources this gives two functions, and then calls `guard NAME...`:
#   launch NAME     becomes the server (exec)
#   is_ready NAME   whether it serves

set -uo pipefail

START_SECONDS_MAX=${PAYBELL_TEST_START_SECONDS:-300}
STOP_SECONDS_MAX=60

# Signals for the owner's terminal are the owner's business; whoever ends this guard itself ends its servers with it.
trap 'exit 1' INT TERM HUP PIPE
trap finish EXIT

declare -A PIDS=()
folder=$(mktemp -d "${TMPDIR:-/tmp}/paybell-test.XXXXXX") || exit 1
echo "folder $folder"

finish() {
  local name
  for name in "${!PIDS[@]}"; do
    end "$name" KILL
  done
  cd / && rm -rf "$folder" ${block_lock:+"$block_lock"}
}

# Ports below the ephemeral range, so that no client of anybody takes the port of a server that is down. A lock keeps
# the block ours while nobody listens there; it goes with the last process that has it open. Where to look first is told
# by our process number, so that guards that start together want different ones.
PORT_FIRST=20000
BLOCKS=500
BLOCK_PORTS=16
block_lock=""

# Gives PORTS=(16 numbers) that nobody uses.
take_ports() {
  local try block port hex used
  for ((try = 0; try < BLOCKS; try++)); do
    block=$((($$ + try) % BLOCKS))
    lock_block "$block" || continue
    PORTS=()
    used=$(local_addresses)
    for ((port = PORT_FIRST + block * BLOCK_PORTS; ${#PORTS[@]} < BLOCK_PORTS; port++)); do
      printf -v hex '%04X' "$port"
      [[ $used == *:"$hex "* ]] && continue 2
      PORTS+=("$port")
    done
    return
  done
  fail "no free ports from $PORT_FIRST on"
}

lock_block() {
  local file="${TMPDIR:-/tmp}/paybell-ports.$1" descriptor
  { exec {descriptor}>"$file"; } 2>/dev/null || return 1
  # The file may be one that its owner has just removed.
  if flock --nonblock "$descriptor" && [[ /proc/self/fd/$descriptor -ef $file ]]; then
    [[ -z $block_lock ]] || rm -f "$block_lock"
    block_lock=$file
    return 0
  fi
  exec {descriptor}>&-
  return 1
}

# Every local end of a TCP connection or listener of this machine.
local_addresses() {
  local address
  while read -r _ address _; do
    echo -n "$address "
  done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
}

fail() {
  echo "failed $*"
  # The owner reads the logs before it lets go of us.
  cat >/dev/null
  exit 1
}

# Whether the process is still our own child, and not somebody else's that got its number. A zombie counts: its other
# threads may still hold its sockets, and the shell buries it as soon as they do not.
is_alive() {
  local key value parent=none status="/proc/${PIDS[$1]:-none}/status"
  # A child's end is a signal, which may cut a reading short.
  while [[ $parent == none && -e $status ]]; do
    while read -r key value; do
      [[ $key == PPid: ]] && parent=$value
    done 2>/dev/null <"$status"
  done
  [[ $parent == "$$" ]]
}

# Sends the signal that ends a server, and waits until it is gone.
end() {
  local name=$1 signal=$2 pid=${PIDS[$1]:-} waited
  is_alive "$name" || { unset "PIDS[$name]"; return 0; }
  kill "-$signal" "$pid"
  # A paused server hears nothing else.
  kill -CONT "$pid" 2>/dev/null
  for ((waited = 0; waited < STOP_SECONDS_MAX * 50; waited++)); do
    is_alive "$name" || break
    sleep 0.02
  done
  is_alive "$name" && return 1
  unset "PIDS[$name]"
}

# Starts servers side by side. Says why if one does not serve in time. The owner says nothing meanwhile, so whatever
# comes from it is its end.
start() {
  local name state
  for name in "$@"; do
    is_alive "$name" && continue
    (
      trap - INT TERM HUP PIPE EXIT
      cd "$folder" && launch "$name"
    ) </dev/null >>"$folder/$name.log" 2>&1 &
    PIDS[$name]=$!
    echo $! >"$folder/$name.pid"
    # Its end is no news to be printed.
    disown
  done
  local until=$((SECONDS + START_SECONDS_MAX))
  for name in "$@"; do
    while ! is_ready "$name" 2>/dev/null; do
      is_alive "$name" || { echo "failed $name ended by itself"; return; }
      ((SECONDS < until)) || { echo "failed $name does not serve after $START_SECONDS_MAX s"; return; }
      read -r -t 0.05
      state=$?
      ((state > 128)) || exit 1
    done
  done
  echo ok
}

each() {
  local what=$1 name
  shift
  for name in "$@"; do
    case "$what" in
      stop) end "$name" TERM || { echo "failed $name does not stop"; return; } ;;
      kill) end "$name" KILL || { echo "failed $name cannot be killed"; return; } ;;
      pause) is_alive "$name" && kill -STOP "${PIDS[$name]}" ;;
      resume) is_alive "$name" && kill -CONT "${PIDS[$name]}" ;;
    esac || { echo "failed $name is not running"; return; }
  done
  echo ok
}

guard() {
  local what names
  start "$@"
  while read -r what names; do
    # Names are words without blanks or patterns.
    # shellcheck disable=SC2086
    case "$what" in
      start) start $names ;;
      stop | kill | pause | resume) each "$what" $names ;;
      *) echo "failed there is no command $what" ;;
    esac
  done
}
