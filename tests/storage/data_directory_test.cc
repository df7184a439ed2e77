// The directory of `dev` in the hands of somebody else: what root must not be led to by it. These
// need root, who alone can make the files of others; without PostgreSQL.
#include "storage/postgres/data_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

namespace fs = std::filesystem;
using testing::MustBeOk;
using testing::ValueOf;

constexpr uid_t kStranger = 65534;
constexpr uid_t kServer = 65533;

// A directory that goes at the end, with `data` of root, and with a directory and a file that
// nobody may touch.
class Ground {
 public:
  Ground() {
    path = (fs::temp_directory_path() / "dt-ground-XXXXXX").string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
    fs::create_directory(path + "/data");
    fs::create_directory(path + "/victim");
    REQUIRE(chmod((path + "/victim").c_str(), 0750) == 0);
    std::ofstream(path + "/victim/file") << "precious";
  }
  ~Ground() { fs::remove_all(path); }

  // A symbolic link of the stranger's.
  void Link(const std::string& target, const std::string& name) const {
    fs::create_symlink(path + "/" + target, path + "/" + name);
    Give(name, kStranger);
  }
  void Give(const std::string& name, uid_t user) const {
    REQUIRE(lchown((path + "/" + name).c_str(), user, user) == 0);
  }
  bool Unharmed() const {
    struct stat directory {};
    if (stat((path + "/victim").c_str(), &directory) != 0) return false;
    std::ostringstream text;
    text << std::ifstream(path + "/victim/file").rdbuf();
    const auto files = std::distance(fs::directory_iterator(path + "/victim"), {});
    return directory.st_uid == 0 && (directory.st_mode & 07777) == 0750 && files == 1 &&
           text.str() == "precious";
  }
  absl::StatusOr<DataDirectory> Open(const std::string& name = "data") const {
    SystemUser server;
    server.name = "server";
    server.uid = kServer;
    server.gid = kServer;
    server.is_caller = false;
    return DataDirectory::Open(path + "/" + name, server);
  }
  std::string path;
};

bool IsRoot() {
  if (geteuid() == 0) return true;
  WARN("only root can make files of other users");
  return false;
}

// Refused, for this reason.
void CheckRefused(const absl::Status& status, const std::string& reason) {
  INFO(status.ToString());
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(std::string(status.message()).find(reason) != std::string::npos);
  CHECK(std::string(status.message()).find("--data-dir") != std::string::npos);
}

TEST_CASE("data_directory_of_another_user_is_refused") {
  if (!IsRoot()) return;
  const Ground ground;
  ground.Give("data", kStranger);
  CheckRefused(ground.Open().status(), "belongs to");
  // That a stranger's lock is there says nothing, nor that one of root's has a second name there.
  std::ofstream(ground.path + "/data/lock") << "1\n";
  CheckRefused(ground.Open().status(), "belongs to");

  // PostgreSQL's own user may own it, but not before root has used it.
  ground.Give("data", kServer);
  CHECK(ground.Open().ok());
  ground.Give("data/lock", kServer);
  CheckRefused(ground.Open().status(), "belongs to");
  fs::remove(ground.path + "/data/lock");
  CheckRefused(ground.Open().status(), "belongs to");
  fs::create_hard_link(ground.path + "/victim/file", ground.path + "/data/lock");
  CheckRefused(ground.Open().status(), "belongs to");
}

TEST_CASE("data_directory_in_which_others_may_write_is_refused_for_root") {
  if (!IsRoot()) return;
  const Ground ground;
  const std::string data = ground.path + "/data";
  for (mode_t mode : {0777, 01777, 0757}) {
    REQUIRE(chmod(data.c_str(), mode) == 0);
    CheckRefused(ground.Open().status(), "others may write");
  }
  REQUIRE(chmod(data.c_str(), 0775) == 0);
  CHECK(ground.Open().ok());  // its group is root
  REQUIRE(chown(data.c_str(), 0, kStranger) == 0);
  REQUIRE(chmod(data.c_str(), 0775) == 0);
  CheckRefused(ground.Open().status(), "others may write");
}

TEST_CASE("data_directory_follows_no_symbolic_link_of_others_on_its_way") {
  if (!IsRoot()) return;
  const Ground ground;
  fs::create_directory(ground.path + "/home");
  ground.Give("home", kStranger);
  ground.Link("victim", "home/direct");
  CheckRefused(ground.Open("home/direct").status(), "symbolic link direct");
  CheckRefused(ground.Open("home/direct/made").status(), "symbolic link direct");
  ground.Link("home/nothing", "home/dangling");
  CheckRefused(ground.Open("home/dangling").status(), "symbolic link dangling");
  CHECK(ground.Unharmed());

  // Root's own are followed, and directories of others are no harm.
  fs::create_symlink("../data", ground.path + "/home/own");
  const DataDirectory data = ValueOf(ground.Open("home/own/deep/down"));
  MustBeOk(data.OpenFile("file", false).status());
  CHECK(fs::exists(ground.path + "/data/deep/down/file"));
  fs::create_symlink("round", ground.path + "/round");
  CheckRefused(ground.Open("round").status(), "Too many levels");
}

TEST_CASE("data_directory_follows_no_link_inside") {
  if (!IsRoot()) return;
  const Ground ground;
  const DataDirectory data = ValueOf(ground.Open());
  ground.Link("victim", "data/directory");
  CheckRefused(data.MakePrivateDirectory("directory").status(), "symbolic link");
  CheckRefused(data.OpenDirectory("directory").status(), "symbolic link");
  ground.Link("victim/file", "data/file");
  CheckRefused(data.OpenFile("file", false).status(), "symbolic link");
  CheckRefused(data.OpenFile("file", true).status(), "symbolic link");
  CHECK(FirstLineIn(data.descriptor(), "file").empty());
  ground.Link("victim/made", "data/missing");
  CheckRefused(data.OpenFile("missing", true).status(), "symbolic link");
  fs::create_hard_link(ground.path + "/victim/file", ground.path + "/data/hard");
  CheckRefused(data.OpenFile("hard", false).status(), "single name");
  REQUIRE(mkfifo((ground.path + "/data/pipe").c_str(), 0600) == 0);
  CheckRefused(data.OpenFile("pipe", false).status(), "single name");
  CHECK(FirstLineIn(data.descriptor(), "pipe").empty());

  // What is removed is the link, and the one inside.
  MustBeOk(data.Remove("directory"));
  MustBeOk(data.MakePrivateDirectory("directory").status());
  ground.Link("victim", "data/directory/inside");
  MustBeOk(data.Remove("directory"));
  CHECK_FALSE(data.Has("directory"));
  CHECK(ground.Unharmed());
}

TEST_CASE("data_directory_takes_nothing_of_others_inside") {
  if (!IsRoot()) return;
  const Ground ground;
  const DataDirectory data = ValueOf(ground.Open());
  fs::create_directory(ground.path + "/data/socket");
  ground.Give("data/socket", kStranger);
  CheckRefused(data.MakePrivateDirectory("socket").status(), "belongs to");
  std::ofstream(ground.path + "/data/lock") << "x";
  ground.Give("data/lock", kStranger);
  CheckRefused(data.OpenFile("lock", false).status(), "belongs to");
  ground.Give("data/lock", kServer);
  CHECK(data.OpenFile("lock", false).ok());
}

TEST_CASE("data_directory_is_not_left_when_its_name_leads_elsewhere") {
  if (!IsRoot()) return;
  const Ground ground;
  const DataDirectory data = ValueOf(ground.Open("home/data"));
  fs::rename(ground.path + "/home", ground.path + "/away");
  fs::create_directory(ground.path + "/home");
  ground.Link("victim", "home/data");
  MustBeOk(data.OpenFile("lock", false).status());
  MustBeOk(data.MakePrivateDirectory("socket").status());
  MustBeOk(data.Rename("socket", "other"));
  CHECK(ground.Unharmed());
  CHECK(fs::exists(ground.path + "/away/data/lock"));
  struct stat made {};
  REQUIRE(stat((ground.path + "/away/data/other").c_str(), &made) == 0);
  CHECK(made.st_uid == kServer);
  CHECK((made.st_mode & 07777) == 0700);
  REQUIRE(stat((ground.path + "/away/data").c_str(), &made) == 0);
  CHECK((made.st_mode & 07777) == 0711);
}

}  // namespace
}  // namespace dt::postgres
