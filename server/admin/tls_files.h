// The TLS context of the admin listener, from the same files as that of gRPC, which are read again
// after listen.tls-reload-seconds. gRPC's own context cannot be used by others.
//
// Threads: Context may be called from any thread.
#ifndef DT_SERVER_ADMIN_TLS_FILES_H_
#define DT_SERVER_ADMIN_TLS_FILES_H_

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "openssl/ssl.h"
#include "server/rpc/tls.h"

namespace dt::admin {

class TlsFiles {
 public:
  explicit TlsFiles(rpc::TlsOptions options) : options_(std::move(options)) {}

  // As the files are now; as they were when last they were good, where they are not. Null only if
  // they never were.
  std::shared_ptr<SSL_CTX> Context();

 private:
  std::shared_ptr<SSL_CTX> Read() const;

  const rpc::TlsOptions options_;
  absl::Mutex mutex_;
  std::shared_ptr<SSL_CTX> context_ ABSL_GUARDED_BY(mutex_);
  absl::Time read_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_TLS_FILES_H_
