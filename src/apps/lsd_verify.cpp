// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"
#include "lsd/tasks/verify.h"

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::VerifyConfig>(
      {.name = "lsd_verify",
       .summary = "Checks shards, checkpoints, dumps and probe results for damage and missing files",
       .example = "lsd_verify runs/shards runs/nm runs/latents --json=runs/verify.json",
       .needs_backend = false,
       .words_key = "folders"},
      argc, argv, lsd::tasks::verify);
}
