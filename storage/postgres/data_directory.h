// The directory that a private cluster lives in, opened once: whatever is made, opened, renamed or
// given away in it goes through its descriptor. The caller is often root, and then a name that
// somebody else may change must not lead him elsewhere.
//
// What is trusted
//   the directory   belongs to root or to the caller; or to the user that PostgreSQL runs as, when
//                   the caller is root and has used it before. For root nobody else may write in it
//   what is in it   is a directory or a regular file with one name, of the caller, of root or of
//                   the user that PostgreSQL runs as; never a symbolic link
//   the way to it   may lead through directories of anybody, since they are followed only once.
//                   For root it leads through symbolic links of root only
//
// Errors are kFailedPrecondition, name the path and say what to do.
//
// Threads. Any, after Open.
#ifndef DT_STORAGE_POSTGRES_DATA_DIRECTORY_H_
#define DT_STORAGE_POSTGRES_DATA_DIRECTORY_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/postgres/child_process.h"
#include "storage/postgres/descriptor.h"

namespace dt::postgres {

class DataDirectory {
 public:
  // A file of root's that says that this program has used the directory before.
  static constexpr char kLockFile[] = "lock";

  // Opens the directory of this absolute path, and makes what is missing of it. `server` is the
  // user that PostgreSQL runs as: a directory that was made lets him pass.
  static absl::StatusOr<DataDirectory> Open(std::string path, SystemUser server);

  int descriptor() const { return directory_.number(); }
  // For messages, and for others who need a path.
  std::string PathOf(const std::string& name) const { return path_ + "/" + name; }
  // True also for what OpenFile and OpenDirectory refuse.
  bool Has(const std::string& name) const;

  // Makes the file (0600) if it is missing. Reads and appends, or writes anywhere.
  absl::StatusOr<Descriptor> OpenFile(const std::string& name, bool append) const;
  absl::StatusOr<Descriptor> OpenDirectory(const std::string& name) const;
  // Makes the directory if it is missing, and gives it to PostgreSQL's user alone (0700).
  absl::StatusOr<Descriptor> MakePrivateDirectory(const std::string& name) const;
  // With all that is in it; nothing happens when it is missing.
  absl::Status Remove(const std::string& name) const;
  absl::Status Rename(const std::string& from, const std::string& to) const;

 private:
  DataDirectory(std::string path, SystemUser server, Descriptor directory)
      : path_(std::move(path)), server_(std::move(server)), directory_(std::move(directory)) {}
  absl::Status CheckDirectory() const;
  bool UsedBefore() const;
  absl::StatusOr<Descriptor> Checked(const std::string& name, int descriptor) const;

  std::string path_;
  SystemUser server_;
  Descriptor directory_;
};

// The first line of a file in this directory; empty when it cannot be read, or is a symbolic link
// or no file.
std::string FirstLineIn(int directory, const std::string& name);
// The first line of an open file.
std::string FirstLineOf(int file);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_DATA_DIRECTORY_H_
