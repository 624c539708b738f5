# shellcheck shell=bash
# Functions that dist_*.sh and slurm_*.sh share by sourcing this file.
set -euo pipefail
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH=$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}
PYTHON=${PYTHON:-python}

# usage WANTED "$@": print the head of the script if arguments are missing
usage() {
    local wanted=$1
    shift
    if (($# < wanted)); then
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
        exit 2
    fi
}

# run_torchrun GPUS TOOL [ARGUMENT ...]
run_torchrun() {
    local gpus=$1 nodes=${NNODES:-1}
    local meet=(--nnodes "$nodes" --node-rank "${NODE_RANK:-0}"
        --master-addr "${MASTER_ADDR:-127.0.0.1}"
        --master-port "${PORT:-29500}")
    if ((nodes == 1)) && [[ -z ${PORT:-} ]]; then
        # Use a free port, so that two runs on a node do not collide.
        meet=(--standalone --local-addr 127.0.0.1)
    fi
    # torchrun passes these signals on to the processes, which may then save.
    export TORCHELASTIC_SIGNALS_TO_HANDLE=${TORCHELASTIC_SIGNALS_TO_HANDLE:-SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1}
    exec "$PYTHON" -m torch.distributed.run "${meet[@]}" \
        --nproc-per-node "$gpus" "$TOOLS/$2" "${@:3}" --launcher pytorch
}

# slurm_options PARTITION JOB_NAME: set OPTIONS of srun or sbatch, and PY_ARGS
slurm_options() {
    local gpus=${GPUS:-8} per_node
    per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    OPTIONS=(--partition "$1" --job-name "$2" --ntasks "$gpus"
        --ntasks-per-node "$per_node"
        --cpus-per-task "${CPUS_PER_TASK:-5}")
    # Slurm rejects a job that asks for GPUs on nodes without any.
    if [[ $(sinfo --noheader --partition "$1" --format %G) == *gpu* ]]; then
        OPTIONS+=(--gres "gpu:$per_node")
    fi
    local -a more
    read -ra more <<< "${SRUN_ARGS:-}"
    OPTIONS+=("${more[@]}")
    read -ra PY_ARGS <<< "${PY_ARGS:-}"
}

# run_srun TOOL [ARGUMENT ...]
run_srun() {
    exec srun "${OPTIONS[@]}" --kill-on-bad-exit=1 \
        "$PYTHON" -u "$TOOLS/$1" "${@:2}" "${PY_ARGS[@]}" --launcher slurm
}
