# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034  # read by other files
# The site of the tests: what they set in their environment, and Open MPI on a machine that is shared.
LSD_GPUS_PER_NODE=0
set -a
# shellcheck source=cmake/mpi.env
source cmake/mpi.env
set +a
