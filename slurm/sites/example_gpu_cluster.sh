# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034  # other files read what is set here
# A cluster with GPU nodes, Slurm with PMIx, environment modules. Copy to this_site.sh and edit; docs/running_on_slurm.md
# explains every line. It is read on the login node (pipeline.sh) and again inside every job.

# Where jobs go. sbatch itself reads SBATCH_*, so after `source slurm/sites/this_site.sh` in a login shell
# plain `sbatch slurm/train_nm_m.sh` obeys them too.
export SBATCH_PARTITION=gpu
export SBATCH_ACCOUNT=my_project
# export SBATCH_QOS=normal
# export SBATCH_CONSTRAINT=h100

# GPUs of one node, and as many ranks there for training, dumps and diffusion; 0 asks for none.
LSD_GPUS_PER_NODE=${LSD_GPUS_PER_NODE:-8}

# Programs: modules and an installation ...
# module load gcc openmpi hdf5 cuda
LSD_BIN=${LSD_BIN:-$PWD/build/bin}
# ... or a container: LSD_BIN is then a path inside it, and it must see the file systems of the data, runs and this folder.
# LSD_BIN=/opt/lsd/bin
# LSD_WRAPPER=(apptainer exec --nv --bind /scratch /path/to/lsd.sif)
# Programs that find no GPU shall end with an error rather than go on without.
LSD_PROGRAM_OPTIONS=(--backend cuda)

# Start of the ranks. Under srun the MPI library must speak what `srun --mpi=list` offers; pmix is the one for Open MPI.
LSD_LAUNCHER=${LSD_LAUNCHER:-srun}
LSD_SRUN_MPI=${LSD_SRUN_MPI:-pmix}
LSD_LAUNCH_OPTIONS=(--cpu-bind=cores)

# What one rank sustains, in 10^12 operations/s: each training then tells its time ahead (docs/running_on_slurm.md).
# export LSD_TFLOPS=400

# Data and runs, on a file system that all nodes see.
LSD_RUNS=${LSD_RUNS:-/scratch/$USER/lsd_runs}
LSD_FASTA=${LSD_FASTA:-/scratch/$USER/uniref50.fasta.gz}
LSD_TASKS=${LSD_TASKS:-/scratch/$USER/lsd_tasks}
