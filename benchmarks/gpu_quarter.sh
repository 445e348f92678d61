#!/usr/bin/env bash
# A quarter of an hour with a GPU: its tests, the benchmark, then the next trainings that are lacking.
#
#   benchmarks/gpu_quarter.sh PREPARED OUT            # some 8 minutes on one large GPU
#   benchmarks/gpu_quarter.sh PREPARED OUT --smoke    # tiny sizes, on a CPU too
#
# It needs PyTorch and the packages of the bare install, and no network. Small results go to OUT. Each
# call trains the next runs of gpu_trainings.py that have no results yet, so that it is run again
# whenever a GPU is at hand.
set -uo pipefail
data=$1 out=$2 smoke=${3:-}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"
work=$(mktemp -d)
begun=$SECONDS
say() { echo "== $((SECONDS - begun)) s: $*"; }

say "compiling, beside the rest"
for model in oarfocalfusenet msf3d; do
  [ -z "$smoke" ] && timeout 200 "$python" benchmarks/gpu.py --only compiled --models $model \
    --output "$out/compiled-$model.json" >"$work/compiled-$model.txt" 2>&1 &
done
say "benchmark"
timeout 150 "$python" benchmarks/gpu.py --only kernels steps prediction feeding --data "$data" \
  --output "$out/gpu.json" $smoke 2>&1 | grep -v -e "Automatic Mixed" -e "Tensor Cores" | cut -c1-1200
wait
grep -h milliseconds "$work"/compiled-*.txt 2>/dev/null | cut -c1-300
say "trainings"
"$python" benchmarks/gpu_trainings.py --data "$data" --output "$out" --work "$work" $smoke &
training=$!
say "tests, beside their start"
timeout 150 "$python" -m pytest -q -p no:cacheprovider -m gpu tests/test_gpu.py \
  >"$out/tests.txt" 2>&1
tail -n 40 "$out/tests.txt" | cut -c1-300
wait $training
say "done"
