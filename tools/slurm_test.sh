#!/usr/bin/env bash
# Test a checkpoint on a Slurm cluster, with one task for each GPU, or on CPUs
# if there are no GPUs.
#
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT \
#       [flags of tools/test.py]
#
# It reads the same environment variables as slurm_train.sh, except REQUEUE.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
usage 4 "$@"
slurm_options "$1" "$2"
run_srun test.py "${@:3}"
