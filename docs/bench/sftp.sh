#!/usr/bin/env bash
# sftp.sh [ROUNDS]: pulls a 200 MB file from an sshd on the loopback, turn and turn about with OpenSSH's own
# `sftp get` and with ingestd's sftp source, in one run, and prints the ratio of their speeds (1 = as fast).
# ingestd also looks at the file before and after, and syncs it to disk; OpenSSH does not.
set -euo pipefail
cd "$(dirname "$0")/../.."
.ci/need sshd sftp
out=$(go test -run '^$' -bench BenchmarkFetch -benchtime "${1:-5}x" ./ingest/source/sftp)
awk '/^BenchmarkFetch/ {
	for (i = 3; i < NF; i += 2) v[$(i + 1)] = $i
	printf "OpenSSH sftp get  %8.1f MB/s\ningestd           %8.1f MB/s, %.0f MiB of heap\nratio             %8.2f\n",
		v["OpenSSH-MB/s"], v["our-MB/s"], v["heap-MiB"], v["of-OpenSSH'"'"'s-speed"]
	seen = 1
}
END { exit !seen }' <<<"$out" || { echo "$out" >&2; exit 1; }
