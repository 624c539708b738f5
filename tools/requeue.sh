# shellcheck shell=bash disable=SC2034  # The sourcing scripts read `status`.
# Functions that the job scripts (*.sbatch) share by sourcing this file.

# For a task of an array, SLURM_JOB_ID alone could mean the whole array.
job=$SLURM_JOB_ID
[[ -n ${SLURM_ARRAY_JOB_ID:-} ]] &&
    job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

limit_near=0
on_limit() {
    limit_near=1
    scancel --signal=USR1 "$job" # The tasks save and exit.
}

# run_step [options of srun] COMMAND ...: set status
run_step() {
    trap on_limit USR1
    # srun does not inherit this option of the job by itself.
    export SRUN_CPUS_PER_TASK=${SRUN_CPUS_PER_TASK:-${SLURM_CPUS_PER_TASK:-1}}
    srun "$@" &
    local srun=$!
    status=0
    wait "$srun" || status=$?
    while kill -0 "$srun" 2> /dev/null; do # The trap interrupts `wait`.
        status=0
        wait "$srun" || status=$?
    done
}

# If a job is preempted, Slurm sends SIGTERM to its tasks only. After they have
# exited, Slurm would treat the job as completed.
preempted() {
    scontrol show job "$job" | grep -q 'PreemptTime=[0-9]'
}

requeue() {
    local starts=$((${SLURM_RESTART_COUNT:-0} + 1))
    if ((starts > ${MAX_REQUEUES:-100})); then
        echo "Started $starts times: not requeued. Raise MAX_REQUEUES?" >&2
        exit 1
    fi
    echo "Start $starts ended before it was done (status $status): requeued."
    scontrol requeue "$job"
}
