#!/usr/bin/env bash
# sftp-server.sh [ROUNDS]: puts 200 MB with OpenSSH's sftp into ingestd and into sshd, in turns, and compares
# the medians. Needs openssh-client and openssh-server. Run it from the root of the repository.
set -euo pipefail

rounds=${1:-5}
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
PATH=$PATH:/usr/sbin

CGO_ENABLED=0 go build -trimpath -o "$dir/ingestd" ./cmd/ingestd
head -c 200000000 /dev/urandom > "$dir/big"
ssh-keygen -q -t ed25519 -N '' -f "$dir/id"
ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
mkdir -p "$dir/sshd"
[ "$(id -u)" -eq 0 ] && mkdir -p /run/sshd
cat > "$dir/sshd.conf" <<X
Port 22901
ListenAddress 127.0.0.1
HostKey $dir/host
AuthorizedKeysFile $dir/id.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
Subsystem sftp internal-sftp
X
cat > "$dir/ingestd.yaml" <<X
state_dir: $dir/state
admin: {listen: "unix:$dir/admin.sock"}
sftp_server:
  listen: 127.0.0.1:22900
  users: {bench: {authorized_keys: ["$(cat "$dir/id.pub")"], home: $dir/home}}
sinks: {out: {type: stdout}}
pipelines: {p: {source: {type: sftp_drop, user: bench, match: [never]}, sinks: [out]}}
X
"$(command -v sshd)" -D -f "$dir/sshd.conf" -E "$dir/sshd.log" &
"$dir/ingestd" run -c "$dir/ingestd.yaml" > "$dir/ingestd.log" 2>&1 &

put() { # port user path
	sftp -q -b - -P "$1" -i "$dir/id" -F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null "$2@127.0.0.1" <<< "put $dir/big $3" > /dev/null 2>&1
}
until put 22900 bench /big && put 22901 "$(id -un)" "$dir/sshd/big"; do sleep 0.2; done

timed() {
	local from
	from=$(date +%s%N)
	"${@:2}"
	echo $((($(date +%s%N) - from) / 1000000)) >> "$dir/$1"
}
for _ in $(seq "$rounds"); do
	timed ingestd.ms put 22900 bench /big
	timed sshd.ms put 22901 "$(id -un)" "$dir/sshd/big"
done
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
a=$(median "$dir/ingestd.ms") b=$(median "$dir/sshd.ms")
echo "ingestd: $(tr '\n' ' ' < "$dir/ingestd.ms")ms, median $a ms, $((200000 / a)) MB/s"
echo "sshd:    $(tr '\n' ' ' < "$dir/sshd.ms")ms, median $b ms, $((200000 / b)) MB/s"
echo "ingestd has $((100 * b / a)) % of the speed of sshd"
