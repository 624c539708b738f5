#!/usr/bin/env bash
# Train on the GPUs of a node, with one process for each GPU, or on its CPU if
# there are no GPUs.
#
#   tools/dist_train.sh CONFIG GPUS [flags of tools/train.py]
#
# For several nodes, run it on each node with NNODES, NODE_RANK (0, 1, ...) and
# MASTER_ADDR, the address of node 0. PORT is a port of node 0, by default
# 29500.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
usage 2 "$@"
run_torchrun "$2" train.py "$1" "${@:3}"
