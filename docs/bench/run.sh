#!/usr/bin/env bash
# From one CSV to one API, ingestd beside naive.py, in turns. Usage: docs/bench/run.sh [ROWS] [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."

rows=${1:-1000000}
rounds=${2:-3}
work=$(mktemp -d "${TMPDIR:-/tmp}/ingestd-bench.XXXXXX")
target=
trap '[ -z "$target" ] || kill "$target" 2>/dev/null || true; rm -rf "$work"' EXIT

make -s build
CGO_ENABLED=0 go build -o "$work/gen" ./docs/bench/gen
CGO_ENABLED=0 go build -o "$work/target" ./docs/bench/target
"$work/gen" -rows "$rows" >"$work/orders.csv"

"$work/target" -listen 127.0.0.1:0 >"$work/url" &
target=$!
for _ in $(seq 100); do [ -s "$work/url" ] && break; sleep 0.1; done
url=$(cat "$work/url")

cat >"$work/ingestd.yaml" <<YAML
log: {level: warn}
sinks:
  api:
    type: http
    url: $url/orders
    batch: {max_records: 500}
    concurrency: 4
pipelines:
  orders:
    source: {type: dir, path: drop}
    format: csv
    record: {key: [order_id]}
    sinks: [api]
YAML
mkdir "$work/drop"

# arrived fails unless the target has every order_id's record, and says what it has.
arrived() {
	local got
	got=$(curl -fsS "$url/count")
	case $got in
	*"\"records\":$((rows - rows / 10)),"*) ;;
	*) echo "the target has $got; it should have $((rows - rows / 10)) records" >&2; exit 1 ;;
	esac
	curl -fsS "$url/reset"
}

echo "$rows rows, $(stat -c %s "$work/orders.csv") bytes, a tenth of them repetitions; $(nproc) cores; $(go version | cut -d' ' -f3), $(python3 --version)"
cat "$work/orders.csv" >/dev/null
for round in $(seq "$rounds"); do
	python3 docs/bench/measure.py ingestd "$rows" \
		env STATE_DIRECTORY="$work/state.$round" bin/ingestd once -c "$work/ingestd.yaml" -p orders "$work/orders.csv"
	arrived
	python3 docs/bench/measure.py naive.py "$rows" \
		python3 docs/bench/naive.py "$work/orders.csv" "$url/orders" "$work/naive.$round.db"
	arrived
done
