#!/usr/bin/env bash
# Train on the GPUs of a node, one process each; without GPUs, on its CPU.
#
#   tools/dist_train.sh CONFIG GPUS [flags of tools/train.py]
#
# On several nodes, run it on each with NNODES, NODE_RANK (0, 1, ...), and
# MASTER_ADDR, the address of node 0; PORT is that node's, 29500 by default.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
usage 2 "$@"
run_torchrun "$2" train.py "$1" "${@:3}"
