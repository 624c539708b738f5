#!/usr/bin/env bash
# Train on a Slurm cluster, one task a GPU; without GPUs, on CPUs.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR \
#       [flags of tools/train.py]
#
# From the environment: GPUS (8 in all by default), GPUS_PER_NODE (8, or GPUS
# if that is less), CPUS_PER_TASK (5), SRUN_ARGS (more options of srun),
# PY_ARGS (more flags of tools/train.py). With REQUEUE=1 it is submitted by
# sbatch, as train.sbatch, and goes on by itself after every time limit;
# SRUN_ARGS are sbatch's then.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
usage 4 "$@"
slurm_options "$1" "$2"
if ((${REQUEUE:-0})); then
    mkdir -p "$4"
    export TOOLS PYTHON
    exec sbatch --output "$4/slurm-%j.log" "${OPTIONS[@]}" \
        "$TOOLS/train.sbatch" "$3" "$4" "${@:5}" "${PY_ARGS[@]}"
fi
run_srun train.py "$3" --work-dir "$4" "${@:5}"
