#include "tests/rpc/scratch_dir.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/catch.h"

namespace dt::testing {

ScratchDir::ScratchDir() {
  path_ = (std::filesystem::temp_directory_path() / "dt-rpc-test-XXXXXX").string();
  REQUIRE(mkdtemp(path_.data()) != nullptr);
}

ScratchDir::~ScratchDir() { std::filesystem::remove_all(path_); }

std::string ScratchDir::Path(std::string_view name) const {
  return path_ + "/" + std::string(name);
}

std::string ScratchDir::Write(std::string_view name, std::string_view text) const {
  const std::string fresh = Path("fresh");
  {
    std::ofstream file(fresh, std::ios::binary);
    file << text;
    REQUIRE(file.flush());
  }
  std::filesystem::rename(fresh, Path(name));
  return Path(name);
}

}  // namespace dt::testing
