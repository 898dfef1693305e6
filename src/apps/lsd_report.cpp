// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"
#include "lsd/tasks/report.h"

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::ReportConfig>(
      {.name = "lsd_report",
       .summary = "Tables and figures from probe results and training runs",
       .example = "lsd_report --results=runs/probes --runs=runs/nm,runs/diffusion_nm --directory=runs/report",
       .needs_backend = false,
       .uses_ranks = false},
      argc, argv, lsd::tasks::report);
}
