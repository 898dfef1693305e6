// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"
#include "lsd/tasks/probe.h"

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::ProbeConfig>(
      {.name = "lsd_probe",
       .summary = "Probes frozen features on a task: one result file per representation, t, head and seed",
       .example = "mpirun -n 2 lsd_probe --config configs/demo/probe.cfg --features.autoencoder=runs/nm "
                  "--run.directory=runs/probes"},
      argc, argv, lsd::tasks::probe);
}
