#!/bin/sh
# Move a group of two devices between two hosts over TLS. Both are this machine here; nothing else would be different.
# sh examples/two-hosts.sh
set -eu
ferry=${FERRY:-ferry}
folder=$(mktemp -d)
export FERRY_JOURNAL="$folder/journal"
servers=
trap 'kill $servers 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

# Starts a command in the background and waits until it says that it listens.
listen() {
  log=$1
  shift
  $ferry "$@" >"$log" &
  servers="$servers $!"
  until grep -q listening "$log"; do
    kill -0 $! || exit 1
    sleep 0.1
  done
}

$ferry test-ca tls 127.0.0.1 source.example >certificates

# Host B: two fresh devices, and somebody who receives for them.
listen disk-b.log serve memory --socket-path disk-b.sock --size 1M
listen edu-b.log serve edu --socket-path edu-b.sock
listen received.log receive disk-b.sock edu-b.sock --listen tcp:127.0.0.1:0 --tls-name source.example \
  --tls-ca tls/ca.pem --tls-cert tls/127.0.0.1.pem --tls-key tls/127.0.0.1.key
receiver=$!

# Host A: two devices that run.
listen disk-a.log serve memory --socket-path disk-a.sock --size 1M
listen edu-a.log serve edu --socket-path edu-a.sock
to=$(sed -n 's/^listening on \([^ ]*\) .*/\1/p' received.log)
send() {
  $ferry migrate disk-a.sock edu-a.sock --to "$to" --downtime-limit "${DOWNTIME:-300}" \
    --tls-ca tls/ca.pem --tls-cert tls/source.example.pem --tls-key tls/source.example.key "$@"
}
send --dry-run
send
wait $receiver
cat received.log
