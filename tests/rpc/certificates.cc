#include "tests/rpc/certificates.h"

#include <atomic>

#include "openssl/bio.h"
#include "openssl/ec.h"
#include "openssl/pem.h"
#include "openssl/x509v3.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

constexpr long kDaySeconds = 24L * 3600;

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

std::string Pem(X509* certificate) {
  BIO* bio = BIO_new(BIO_s_mem());
  REQUIRE(PEM_write_bio_X509(bio, certificate) == 1);
  return TakeText(bio);
}

std::string Pem(EVP_PKEY* key) {
  BIO* bio = BIO_new(BIO_s_mem());
  REQUIRE(PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return TakeText(bio);
}

void AddExtension(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  REQUIRE(extension != nullptr);
  REQUIRE(X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

}  // namespace

Authority::Authority(const std::string& common_name)
    : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free), self_(nullptr, &X509_free) {
  self_ = Make(common_name, key_.get(), nullptr);
  AddExtension(self_.get(), NID_basic_constraints, "critical,CA:TRUE");
  REQUIRE(X509_sign(self_.get(), key_.get(), EVP_sha256()) > 0);
  certificate_ = Pem(self_.get());
}

Identity Authority::Issue(const std::string& common_name,
                          const std::string& alternative_names) const {
  const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const Certificate certificate = Make(common_name, key.get(), self_.get());
  if (!alternative_names.empty()) {
    AddExtension(certificate.get(), NID_subject_alt_name, alternative_names);
  }
  REQUIRE(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0);
  return {Pem(certificate.get()), Pem(key.get())};
}

// `issuer` null = itself.
Authority::Certificate Authority::Make(const std::string& common_name, EVP_PKEY* key,
                                       const X509* issuer) const {
  static std::atomic<int> last_serial = 0;
  Certificate certificate(X509_new(), &X509_free);
  X509_set_version(certificate.get(), 2);  // counted from 0
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++last_serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kDaySeconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kDaySeconds);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  REQUIRE(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                     reinterpret_cast<const unsigned char*>(common_name.c_str()),
                                     -1, -1, 0) == 1);
  REQUIRE(X509_set_issuer_name(certificate.get(),
                               issuer == nullptr ? name : X509_get_subject_name(issuer)) == 1);
  REQUIRE(X509_set_pubkey(certificate.get(), key) == 1);
  return certificate;
}

}  // namespace dt::testing
