# SPDX-License-Identifier: Apache-2.0
"""Spack recipe, checked for syntax only: see packaging/README.md."""

from spack.package import *


class Lsd(CMakePackage, CudaPackage):
    """Latent Space Diffusion for protein sequences (arXiv:2503.18551): autoencoders, diffusion on their latents,
    probes. C++20 and MPI, CPU and CUDA."""

    # Without a public release archive: `spack develop lsd@main` in a checkout, or give `git` the address of a clone.
    homepage = "https://arxiv.org/abs/2503.18551"
    license("Apache-2.0")

    version("main", branch="main")

    variant("nccl", default=True, when="+cuda", description="Gradients between GPUs through NCCL")
    conflicts("+cuda", when="cuda_arch=none", msg="name the GPUs: cuda_arch=80 (A100), 90 (H100)")

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
    depends_on("onednn@2.6:2")
    depends_on("xxhash@0.8:")
    depends_on("zlib-api")
    depends_on("zstd")
    depends_on("googletest+gmock", type="test")
    depends_on("nccl", when="+nccl")

    generator("ninja")

    def cmake_args(self):
        args = [
            self.define("LSD_WITH_CUDA", "ON" if self.spec.satisfies("+cuda") else "OFF"),
            self.define("LSD_BUILD_TESTS", self.run_tests),
        ]
        if self.spec.satisfies("+cuda"):
            args.append(self.define("CMAKE_CUDA_ARCHITECTURES", ";".join(self.spec.variants["cuda_arch"].value)))
        return args

    def setup_run_environment(self, env):
        env.set("LSD_HOME", self.prefix.share.lsd)
        env.set("LSD_BIN", self.prefix.bin)
