#include "tests/rpc/admin_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "fmt/format.h"
#include "openssl/pem.h"
#include "openssl/ssl.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

std::string GetText(const std::string& path, const std::string& headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: here\r\n{}\r\n", path, headers);
}

template <typename Object, typename Read>
Object* FromPem(const std::string& text, Read read) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
  return read(bio.get(), nullptr, nullptr, nullptr);
}

}  // namespace

RawConnection::RawConnection(const std::string& address)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in target = {};
  target.sin_family = AF_INET;
  target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  target.sin_port =
      htons(static_cast<in_port_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str())));
  REQUIRE(connect(fd_, reinterpret_cast<const sockaddr*>(&target), sizeof(target)) == 0);
  const timeval patience = {20, 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

RawConnection::~RawConnection() { close(fd_); }

bool RawConnection::Send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string RawConnection::ReadToEnd() const {
  std::string read;
  char buffer[4096];
  for (;;) {
    const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
    if (got <= 0) return read;
    read.append(buffer, static_cast<size_t>(got));
  }
}

HttpAnswer ParseAnswer(const std::string& bytes) {
  HttpAnswer answer;
  const size_t end = bytes.find("\r\n\r\n");
  if (bytes.rfind("HTTP/1.1 ", 0) != 0 || end == std::string::npos) return answer;
  answer.status = std::atoi(bytes.c_str() + 9);
  answer.headers = bytes.substr(0, end + 2);
  answer.body = bytes.substr(end + 4);
  return answer;
}

HttpAnswer Get(const std::string& address, const std::string& path, const std::string& headers) {
  const RawConnection connection(address);
  connection.Send(GetText(path, headers));
  return ParseAnswer(connection.ReadToEnd());
}

HttpAnswer GetOverTls(const std::string& address, const std::string& path,
                      const std::string& trusted, const Identity& own) {
  const RawConnection connection(address);
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  &SSL_CTX_free);
  const std::unique_ptr<X509, decltype(&X509_free)> authority(
      FromPem<X509>(trusted, PEM_read_bio_X509), &X509_free);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), authority.get());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!own.certificate.empty()) {
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        FromPem<X509>(own.certificate, PEM_read_bio_X509), &X509_free);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        FromPem<EVP_PKEY>(own.key, PEM_read_bio_PrivateKey), &EVP_PKEY_free);
    SSL_CTX_use_certificate(context.get(), certificate.get());
    SSL_CTX_use_PrivateKey(context.get(), key.get());
  }
  const std::unique_ptr<SSL, decltype(&SSL_free)> tls(SSL_new(context.get()), &SSL_free);
  SSL_set_fd(tls.get(), connection.fd());
  std::string read;
  if (SSL_connect(tls.get()) != 1) return {};
  const std::string request = GetText(path, "");
  SSL_write(tls.get(), request.data(), static_cast<int>(request.size()));
  char buffer[4096];
  for (int got = 0; (got = SSL_read(tls.get(), buffer, sizeof(buffer))) > 0;) {
    read.append(buffer, static_cast<size_t>(got));
  }
  return ParseAnswer(read);
}

}  // namespace dt::testing
