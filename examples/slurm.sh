#!/bin/bash
# Trains on one or several nodes of a SLURM cluster, and goes on after the time limit.
#
#   sbatch examples/slurm.sh --config coco/psformer_R50_2x OUTPUT_DIR output/mine
#   sbatch --nodes 4 examples/slurm.sh --config coco/psformer_R50_2x SOLVER.IMS_PER_BATCH 64
#
# Arguments are those of `psformer train`; --resume is added. All nodes must see OUTPUT_DIR. Five
# minutes before the time limit the training saves a checkpoint, and the job is queued again.
#SBATCH --job-name=psformer
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

PYTHON=${PYTHON:-.venv/bin/python}
NODES=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER=${NODES%%$'\n'*} # `| head -n 1` ends the script now and then: scontrol gets SIGPIPE
PORT=$((20000 + SLURM_JOB_ID % 10000)) # two jobs may share a node
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# SIGTERM goes to the processes of the training, not to this script.
again=
trap 'again=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1

# A task a node, in which torchrun starts a process a GPU.
srun --kill-on-bad-exit=1 --cpus-per-task "${SLURM_CPUS_PER_TASK:-1}" \
  "$PYTHON" -m torch.distributed.run \
  --nnodes "$SLURM_JOB_NUM_NODES" \
  --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
  --rdzv-backend c10d \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-endpoint "$MASTER:$PORT" \
  -m d2_psformer train --resume "$@" &
step=$!

status=0
wait "$step" || status=$?
if [ "$again" ]; then
  status=0
  wait "$step" || status=$? # the first wait ended with the signal
  if [ "$status" -ne 0 ]; then
    echo "The time limit is near: the training is stopped and queued again."
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
  fi
fi
exit "$status"
