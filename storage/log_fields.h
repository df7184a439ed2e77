// What lines of the log are about, as fields of their own beside their text, for those who read the
// log with a program (deploy/LOG.md). They hold for the lines that a thread logs in a scope:
//
//   const LogFields fields({{log_field::kTaskHub, hub}, {log_field::kInstanceId, id}});
//   spdlog::warn("...");
//
// Threads: each has its own; loggers format in the thread that logs.
#ifndef DT_STORAGE_LOG_FIELDS_H_
#define DT_STORAGE_LOG_FIELDS_H_

#include <string>
#include <string_view>
#include <vector>

namespace dt {

namespace log_field {

inline constexpr char kTaskHub[] = "task_hub";
inline constexpr char kInstanceId[] = "instance_id";
inline constexpr char kExecutionId[] = "execution_id";
inline constexpr char kWorkerId[] = "worker_id";
inline constexpr char kDurationMs[] = "duration_ms";  // a number

}  // namespace log_field

class LogFields {
 public:
  struct Field {
    const char* name;   // of log_field
    std::string value;  // empty: there is none
  };

  explicit LogFields(std::vector<Field> fields) : fields_(std::move(fields)), outer_(innermost_) {
    innermost_ = this;
  }
  ~LogFields() { innermost_ = outer_; }
  LogFields(const LogFields&) = delete;
  LogFields& operator=(const LogFields&) = delete;

  // Calls visitor(name, value) for each field of this thread's scopes that has a value, the
  // innermost first.
  template <typename Visitor>
  static void Visit(Visitor visitor) {
    for (const LogFields* scope = innermost_; scope != nullptr; scope = scope->outer_) {
      for (const Field& field : scope->fields_) {
        if (!field.value.empty()) visitor(std::string_view(field.name), field.value);
      }
    }
  }

 private:
  inline static thread_local const LogFields* innermost_ = nullptr;

  const std::vector<Field> fields_;
  const LogFields* const outer_;
};

}  // namespace dt

#endif  // DT_STORAGE_LOG_FIELDS_H_
