#include "server/rpc/tls.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "openssl/bio.h"
#include "openssl/err.h"
#include "openssl/evp.h"
#include "openssl/pem.h"
#include "openssl/x509.h"

namespace dt::rpc {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

constexpr char kCertificateSetting[] = "listen.tls-certificate-file";
constexpr char kKeySetting[] = "listen.tls-key-file";
constexpr char kClientCaSetting[] = "listen.tls-client-ca-file";

// A daemon has nobody who could type a pass phrase.
int NoPassPhrase(char*, int, int, void*) { return -1; }

absl::Status Fault(const char* setting, const std::string& file, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("{} '{}': {}", setting, file, what));
}

absl::StatusOr<Bio> Open(const char* setting, const std::string& file) {
  errno = 0;
  Bio bio(BIO_new_file(file.c_str(), "r"), &BIO_free);
  if (bio != nullptr) return bio;
  const int error = errno;
  ERR_clear_error();
  return Fault(setting, file,
               fmt::format("{}; give a PEM file that the daemon's user may read",
                           error == 0 ? "cannot be opened" : std::strerror(error)));
}

absl::StatusOr<Certificate> ReadCertificate(const char* setting, const std::string& file) {
  absl::StatusOr<Bio> bio = Open(setting, file);
  if (!bio.ok()) return bio.status();
  Certificate certificate(PEM_read_bio_X509_AUX(bio->get(), nullptr, &NoPassPhrase, nullptr),
                          &X509_free);
  ERR_clear_error();
  if (certificate == nullptr) return Fault(setting, file, "holds no certificate in PEM form");
  return certificate;
}

absl::StatusOr<Key> ReadKey(const std::string& file) {
  absl::StatusOr<Bio> bio = Open(kKeySetting, file);
  if (!bio.ok()) return bio.status();
  Key key(PEM_read_bio_PrivateKey(bio->get(), nullptr, &NoPassPhrase, nullptr), &EVP_PKEY_free);
  ERR_clear_error();
  if (key == nullptr) {
    return Fault(kKeySetting, file, "holds no private key in PEM form, or an encrypted one");
  }
  return key;
}

}  // namespace

absl::Status CheckTls(const TlsOptions& options) {
  if (!options.enabled()) {
    if (options.key_file.empty() && options.client_ca_file.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format(
        "{} is not set, but {} is: give both the certificate and its key", kCertificateSetting,
        options.key_file.empty() ? kClientCaSetting : kKeySetting));
  }
  if (options.key_file.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "{} is set, but not {}: give the certificate's key", kCertificateSetting, kKeySetting));
  }
  const absl::StatusOr<Certificate> certificate =
      ReadCertificate(kCertificateSetting, options.certificate_file);
  if (!certificate.ok()) return certificate.status();
  const absl::StatusOr<Key> key = ReadKey(options.key_file);
  if (!key.ok()) return key.status();
  const bool match = X509_check_private_key(certificate->get(), key->get()) == 1;
  ERR_clear_error();
  if (!match) {
    return Fault(kKeySetting, options.key_file,
                 fmt::format("is not the key of the first certificate in '{}': give the pair that "
                             "was made together",
                             options.certificate_file));
  }
  if (options.client_ca_file.empty()) return absl::OkStatus();
  return ReadCertificate(kClientCaSetting, options.client_ca_file).status();
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsOptions& options) {
  if (!options.enabled()) return grpc::InsecureServerCredentials();
  const auto seconds = std::max<int64_t>(1, absl::ToInt64Seconds(options.reload_interval));
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      options.key_file, options.certificate_file, options.client_ca_file,
      static_cast<unsigned int>(seconds));
  grpc::experimental::TlsServerCredentialsOptions credentials(provider);
  credentials.watch_identity_key_cert_pairs();
  if (!options.client_ca_file.empty()) {
    credentials.watch_root_certs();
    credentials.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(credentials);
}

}  // namespace dt::rpc
