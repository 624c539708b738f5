#!/usr/bin/env bash
# Test a checkpoint on the GPUs of one or several nodes; see dist_train.sh.
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [flags of tools/test.py]

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
usage 3 "$@"
run_torchrun "$3" test.py "$1" "$2" "${@:4}"
