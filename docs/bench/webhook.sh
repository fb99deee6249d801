#!/usr/bin/env bash
# Events of 1 KB from 64 connections, each on disk before its answer, beside a server of the same
# library that stores nothing, in turns. Usage: docs/bench/webhook.sh [SECONDS] [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-10}
rounds=${2:-3}
.ci/need wrk curl python3
work=$(mktemp -d "${TMPDIR:-/tmp}/ingestd-bench.XXXXXX")
server=
stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }; server=; }
trap 'stop; rm -rf "$work"' EXIT

CGO_ENABLED=0 go test -c -o "$work/server" ./ingest/source/webhook
cat >"$work/event.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["User-Agent"] = "GitHub-Hookshot/044aadd"
wrk.headers["X-GitHub-Event"] = "push"
wrk.body = '{"id":"evt_1","text":"' .. string.rep("x", 1000) .. '"}'
function done(summary, latency)
  io.write(string.format("FIGURES %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
LUA

port=18473
echo "1 KB, 64 connections, ${seconds} s a round; $(nproc) cores; $(go version | cut -d' ' -f3); $(cut -d' ' -f1-3 /proc/loadavg) load"
printf '%-10s %10s %8s %8s %8s %16s\n' server requests/s 'p50 ms' 'p99 ms' failed 'MiB 1/2, whole'
for round in $(seq "$rounds"); do
	for kind in bare durable; do
		TMPDIR="$work" WEBHOOK_BENCH="$kind 127.0.0.1:$port" "$work/server" -test.run '^TestBenchServer$' -test.timeout 0 >"$work/log" 2>&1 &
		server=$!
		for _ in $(seq 100); do curl -s -o "$work/first" -H 'Content-Type: application/json' -d 1 "http://127.0.0.1:$port/hooks/orders" && break; sleep 0.1; done
		wrk -t2 -c64 -d"${seconds}s" -s "$work/event.lua" "http://127.0.0.1:$port/hooks/orders" >"$work/wrk" &
		load=$!
		sleep "$(python3 -c "print($seconds / 2)")"
		half=$(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$server/status")
		wait "$load"
		whole=$(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$server/status")
		stop
		read -r _ rate p50 p99 failed < <(grep FIGURES "$work/wrk")
		printf '%-10s %10s %8s %8s %8s %16s\n' "$kind" "$rate" "$p50" "$p99" "$failed" "$half, $whole"
		echo "$kind $rate" >>"$work/rates"
	done
	port=$((port + 1))
done
awk '$1 == "bare" { bare += $2 } $1 == "durable" { durable += $2 } END { printf "durable / bare: %.2f\n", durable / bare }' "$work/rates"
