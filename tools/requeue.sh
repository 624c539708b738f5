# shellcheck shell=bash disable=SC2034  # those that source it read them
# What the job scripts (*.sbatch) share; sourced by them.

# this task of an array, whose plain number means all of them
job=$SLURM_JOB_ID
[[ -n ${SLURM_ARRAY_JOB_ID:-} ]] &&
    job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

limit_near=0
on_limit() {
    limit_near=1
    scancel --signal=USR1 "$job" # to the tasks: they save and end
}

# run_step [options of srun] COMMAND ...: set status
run_step() {
    trap on_limit USR1
    # the job's, which srun would not take over by itself
    export SRUN_CPUS_PER_TASK=${SRUN_CPUS_PER_TASK:-${SLURM_CPUS_PER_TASK:-1}}
    srun "$@" &
    local srun=$!
    status=0
    wait "$srun" || status=$?
    while kill -0 "$srun" 2> /dev/null; do # the trap ends `wait` early
        status=0
        wait "$srun" || status=$?
    done
}

# Of a job that has to make way, the tasks alone are told, by SIGTERM. Once
# they have ended, Slurm would take the job for done.
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
