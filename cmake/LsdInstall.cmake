# SPDX-License-Identifier: Apache-2.0
# cmake --install: <prefix>/bin has the programs, <prefix>/share/lsd what they are run with (configs, Slurm scripts, the
# bundled sample), laid out as in the checkout. Nothing in there names the prefix but the module file, so that the whole
# may be moved.
include(GNUInstallDirs)
set(LSD_SHARE "${CMAKE_INSTALL_DATAROOTDIR}/lsd")

get_property(programs GLOBAL PROPERTY LSD_PROGRAMS)
install(TARGETS ${programs} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(DIRECTORY configs slurm DESTINATION "${LSD_SHARE}" USE_SOURCE_PERMISSIONS PATTERN "this_site.sh" EXCLUDE)
install(DIRECTORY data_prep DESTINATION "${LSD_SHARE}" USE_SOURCE_PERMISSIONS)
install(FILES cmake/mpi.env DESTINATION "${LSD_SHARE}/cmake")
install(FILES LICENSE README.md DESTINATION "${LSD_SHARE}")
install(DIRECTORY docs/ DESTINATION "${CMAKE_INSTALL_DOCDIR}")

# The module file knows where it was installed to.
install(CODE "
  set(LSD_VERSION \"${PROJECT_VERSION}\")
  set(LSD_PREFIX \"\${CMAKE_INSTALL_PREFIX}\")
  configure_file(\"${PROJECT_SOURCE_DIR}/packaging/modulefiles/lsd.in\"
    \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${LSD_SHARE}/modulefiles/lsd/${PROJECT_VERSION}\" @ONLY)")
