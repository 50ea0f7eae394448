#!/bin/sh
# airunner, from nothing to an exit code: `make demo` runs this. Everything it makes is in one
# temporary folder, and everything it starts is gone at its end.
set -eu

airunner=$(cd "$(dirname "${AIRUNNER:-.venv/bin/airunner}")" && pwd)/airunner
demo=$(mktemp -d)
server= worker= journals=
stop() {
    code=$?
    trap - EXIT INT TERM
    for process in $worker $server $journals; do # in this order: a worker hands its jobs back
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    [ "$code" -eq 0 ] || cat "$demo"/*.log >&2 2>/dev/null || true
    rm -rf "$demo"
    exit "$code"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$demo"

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
wait_for() { # EVENT FILE: copy log lines to the file until one tells of the event
    while read -r line; do
        printf '%s\n' "$line" >>"$2"
        case $line in *"\"event\": \"$1\""*) return ;; esac
    done
    echo "ended before it was $1" >&2
    exit 1
}
serve() { # ADDRESS: start the server on the demo's own file of jobs, until it listens
    JWT_PUBLIC_KEY=$(cat keys/public.pem) "$airunner" server --listen "$1" --log-format json \
        --store "sqlite:$demo/jobs.db" \
        --tls-cert certs/server.pem --tls-key certs/server-key.pem 2>server &
    server=$!
    exec 3<server
    wait_for listening server.log <&3
    cat <&3 >>server.log &
    journal=$!
    journals="$journals $journal"
}
show() {
    printf '$ airunner %s\n' "$*"
    "$airunner" "$@"
}

say "A git repository with something to build, and to test"
mkdir shop
cat >shop/build.sh <<'SCRIPT'
for part in cart checkout receipts; do
    sleep 0.4
    echo "compiling $part"
done
echo "built $(git log -1 --format='%h (%s)'), attempt $AIRUNNER_ATTEMPT"
SCRIPT
cat >shop/test.sh <<'SCRIPT'
echo "3 tests, 1 failure: receipts" >&2
exit 3
SCRIPT
git -C shop init -q -b main
git -C shop add .
git -C shop -c user.name=demo -c user.email=demo@example.invalid commit -q -m "Open the shop"
git -C shop log --oneline

say "Certificates for TLS, and a key pair that signs tokens"
show certs --dir certs
show keys --dir keys

say "A server, and a worker that may run two jobs at once"
mkfifo server worker
serve 127.0.0.1:0
AIRUNNER_SERVER=$(sed -n 's/.*"address": *"\([^"]*\)".*/\1/p' server.log)
echo "the server listens on $AIRUNNER_SERVER"

JWT_SIGNING_KEY=$(cat keys/signing.pem)
AIRUNNER_CA_CERT=$demo/certs/ca.pem
export AIRUNNER_SERVER AIRUNNER_CA_CERT JWT_SIGNING_KEY
AIRUNNER_TOKEN=$("$airunner" token --subject builder --role worker --ttl 1h) \
    "$airunner" worker --name builder --slots 2 --allow-local-repositories \
    --work-dir "$demo/work" --log-format json 2>worker &
worker=$!
exec 4<worker
wait_for connected worker.log <&4
cat <&4 >>worker.log &
journals="$journals $!"
echo "the worker has connected"
AIRUNNER_TOKEN=$("$airunner" token --subject you --role user --ttl 1h)
export AIRUNNER_TOKEN
unset JWT_SIGNING_KEY

say "A job: clone the repository, run a command in it, watch its output come in"
show submit shop -- sh build.sh

say "A job of steps, of which one fails: its exit code is that of submit"
code=0
echo "$ airunner submit --step 'sh build.sh' --step 'sh test.sh' --step 'sh release.sh' shop"
"$airunner" submit --step 'sh build.sh' --step 'sh test.sh' --step 'sh release.sh' shop || code=$?
echo "exit code $code"
[ "$code" -eq 3 ]

say "A job that kills the server which it came from: the next one on its file goes on"
show submit -- sh -c "echo before; kill -9 $server; sleep 1; echo after" &
job=$!
wait "$server" 2>/dev/null || true
wait "$journal" || true # or it would read what the next server says, in our place
serve "$AIRUNNER_SERVER"
wait "$job"
show verify "$("$airunner" list --json | sed -n '1s/^{"id": "\([^"]*\)".*/\1/p')"

say "A script in a terminal of its own, from a job file"
cat >job.yaml <<'JOB'
name: terminal
script: |
  test -t 1
  echo "this is a terminal, $(stty size | tr ' ' x) big"
shell: bash -e
processType: pty
terminal: {rows: 40, columns: 120}
timeout: 1m
JOB
show submit --config job.yaml

say "What has happened"
show list
printf '\nThat was it. The server and the worker stop now, and nothing is left.\n'
