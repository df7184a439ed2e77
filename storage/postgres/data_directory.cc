#include "storage/postgres/data_directory.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "fmt/format.h"

namespace dt::postgres {
namespace {

constexpr int kLinksMax = 40;  // of one path, as in Linux
constexpr size_t kLineBytesMax = 4096;
constexpr size_t kPathBytesMax = 4096;

absl::Status PathError(const std::string& what, const std::string& path, int error) {
  return absl::FailedPreconditionError(fmt::format("{} {}: {}", what, path, std::strerror(error)));
}

std::string NameOfUser(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16 << 10);
  getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  return found != nullptr ? fmt::format("user {}", entry.pw_name) : fmt::format("uid {}", uid);
}

// Root can do no more harm to itself, and the caller none that he could not do anyway.
bool IsTrusted(uid_t owner) { return owner == 0 || owner == geteuid(); }

// Goes a path from / and makes what is missing.
class Walk {
 public:
  explicit Walk(const std::string& path) : path_(path) { Push(path); }

  absl::StatusOr<Descriptor> Go() {
    here_ = Descriptor(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    while (here_.open() && !names_.empty()) {
      std::string name = std::move(names_.front());
      names_.pop_front();
      if (absl::Status status = Step(name); !status.ok()) return status;
    }
    Descriptor directory(openat(here_.number(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.open()) return Failed(errno);
    return directory;
  }
  bool made_last() const { return made_last_; }

 private:
  void Push(const std::string& path) {
    std::vector<std::string> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
    names_.insert(names_.begin(), parts.begin(), parts.end());
  }

  absl::Status Failed(int error) const {
    return absl::FailedPreconditionError(
        fmt::format("cannot make the data directory {}: {}; choose another one with --data-dir",
                    path_, std::strerror(error)));
  }

  absl::Status Step(const std::string& name) {
    Descriptor next = OpenNext(name);
    made_last_ = false;
    if (!next.open() && errno == ENOENT) {
      made_last_ = mkdirat(here_.number(), name.c_str(), 0777) == 0;
      if (!made_last_ && errno != EEXIST) return Failed(errno);
      next = OpenNext(name);
    }
    struct stat found {};
    if (!next.open() || fstat(next.number(), &found) != 0) return Failed(errno);
    if (S_ISLNK(found.st_mode)) return Follow(name, next.number(), found);
    if (!S_ISDIR(found.st_mode)) return Failed(ENOTDIR);
    here_ = std::move(next);
    return absl::OkStatus();
  }

  Descriptor OpenNext(const std::string& name) const {
    return Descriptor(openat(here_.number(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  }

  absl::Status Follow(const std::string& name, int link, const struct stat& found) {
    if (geteuid() == 0 && !IsTrusted(found.st_uid)) {
      return absl::FailedPreconditionError(fmt::format(
          "the path of the data directory {} leads over the symbolic link {} of {}, who could send "
          "root anywhere by it; name the directory itself with --data-dir",
          path_, name, NameOfUser(found.st_uid)));
    }
    std::string target(kPathBytesMax, '\0');
    const ssize_t size = readlinkat(link, "", target.data(), target.size());
    if (size < 0) return Failed(errno);
    if (++links_ > kLinksMax) return Failed(ELOOP);
    target.resize(size);
    if (target[0] == '/') here_ = Descriptor(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    Push(target);
    return absl::OkStatus();
  }

  const std::string path_;
  std::deque<std::string> names_;  // that are still to go
  Descriptor here_;
  int links_ = 0;
  bool made_last_ = false;
};

}  // namespace

absl::StatusOr<DataDirectory> DataDirectory::Open(std::string path, SystemUser server) {
  Walk walk(path);
  absl::StatusOr<Descriptor> opened = walk.Go();
  if (!opened.ok()) return opened.status();
  DataDirectory directory(std::move(path), std::move(server), *std::move(opened));
  if (absl::Status status = directory.CheckDirectory(); !status.ok()) return status;
  // PostgreSQL's user must reach the two directories inside, no more.
  if (walk.made_last() && !directory.server_.is_caller &&
      fchmod(directory.descriptor(), 0711) != 0) {
    return PathError("cannot set the rights of", directory.path_, errno);
  }
  return directory;
}

absl::Status DataDirectory::CheckDirectory() const {
  struct stat found {};
  if (fstat(descriptor(), &found) != 0) return PathError("cannot look at", path_, errno);
  const bool of_server = !server_.is_caller && found.st_uid == server_.uid;
  if (!IsTrusted(found.st_uid) && !(of_server && UsedBefore())) {
    return absl::FailedPreconditionError(fmt::format(
        "the data directory {} belongs to {}, who could send this program to other files by "
        "symbolic links in it; start this program as its owner, or choose another directory with "
        "--data-dir, or `chown {}` this one",
        path_, NameOfUser(found.st_uid), geteuid()));
  }
  const bool by_group = (found.st_mode & S_IWGRP) != 0 && found.st_gid != 0;
  if (geteuid() == 0 && (by_group || (found.st_mode & S_IWOTH) != 0)) {
    return absl::FailedPreconditionError(fmt::format(
        "others may write into the data directory {}, which root shall use; `chmod go-w` it, or "
        "choose another one with --data-dir",
        path_));
  }
  return absl::OkStatus();
}

// Only root makes files of root, and another name of one counts as a second link.
bool DataDirectory::UsedBefore() const {
  struct stat lock {};
  return fstatat(descriptor(), kLockFile, &lock, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(lock.st_mode) && lock.st_uid == 0 && lock.st_nlink == 1;
}

bool DataDirectory::Has(const std::string& name) const {
  struct stat found {};
  return fstatat(descriptor(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0;
}

absl::StatusOr<Descriptor> DataDirectory::Checked(const std::string& name, int descriptor) const {
  const int error = errno;
  Descriptor opened(descriptor);
  if (!opened.open() && (error == ELOOP || error == ENOTDIR)) {
    return absl::FailedPreconditionError(
        fmt::format("{} is a symbolic link, or not what this program has made under this name; "
                    "remove it, or choose another directory with --data-dir",
                    PathOf(name)));
  }
  struct stat found {};
  if (!opened.open()) return PathError("cannot open", PathOf(name), error);
  if (fstat(opened.number(), &found) != 0) return PathError("cannot look at", PathOf(name), errno);
  const bool good_file = S_ISREG(found.st_mode) && found.st_nlink == 1;
  if (good_file || S_ISDIR(found.st_mode)) {
    if (IsTrusted(found.st_uid) || found.st_uid == server_.uid) return opened;
    return absl::FailedPreconditionError(
        fmt::format("{} belongs to {}; remove it, or choose another directory with --data-dir",
                    PathOf(name), NameOfUser(found.st_uid)));
  }
  return absl::FailedPreconditionError(
      fmt::format("{} is no regular file with a single name; remove it, or choose another "
                  "directory with --data-dir",
                  PathOf(name)));
}

absl::StatusOr<Descriptor> DataDirectory::OpenFile(const std::string& name, bool append) const {
  // Nothing waits at a pipe that somebody has put there.
  const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  return Checked(name, openat(descriptor(), name.c_str(), append ? flags | O_APPEND : flags,
                              S_IRUSR | S_IWUSR));
}

absl::StatusOr<Descriptor> DataDirectory::OpenDirectory(const std::string& name) const {
  return Checked(
      name, openat(descriptor(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

absl::StatusOr<Descriptor> DataDirectory::MakePrivateDirectory(const std::string& name) const {
  if (mkdirat(descriptor(), name.c_str(), 0700) != 0 && errno != EEXIST) {
    return PathError("cannot make the directory", PathOf(name), errno);
  }
  absl::StatusOr<Descriptor> made = OpenDirectory(name);
  if (!made.ok()) return made.status();
  if (fchown(made->number(), server_.uid, server_.gid) != 0 || fchmod(made->number(), 0700) != 0) {
    return PathError("cannot give PostgreSQL the directory", PathOf(name), errno);
  }
  return made;
}

absl::Status DataDirectory::Remove(const std::string& name) const {
  // By way of the descriptor; inside of it the library follows no symbolic link.
  std::error_code error;
  std::filesystem::remove_all(fmt::format("/proc/self/fd/{}/{}", descriptor(), name), error);
  return error ? PathError("cannot remove", PathOf(name), error.value()) : absl::OkStatus();
}

absl::Status DataDirectory::Rename(const std::string& from, const std::string& to) const {
  if (renameat(descriptor(), from.c_str(), descriptor(), to.c_str()) == 0) return absl::OkStatus();
  return PathError(fmt::format("cannot rename {} to", from), PathOf(to), errno);
}

std::string FirstLineOf(int file) {
  std::string text(kLineBytesMax, '\0');
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : got);
  return text.substr(0, text.find('\n'));
}

std::string FirstLineIn(int directory, const std::string& name) {
  const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const Descriptor file(openat(directory, name.c_str(), flags));
  struct stat found {};
  if (!file.open() || fstat(file.number(), &found) != 0 || !S_ISREG(found.st_mode)) return {};
  return FirstLineOf(file.number());
}

}  // namespace dt::postgres
