#!/usr/bin/env bash
# Train on a Slurm cluster, with one task for each GPU, or on CPUs if there are
# no GPUs.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR \
#       [flags of tools/train.py]
#
# Environment variables: GPUS (total number, by default 8), GPUS_PER_NODE (by
# default 8, or GPUS if that is less), CPUS_PER_TASK (by default 5), SRUN_ARGS
# (more options of srun) and PY_ARGS (more flags of tools/train.py). With
# REQUEUE=1, sbatch submits train.sbatch, which resumes after every time limit;
# SRUN_ARGS are then options of sbatch.

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
