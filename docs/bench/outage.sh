#!/usr/bin/env bash
# An outage: 40 pipelines whose target answers 503 for OUTAGE_MINUTES (10), 5 others whose target is well.
# Usage: [OUTAGE_MINUTES=2] docs/bench/outage.sh [BINARY]     prints a table in Markdown
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${1:-bin/ingestd}
[ $# -gt 0 ] || make -s build
tool=$(mktemp "${TMPDIR:-/tmp}/ingestd-outage.XXXXXX")
trap 'rm -f "$tool"' EXIT
CGO_ENABLED=0 go build -o "$tool" ./docs/bench/outage
"$tool" -ingestd "$binary" -outage "${OUTAGE_MINUTES:-10}m"
