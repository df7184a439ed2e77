// A directory of a test's own, deleted with all that is in it.
#ifndef DT_TESTS_RPC_SCRATCH_DIR_H_
#define DT_TESTS_RPC_SCRATCH_DIR_H_

#include <string>
#include <string_view>

namespace dt::testing {

class ScratchDir {
 public:
  ScratchDir();
  ~ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;

  std::string Path(std::string_view name) const;
  // Puts a file there, in one step: who reads it sees the old text or the new one. Its path.
  std::string Write(std::string_view name, std::string_view text) const;

 private:
  std::string path_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_RPC_SCRATCH_DIR_H_
