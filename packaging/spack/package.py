# SPDX-License-Identifier: Apache-2.0
"""Spack recipe, checked for syntax only: see packaging/README.md."""

from spack.package import *


class Lsd(CMakePackage, CudaPackage):
    """Latent Space Diffusion for protein sequences (arXiv:2503.18551): autoencoders, diffusion on their latents,
    probes. C++20 and MPI, CPU and CUDA."""

    # There is no release archive: packaging/README.md says what to put here, or how to do without.
    # git = "<address of the repository>"
    homepage = "https://arxiv.org/abs/2503.18551"
    license("Apache-2.0")

    version("main", branch="main")

    variant("nccl", default=True, when="+cuda", description="Gradients between GPUs through NCCL")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("python@3.9:", type="test")
    depends_on("py-h5py", type="test")
    depends_on("py-numpy", type="test")

    depends_on("mpi")
    depends_on("boost+program_options")
    depends_on("eigen@3.4:")
    depends_on("fmt@9:")
    depends_on("hdf5@1.10:")  # each rank writes files of its own: no parallel HDF5 needed
    depends_on("isa-l")
    depends_on("nlohmann-json@3.11:")
    depends_on("onednn@2.6:3")
    depends_on("xxhash@0.8:")
    depends_on("zlib-api")
    depends_on("zstd")
    depends_on("googletest+gmock", type="test")
    depends_on("nccl", when="+nccl")

    generator("ninja")

    def cmake_args(self):
        # One build holds code for all GPUs from Ampere on: cuda_arch changes nothing.
        return [
            self.define("LSD_WITH_CUDA", "ON" if self.spec.satisfies("+cuda") else "OFF"),
            self.define("LSD_BUILD_TESTS", self.run_tests),
        ]

    def setup_run_environment(self, env):
        env.set("LSD_HOME", self.prefix.share.lsd)
        env.set("LSD_BIN", self.prefix.bin)
