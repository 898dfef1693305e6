// SPDX-License-Identifier: Apache-2.0
#pragma once
// What run_app does before the task: ranks, options, backend.

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "lsd/apps/run_app.h"
#include "lsd/backends/make_backend.h"
#include "lsd/core/command_line.h"
#include "lsd/dist/host_communicator.h"

namespace lsd::apps {

// An error that every rank knows of, so that all can end in an orderly way; one of them tells it.
class StartupError : public std::runtime_error {
 public:
  StartupError(const std::string& message, bool tell_here) : std::runtime_error(message), tell_here_(tell_here) {}
  bool tell_here() const { return tell_here_; }

 private:
  bool tell_here_;
};

// Runs `body` on every rank; when it throws on any, throws StartupError on all. `body` may use collectives only where
// all ranks behave alike.
void together(dist::HostCommunicator& ranks, const std::function<void()>& body);

// Reads on rank 0; every rank gets its bytes, or its error.
ConfigSchema::ReadText read_on_root(dist::HostCommunicator& ranks);
// Refuses ranks that were started with other options than rank 0.
void require_same_options(dist::HostCommunicator& ranks, const std::string& options);
backends::BackendOptions backend_options(const CommandLine& line, dist::HostCommunicator& ranks);
std::string help_text(const AppInfo& info, const ConfigSchema& schema);
std::string version_text(const AppInfo& info);

}  // namespace lsd::apps
