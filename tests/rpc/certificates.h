// Certificates for tests of TLS, made when they are needed.
#ifndef DT_TESTS_RPC_CERTIFICATES_H_
#define DT_TESTS_RPC_CERTIFICATES_H_

#include <memory>
#include <string>

#include "openssl/evp.h"
#include "openssl/x509.h"

namespace dt::testing {

// A certificate and its key, as PEM.
struct Identity {
  std::string certificate;
  std::string key;
};

// Signs certificates that are valid today.
class Authority {
 public:
  explicit Authority(const std::string& common_name);

  const std::string& certificate() const { return certificate_; }
  // For server and client. `alternative_names` as OpenSSL's configuration writes them:
  // "DNS:a,IP:127.0.0.1,URI:spiffe://..."; empty = none.
  Identity Issue(const std::string& common_name, const std::string& alternative_names) const;

 private:
  using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

  Certificate Make(const std::string& common_name, EVP_PKEY* key, const X509* issuer) const;

  Key key_;
  Certificate self_;
  std::string certificate_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_RPC_CERTIFICATES_H_
