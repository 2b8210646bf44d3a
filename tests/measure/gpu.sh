#!/usr/bin/env bash
# Everything worth doing in the first minutes on a GPU, in one command that needs no network:
#
#     bash tests/measure/gpu.sh                 all of it, in MINUTES
#     STEPS=train MINUTES=8 bash ...            training alone, going on with the run in RUN
#     DRY=cpu bash tests/measure/gpu.sh         all of it at toy size on a CPU, as a rehearsal
#
# It needs this checkout; the folder DATA (images/ and labels/, made by gpu_data.py); and wheels in DATA/wheels of what
# the machine's Python lacks of torch, triton, numpy, pillow, safetensors, typer, rich, pytest, pytest-timeout,
# pytest-xdist, hypothesis and av. As a rule that is av alone:
#     pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#         -d gpu-data/wheels 'av>=18.1,<19'
#
# It leaves in OUT, each at most 15 MB: results.tar.gz (log, figures as JSON, history), weights.safetensors (the average
# so far, renewed every minute), and state.00, state.01, ... (what the training resumes from: put them into DATA/resume).
#
# How fast the training should be. ERFNet takes 26.6 GMAC at 512x1024, so 10.0 GMAC for a crop of 384x512, and a step
# three times that: 60 GFLOP an image. At 400 TFLOP/s, half of an H100's measured bf16 product, that is 0.15 ms. Its
# tensors are thin, so memory decides: a crop passes about 10 million elements of 2 bytes about 75 times, 1.5 GB, 0.5 ms
# at 3 TB/s; augmentation and the Lovasz loss's sorting add about 0.2 ms. So about 1,400 images a second are to be
# expected of a batch of 48 without compiling (35 ms a step, well above the 10 to 15 ms that launching its 2,500 kernels
# takes); --compile fuses norms and activations into fewer passes and should reach 2,000 to 2,500. Under 700, look for
# what waits.
set -uo pipefail
cd "$(dirname "$0")/../.."

DRY=${DRY:-}
STEPS=${STEPS:-sanity tests bench train}
MINUTES=${MINUTES:-9}
DATA=${DATA:-gpu-data}
OUT=${OUT:-gpu-out}
RUN=${RUN:-gpu-run}
COMPILE=${COMPILE:-0}
PYTHON=${PYTHON:-python3}
BACKBONE=${BACKBONE:-}

began=$SECONDS
failed=()
mkdir -p "$OUT"
site=$(mktemp -d)
log=$OUT/log.txt
trap 'rm -rf "$site"; [ -n "${copier:-}" ] && kill "$copier" 2>/dev/null' EXIT
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1

if [ "$DRY" = cpu ]; then
    device=cpu sizes="64x96" batches="1 2" many=3 seconds=1 reserve=5 RUN=$OUT/run
    export LMASEG_TEST_DEVICE=cpu
    tests=(-n 0 -k "batches or results_outlive or waits and base or resumes")
    training=(--size 96x128 --crop 64x96 --batch 2 --no-bfloat16)
    rivals=(--size 64x96 --seconds 0)
else
    device=cuda sizes="512x1024 1024x2048" batches="1 8" many=16 seconds=12 reserve=30
    tests=(-n 4)
    training=(--size 480x640 --crop 384x512 --batch 48)
    rivals=(--size 512x1024 --window 21 --dtype bfloat16 --seconds 5)
fi

say() { printf '%4d s  %s\n' $((SECONDS - began)) "$*" | tee -a "$log"; }

# Seconds left for training; a rehearsal takes as long as it takes, and then trains for a moment.
left() { if [ -n "$DRY" ]; then echo 10; else echo $((${MINUTES%.*} * 60 - (SECONDS - began))); fi; }

# attempt NAME LIMIT COMMAND...: its output goes to the log; a failure is remembered and what follows goes on.
attempt() {
    local name=$1 limit=$2
    shift 2
    [ -n "$DRY" ] && limit=900
    say "$name"
    timeout -s INT -k 20 "$limit" "$@" >>"$log" 2>&1
    local code=$?
    [ $code -eq 0 ] && return 0
    say "FAILED with $code: $name"
    tail -n 15 "$log"
    failed+=("$name")
    return 1
}

prepare() {
    if compgen -G "$DATA/wheels/*.whl" >/dev/null; then
        attempt "wheels" 120 "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$DATA"/wheels/*.whl
        export PYTHONPATH=$PYTHONPATH:$site
    fi
    if [ ! -d "$DATA/images" ] && [ "$DRY" = cpu ]; then
        DATA=$OUT/drawn
        [ -d "$DATA/images" ] || attempt "no data to carry: streets are drawn" 120 \
            "$PYTHON" -m tests.street "$DATA" --streets 2 --frames 3 --size 96x128
    fi
}

sanity() { attempt "sanity" 60 "$PYTHON" tests/measure/gpu_sanity.py "$device"; }

tests() { attempt "pytest -m gpu" 240 "$PYTHON" -m pytest -m gpu "${tests[@]}" tests/test_gpu.py tests/test_attention_cuda.py; }

bench() {
    for size in $sizes; do
        for batch in $batches; do
            attempt "bench $size, batch $batch" 120 "$PYTHON" -m lmaseg bench --full --device "$device" --size "$size" \
                --batch "$batch" --seconds "$seconds" --json "$OUT/bench-$size-$batch.json" -y
        done
    done
    attempt "bench, batch $many" 60 "$PYTHON" -m lmaseg bench --device "$device" --size "${sizes%% *}" \
        --batch "$many" --seconds "$((seconds / 2))" --json "$OUT/bench-many.json" -y
    attempt "rivals" 120 "$PYTHON" tests/measure/rivals.py --device "$device" "${rivals[@]}" --json "$OUT/rivals.json"
}

# What a machine that is given back must have left: renewed in place, each file whole or not there.
bring_out() {
    tar -C "$OUT" -czf "$OUT/.results" --exclude=run --exclude=drawn --exclude='state.*' --exclude='*.tar.gz' \
        --exclude='weights.*' --exclude=.results . 2>/dev/null
    mv "$OUT/.results" "$OUT/results.tar.gz"
    [ -d "$RUN" ] || return 0
    cp "$RUN/history.csv" "$RUN/steps" "$OUT/" 2>/dev/null
    for weights in latest final; do
        [ -f "$RUN/$weights.safetensors" ] && cp "$RUN/$weights.safetensors" "$OUT/.weights" &&
            mv "$OUT/.weights" "$OUT/weights.safetensors"
    done
    [ -f "$RUN/state.pt" ] && split -b 15000000 -d "$RUN/state.pt" "$OUT/.state." &&
        for part in "$OUT"/.state.*; do mv "$part" "$OUT/${part##*/.}"; done
}

train() {
    mkdir -p "$RUN"
    if [ ! -f "$RUN/state.pt" ] && compgen -G "$DATA/resume/state.*" >/dev/null; then
        cat "$DATA"/resume/state.* >"$RUN/state.pt"
        cp "$DATA"/resume/{history.csv,steps} "$RUN/"
    fi
    local network=${BACKBONE:-$("$PYTHON" -c 'from lmaseg.models import BACKBONES as b; print("lean" if "lean" in b else "erfnet")')}
    local options=(--folder "$DATA/images" "$DATA/labels" --classes cityscapes "${training[@]}" --device "$device"
        --lr 2e-3 --scale 0.5 2 --rotation 3 --colour 0.7 --lovasz 1 --ema 0.999 --warm-up 300
        --no-val --backbone "$network")
    [ "$COMPILE" = 1 ] && options+=(--compile)
    if [ ! -f "$RUN/steps" ]; then
        # The rate must have fallen to zero when the time is up, so the number of steps comes from a trial.
        local trial
        trial=$(mktemp -d)
        attempt "trial of the training's speed" 150 "$PYTHON" -m lmaseg train "${options[@]}" --steps 1000000 \
            --minutes "$([ -n "$DRY" ] && echo 0.1 || echo 0.6)" --out "$trial/run" || return
        "$PYTHON" tests/measure/gpu_steps.py "$trial/run/history.csv" "$(($(left) - reserve))" >"$trial/steps" &&
            mv "$trial/steps" "$RUN/steps" || { failed+=("steps from the trial"); return; }
        rm -rf "$trial"
    fi
    [ "$(left)" -gt $reserve ] || { say "no time is left to train"; return; }
    say "training $network for $(<"$RUN/steps") steps, $(left) s left"
    (while sleep 60; do bring_out; done) &
    copier=$!
    attempt "training" "$(left)" "$PYTHON" -m lmaseg train "${options[@]}" --steps "$(<"$RUN/steps")" --resume \
        --save-minutes 0.9 --minutes "$("$PYTHON" -c "print(($(left) - $reserve) / 60)")" --out "$RUN"
    kill "$copier" 2>/dev/null
    copier=
}

prepare
for step in $STEPS; do "$step"; done
bring_out
"$PYTHON" tests/measure/gpu_summary.py "$OUT" | tee -a "$log"
if [ ${#failed[@]} -gt 0 ]; then
    say "failed: ${failed[*]}; see $log"
    exit 1
fi
say "all done"
