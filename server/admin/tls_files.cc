#include "server/admin/tls_files.h"

#include <string>

#include "openssl/err.h"
#include "spdlog/spdlog.h"
#include "storage/steady_clock.h"

namespace dt::admin {

std::shared_ptr<SSL_CTX> TlsFiles::Context() {
  const absl::Time now = SteadyNow();
  absl::MutexLock lock(&mutex_);
  if (context_ != nullptr && now - read_at_ < options_.reload_interval) return context_;
  read_at_ = now;
  // What is wrong is said once by gRPC's side, and here by CheckTls with what to do.
  const absl::Status good = rpc::CheckTls(options_);
  std::shared_ptr<SSL_CTX> read = good.ok() ? Read() : nullptr;
  if (read != nullptr) {
    context_ = std::move(read);
  } else {
    spdlog::warn("the admin listener keeps its certificate, as the files of TLS are not good: {}",
                 good.ok() ? "they cannot be loaded" : std::string(good.message()));
  }
  return context_;
}

std::shared_ptr<SSL_CTX> TlsFiles::Read() const {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  if (context == nullptr) return nullptr;
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Sessions that are resumed would show the certificate of their first connection.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  bool good = SSL_CTX_use_certificate_chain_file(raw, options_.certificate_file.c_str()) == 1 &&
              SSL_CTX_use_PrivateKey_file(raw, options_.key_file.c_str(), SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_check_private_key(raw) == 1;
  if (good && !options_.client_ca_file.empty()) {
    // As for gRPC: asked for, verified where one is shown, and not demanded by the handshake.
    good = SSL_CTX_load_verify_locations(raw, options_.client_ca_file.c_str(), nullptr) == 1;
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  }
  ERR_clear_error();
  return good ? context : nullptr;
}

}  // namespace dt::admin
