#!/usr/bin/env bash
# Runs all tests and benchmarks that need a GPU, in about twelve minutes, the
# most important first:
#
#     bash tools/benchmarks/gpu_check.sh FOLDER
#
# Each part has its own timeout and writes its log and results to FOLDER
# (default: $OUT, or gpu_check) while it runs, so that an interrupted run
# leaves results. FOLDER/summary.txt says how each part ended. TOY=1 runs the
# same parts on a CPU with small sizes in seconds, to test the script.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-${OUT:-gpu_check}}")
mkdir -p "$out"
python=${PYTHON:-python3}
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 CUBLAS_WORKSPACE_CONFIG=:4096:8
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
toy=${TOY:-0}
failed=0

part() {  # NAME SECONDS COMMAND...: run a part, and print how it ended
  local name=$1 limit=$2 begun=$SECONDS status
  shift 2
  timeout --kill-after=10 "$limit" "$@" >"$out/$name.log" 2>&1
  status=$?
  [ $status -eq 0 ] || failed=1
  echo "$name: exit $status after $((SECONDS - begun)) s" |
    tee -a "$out/summary.txt"
}

{ date -u; git rev-parse HEAD 2>/dev/null; nvidia-smi -L 2>/dev/null; } \
  >"$out/summary.txt"

# (a) Tests: are results right, and does no step wait for the GPU?
tests=("$python" -m pytest -q -m gpu -p no:cacheprovider tests/gpu)
if [ "$toy" = 1 ]; then
  export MMANCHOR_TEST_DEVICE=cpu
  part tests 300 "${tests[@]}" -k 'step_is_that and convolution'
else
  part tests 300 "${tests[@]}"
fi

# (b) Cost in comparison with the standard model.
cases=(train/anchored test/folded test/single test/mean test/naive-mean
  test/transduction test/adaptive)
if [ "$toy" = 1 ]; then
  networks=(mmpretrain::resnet/resnet18_8xb16_cifar10.py)
  settings=(--batch-size 2 --rounds 1 --warmup 0 --min-seconds 0
    --num-references 2 --num-candidates 3 --num-residuals 2)
  cases=(train/anchored test/folded)
else
  networks=(mmpretrain::resnet/resnet50_8xb32_in1k.py
    mmpretrain::vision_transformer/vit-base-p16_64xb64_in1k.py
    mmpretrain::swin_transformer_v2/swinv2-tiny-w8_16xb64_in1k-256px.py)
  settings=(--device cuda --amp --batch-size 64 --rounds 10)
fi
for network in "${networks[@]}"; do
  name=$(basename "$network" .py)
  part "cost-$name" 100 "$python" tools/benchmark.py "$network" \
    "${settings[@]}" --cases "${cases[@]}" --out "$out/cost-$name"
done
overhead=("$python" tools/benchmarks/step_overhead.py --size 1)
if [ "$toy" = 1 ]; then
  overhead+=(--batch-size 8 --rounds 2 --steps 2 --mask-by sample)
fi
part overhead 120 "${overhead[@]}"

# (c) The study, with many cells on one GPU at the same time.
study=("$python" tools/study.py "${STUDY:-evidence}"
  --on "${GROUND:-cifar10-folders-30e}" --work-dir "$out/study")
if [ "$toy" = 1 ]; then
  part study-cells 120 "$python" tools/study.py masking --on digits \
    --work-dir "$out/study" --list
else
  workers=()
  for cell in $(seq 0 $((${CELLS:-8} - 1))); do
    part "study-$cell" "${STUDY_SECONDS:-240}" \
      "${study[@]}" --cell "$cell" --device cuda &
    workers+=($!)
  done
  wait "${workers[@]}"
  part study-report 30 "${study[@]}" --report
fi
exit $failed
