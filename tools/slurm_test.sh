#!/usr/bin/env bash
# Test a checkpoint on a Slurm cluster, one task a GPU; without GPUs, on CPUs.
#
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT \
#       [flags of tools/test.py]
#
# From the environment: what slurm_train.sh takes, but REQUEUE.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
usage 4 "$@"
slurm_options "$1" "$2"
run_srun test.py "${@:3}"
