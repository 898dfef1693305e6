// SPDX-License-Identifier: Apache-2.0
#pragma once
// Errors, as every layer throws them. Only `run_app` catches: libraries never print and never exit.
// A message says what is wrong (file, record, line where there is one), why it matters, and what to do.

#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lsd {

enum class ErrorKind {
  user,      // a wrong option, config key or request: the user can mend it
  data,      // a damaged or unsuitable input file
  system,    // the machine said no: disk, MPI, HDF5, CUDA
  internal,  // a broken promise inside this program: our bug
  peer,      // another rank or the way to it was lost: the run itself is sound and can go on from what is finished
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, std::source_location where = std::source_location::current());

  // Adds one line on the way up, innermost first ("while reading shard 12 of 40").
  void add_context(std::string line);

  // Message, then the context lines; internal errors also name their source line.
  const char* what() const noexcept override { return text_.c_str(); }
  ErrorKind kind() const noexcept { return kind_; }
  const std::string& message() const noexcept { return message_; }

 private:
  void rebuild_text();

  ErrorKind kind_;
  std::string message_;
  std::source_location where_;
  std::vector<std::string> context_;
  std::string text_;
};

class UserError : public Error {
 public:
  explicit UserError(std::string message, std::source_location where = std::source_location::current())
      : Error(ErrorKind::user, std::move(message), where) {}
};
class DataError : public Error {
 public:
  explicit DataError(std::string message, std::source_location where = std::source_location::current())
      : Error(ErrorKind::data, std::move(message), where) {}
};
class SystemError : public Error {
 public:
  explicit SystemError(std::string message, std::source_location where = std::source_location::current())
      : Error(ErrorKind::system, std::move(message), where) {}
};
class PeerLostError : public Error {
 public:
  explicit PeerLostError(std::string message, std::source_location where = std::source_location::current())
      : Error(ErrorKind::peer, std::move(message), where) {}
};
class InternalError : public Error {
 public:
  explicit InternalError(std::string message, std::source_location where = std::source_location::current())
      : Error(ErrorKind::internal, std::move(message), where) {}
};

// Throws InternalError when a promise of ours is broken. For input that users hand in, throw UserError or DataError.
void check(bool condition, std::string_view promise, std::source_location where = std::source_location::current());

// Runs `body`; an Error that passes through gains `context` as a line.
template <class Body>
decltype(auto) with_context(std::string_view context, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    error.add_context(std::string(context));
    throw;
  }
}

}  // namespace lsd
