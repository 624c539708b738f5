#!/usr/bin/env bash
# Runs all tests and benchmarks that need a GPU, in about twelve minutes, the
# most important first:
#
#     bash tools/benchmarks/gpu_check.sh FOLDER
#
# Beside them, several processes run a study (STUDY on GROUND, WORKERS of them):
# one training of a small network leaves most of a GPU idle. The study is paused
# while costs are measured, and goes on until the time is over.
#
# Each part has a time limit of its own; together they leave a minute of the
# twelve, and no part gets more than what is left of it. After each part FOLDER
# (default: $OUT, or gpu_check) has an archive of all logs and results so far,
# without weights, and summary.txt, which says how each part ended, so that an
# interrupted run leaves results. TOY=1 runs the same parts on a CPU with small
# sizes in seconds, to test the script.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-${OUT:-gpu_check}}")
mkdir -p "$out"
parts=$(mktemp -d)
workers=()  # the processes of the study
trap 'signal_study KILL; rm -rf "$parts"' EXIT
python=${PYTHON:-python3}
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 CUBLAS_WORKSPACE_CONFIG=:4096:8
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
toy=${TOY:-0}
all=690  # seconds
patience=1
if [ "$toy" = 1 ]; then patience=10; fi  # a CPU may be busy
failed=0

part() {  # NAME SECONDS COMMAND...: run a part, and print how it ended
  local name=$1 limit=$(($2 * patience)) begun=$SECONDS status left
  shift 2
  left=$((all * patience - begun))
  if [ "$limit" -gt $left ]; then limit=$left; fi
  if [ "$limit" -lt 5 ]; then
    status='none, no time was left'
  else
    timeout --kill-after=5 "$limit" "$@" >"$parts/$name.log" 2>&1
    status=$?
  fi
  [ "$status" = 0 ] || failed=1
  echo "$name: exit $status after $((SECONDS - begun)) of $limit s" |
    tee -a "$out/summary.txt"
  pack
  [ "$status" = 0 ]
}

pack() {  # one archive, since few files may leave a lent machine
  tar -C "$parts" --exclude='*.pth' -czf "$out/.results.tar.gz" .
  mv "$out/.results.tar.gz" "$out/results.tar.gz"
}

signal_study() {  # SIGNAL: send it to all processes of the study
  if [ ${#workers[@]} -gt 0 ]; then kill "-$1" "${workers[@]}" 2>/dev/null; fi
}

{ date -u; git rev-parse HEAD 2>/dev/null; nvidia-smi -L 2>/dev/null; } \
  >"$out/summary.txt"

study=("$python" tools/study.py "${STUDY:-evidence}"
  --on "${GROUND:-cifar10-5k}" --work-dir "$parts/study")
if [ "$toy" = 0 ]; then
  for i in $(seq "${WORKERS:-12}"); do
    "${study[@]}" --device cuda >"$parts/study-$i.log" 2>&1 &
    workers+=($!)
  done
fi

# (a) Tests: are results right, and does no step wait for the GPU?
tests=("$python" -m pytest -q -m gpu -p no:cacheprovider tests/gpu)
if [ "$toy" = 1 ]; then
  export MMANCHOR_TEST_DEVICE=cpu
  part tests 210 "${tests[@]}" -k 'step_is_that and norm'
else
  part tests 210 "${tests[@]}"
fi

# (b) Cost in comparison with the standard model, on a quiet GPU.
signal_study STOP
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
  part "cost-$name" 70 "$python" tools/benchmark.py "$network" \
    "${settings[@]}" --cases "${cases[@]}" --out "$parts/cost-$name"
done
overhead=("$python" tools/benchmarks/step_overhead.py --size 1
  --rounds 8)
if [ "$toy" = 1 ]; then
  overhead+=(--batch-size 8 --rounds 2 --steps 2 --mask-by sample)
fi
part overhead 40 "${overhead[@]}"

# (c) The study has what is left of the time.
signal_study CONT
if [ "$toy" = 1 ]; then
  part study-cells 60 "$python" tools/study.py masking --on digits \
    --work-dir "$parts/study" --list
else
  while signal_study 0 && [ $SECONDS -lt $((all - 40)) ]; do sleep 1; done
  signal_study TERM  # each process ends after its step
  for worker in "${workers[@]}"; do
    wait "$worker"
    case $? in 0 | 75 | 143) ;; *) failed=1 ;; esac
  done
  part study-report 20 "${study[@]}" --report
fi
exit $failed
