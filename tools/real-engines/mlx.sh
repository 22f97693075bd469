#!/usr/bin/env bash
# A real mlx_lm.server with a random tiny model, and a chat through Signalbox to it.
#
#   tools/real-engines/mlx.sh [SIGNALBOX]    with no SIGNALBOX: the engine alone
#
# Where PyPI is reachable: makes an environment in .cache/ (about 350 MB, once), installs mlx-lm with
# the CPU build of mlx, writes the model and starts the server on a free port. Ends all it started.
# Prints one line per step; the last is "mlx: ok", "mlx: skipped: why" (exit 0) or "mlx: failed: why".
set -uo pipefail
cd "$(dirname "$0")"

signalbox=${1:+$(cd "$OLDPWD" && realpath "$1")}
cache=$PWD/.cache
env=$cache/mlx
work=$(mktemp -d)
pids=

finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap finish EXIT
say() { printf 'mlx: %s\n' "$*"; }
skip() { say "skipped: $*"; exit 0; }
fail() { tail -n 15 "$work"/*.log 2>/dev/null; say "failed: $*"; exit 1; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Waits up to 60 s until GET $1 answers.
answers() {
    for _ in $(seq 300); do
        curl -fsS -m 2 -o /dev/null "$1" 2>/dev/null && return 0
        sleep 0.2
    done
    return 1
}

# Prints the text that the model's chat at $1 answers with; temperature 0.
chat() {
    curl -fsS -m 60 "$1/v1/chat/completions" -H 'content-type: application/json' \
        -d "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],\"max_tokens\":16,\"temperature\":0}" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["choices"][0]["message"]["content"])'
}

if [ ! -x "$env/bin/mlx_lm.server" ]; then
    python3 -c 'import ensurepip' 2>/dev/null || skip "this python3 cannot make an environment (python3-venv)"
    python3 -m venv "$env" || skip "no environment in $env"
    "$env/bin/pip" install -q 'mlx-lm==0.32.2' 'mlx[cpu]==0.32.4' >"$work/pip.log" 2>&1 || { rm -rf "$env"; skip "pip does not reach its index"; }
fi
say "mlx-lm $("$env/bin/python" -c 'from importlib.metadata import version as v; print(v("mlx-lm"), "on mlx", v("mlx"))')"

model=$work/tiny
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
"$env/bin/python" make_mlx_model.py "$model" >"$work/model.log" 2>&1 || fail "the model could not be written"

engine=http://127.0.0.1:$(free_port)
"$env/bin/mlx_lm.server" --model "$model" --host 127.0.0.1 --port "${engine##*:}" >"$work/engine.log" 2>&1 &
pids="$pids $!"
answers "$engine/v1/models" || fail "mlx_lm.server did not start"
direct=$(chat "$engine") || fail "mlx_lm.server did not answer a chat"
say "the engine alone said: $direct"

end_last() {
    kill "${pids##* }" 2>/dev/null
    wait "${pids##* }" 2>/dev/null
    pids=${pids% *}
}

# A chat and a stream through the Signalbox at $1, described by $2: the same text as the engine alone gives.
compare() {
    local through events
    answers "$1/routablez" || fail "$2: no eligible worker"
    through=$(chat "$1") || fail "$2: no chat"
    [ "$through" = "$direct" ] || fail "$2: the texts differ: $through"
    events=$(curl -fsS -N -m 60 "$1/v1/chat/completions" -H 'content-type: application/json' \
        -d "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],\"max_tokens\":16,\"temperature\":0,\"stream\":true}" |
        grep -c '^data: ') || fail "$2: no stream"
    say "$2: the same text, and a stream of $events events"
}

if [ -n "$signalbox" ]; then
    port=$(free_port) bus=$(free_port)
    cat >"$work/backend.yaml" <<YAML
cluster: { mode: controller, nats: { mode: "off" }, controller: { port: $port } }
backends: { mlx: { url: "$engine", model: "$model" } }
YAML
    "$signalbox" controller --config "$work/backend.yaml" >"$work/backend.log" 2>&1 &
    pids="$pids $!"
    compare "http://127.0.0.1:$port" "as a backend"
    end_last

    port=$(free_port)
    printf 'mlx-%s' "$RANDOM$RANDOM" >"$work/token"
    cat >"$work/controller.yaml" <<YAML
cluster:
  mode: controller
  controller: { port: $port }
  nats: { mode: embedded, embedded: { port: $bus, tokenFile: "$work/token" } }
YAML
    cat >"$work/worker.yaml" <<YAML
cluster:
  mode: worker
  nats: { mode: external, serverUrl: "nats://127.0.0.1:$bus", tokenFile: "$work/token" }
  worker: { workerId: mlx, engines: [{ kind: openai, url: "$engine", models: ["$model"] }] }
YAML
    "$signalbox" controller --config "$work/controller.yaml" >"$work/controller.log" 2>&1 &
    pids="$pids $!"
    "$signalbox" worker --config "$work/worker.yaml" >"$work/worker.log" 2>&1 &
    pids="$pids $!"
    compare "http://127.0.0.1:$port" "behind a worker"
    end_last
fi
say ok
