#!/usr/bin/env bash
# What a change costs on the healthy path: two binaries, one CSV, `once`, in turns.
# Usage: docs/bench/overhead.sh [REVISION] [ROWS] [ROUNDS]     REVISION is "before", the working tree is "after"
set -euo pipefail
cd "$(dirname "$0")/../.."

revision=${1:-HEAD}
rows=${2:-1000000}
rounds=${3:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/ingestd-overhead.XXXXXX")
target=
trap '[ -z "$target" ] || kill "$target" 2>/dev/null || true; rm -rf "$work"' EXIT

mkdir "$work/before.src"
git archive "$revision" | tar x -C "$work/before.src"
(cd "$work/before.src" && CGO_ENABLED=0 go build -trimpath -o "$work/before" ./cmd/ingestd)
CGO_ENABLED=0 go build -trimpath -o "$work/after" ./cmd/ingestd
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

want=$((rows - rows / 10))
# once runs one binary on the whole file and checks that the target has every record.
once() {
	rm -rf "$work/state"
	python3 docs/bench/measure.py "$1" "$rows" \
		env STATE_DIRECTORY="$work/state" "$work/$1" once -c "$work/ingestd.yaml" -p orders "$work/orders.csv" | tee -a "$work/figures"
	case $(curl -fsS "$url/count") in
	*"\"records\":$want,"*) ;;
	*) echo "the target does not have $want records" >&2; exit 1 ;;
	esac
	curl -fsS "$url/reset" >/dev/null
}

echo "before: $(git log -1 --format='%h %s' "$revision")"
echo "after:  the working tree at $(git describe --always --dirty)"
echo "$rows rows, $rounds rounds, $(nproc) cores, $(go version | cut -d' ' -f3); $(cut -d' ' -f1-3 /proc/loadavg) load"
cat "$work/orders.csv" >/dev/null
for round in $(seq "$rounds"); do
	# Who is first takes turns, too.
	if [ $((round % 2)) -eq 1 ]; then once before; once after; else once after; once before; fi
done
python3 - "$work/figures" <<'PY'
import statistics, sys
runs = {"before": [], "after": []}
for line in open(sys.argv[1]):
    f = line.split()
    runs[f[0]].append((float(f[1].replace(",", "")), float(f[8]), float(f[-2])))
def show(what, i, better):
    b, a = (statistics.median(r[i] for r in runs[k]) for k in ("before", "after"))
    pairs = [y[i] / x[i] for x, y in zip(runs["before"], runs["after"])]
    print(f"{what:22} before {b:>12,.2f}   after {a:>12,.2f}   ratio {a / b:.3f} (rounds {min(pairs):.3f} to {max(pairs):.3f}; {better})")
show("records/s, median", 0, "less than 0.9 is too slow")
show("CPU s/million, median", 1, "more than 1.1 is too much")
show("peak MiB, median", 2, "")
PY
