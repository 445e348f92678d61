#!/usr/bin/env bash
# A quarter of an hour with a GPU: its tests, the benchmark, then the next trainings that are lacking.
#
#   benchmarks/gpu_quarter.sh PREPARED OUT                 # some 9 minutes on one large GPU
#   TRAIN_ONLY=1 benchmarks/gpu_quarter.sh PREPARED OUT    # 6 minutes: no benchmark
#   benchmarks/gpu_quarter.sh PREPARED OUT --smoke         # tiny sizes, on a CPU too
#
# It needs PyTorch and the packages of the bare install, and no network. Small results go to OUT. Each
# call trains the next runs of gpu_trainings.py that have no results yet, so that it is run again
# whenever a GPU is at hand.
set -uo pipefail
data=$1 out=$2 smoke=${3:-}
TRAIN_ONLY=${TRAIN_ONLY:-}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"
work=$(mktemp -d)
begun=$SECONDS
say() { echo "== $((SECONDS - begun)) s: $*"; }

if [ -z "${TRAIN_ONLY:-}" ]; then
  say "benchmark"
  timeout 170 "$python" benchmarks/gpu.py --only kernels prediction feeding steps --data "$data" \
    --output "$out/gpu.json" $smoke 2>&1 | grep -v -e "Automatic Mixed" -e "Tensor Cores" | cut -c1-900
fi
say "trainings"
"$python" benchmarks/gpu_trainings.py --data "$data" --output "$out" --work "$work" $smoke &
training=$!
say "tests, beside their start"
timeout 200 "$python" -m pytest -q -p no:cacheprovider -m gpu tests/test_gpu.py \
  >"$out/tests.txt" 2>&1
tail -n 40 "$out/tests.txt" | cut -c1-300
wait $training
if [ -z "$smoke$TRAIN_ONLY" ]; then
  say "compiling, alone"
  timeout 150 "$python" benchmarks/gpu.py --only compiled --models oarfocalfusenet \
    --output "$out/compiled.json" 2>&1 | grep milliseconds | cut -c1-300
fi
say "done"
