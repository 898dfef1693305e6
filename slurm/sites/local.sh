# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# One machine without site rules: mpirun, programs of this checkout, runs/ in the checkout. LSD_RANKS says how many ranks.
LSD_LAUNCHER=${LSD_LAUNCHER:-mpirun}
set -a
# shellcheck source=cmake/mpi.env
source cmake/mpi.env # cores are shared, root may start ranks
set +a
