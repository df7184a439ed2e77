#include "server/admin/wire.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "openssl/err.h"
#include "openssl/x509v3.h"
#include "storage/steady_clock.h"

namespace dt::admin {
namespace {

std::string TextOf(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

void AddAlternativeNames(const X509* certificate, std::vector<std::string>& names) {
  auto* const alternatives = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  if (alternatives == nullptr) return;
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(alternatives, i);
    // Those that are text.
    if (name->type == GEN_DNS || name->type == GEN_URI || name->type == GEN_EMAIL) {
      names.push_back(TextOf(name->d.ia5));
    }
  }
  GENERAL_NAMES_free(alternatives);
}

void AddCommonName(const X509* certificate, std::vector<std::string>& names) {
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  const int place = X509_NAME_get_index_by_NID(subject, NID_commonName, /*lastpos=*/-1);
  if (place < 0) return;
  names.push_back(TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place))));
}

}  // namespace

Wire::Wire(int fd, absl::Time deadline, size_t received_bytes_max)
    : fd_(fd), deadline_(deadline), receivable_bytes_(received_bytes_max) {}

Wire::~Wire() { close(fd_); }

void Wire::Cut() const { shutdown(fd_, SHUT_RDWR); }

bool Wire::Await(short events) {
  waiting_.store(true, std::memory_order_relaxed);
  int ready = 0;
  while (ready == 0) {
    const absl::Duration left = deadline_ - SteadyNow();
    if (left <= absl::ZeroDuration()) break;
    pollfd polled = {fd_, events, 0};
    ready =
        poll(&polled, 1, static_cast<int>(absl::ToInt64Milliseconds(left + absl::Milliseconds(1))));
    if (ready < 0 && errno == EINTR) ready = 0;
  }
  waiting_.store(false, std::memory_order_relaxed);
  return ready > 0;
}

bool Wire::AwaitTls(int result) {
  const int error = SSL_get_error(tls_.get(), result);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ) return Await(POLLIN);
  return error == SSL_ERROR_WANT_WRITE && Await(POLLOUT);
}

bool Wire::StartTls(SSL_CTX* context) {
  tls_.reset(SSL_new(context));
  if (tls_ == nullptr || SSL_set_fd(tls_.get(), fd_) != 1) return false;
  for (;;) {
    const int result = SSL_accept(tls_.get());
    if (result == 1) return true;
    if (!AwaitTls(result)) return false;
  }
}

ssize_t Wire::Receive(char* data, size_t size) {
  for (;;) {
    if (tls_ != nullptr) {
      const int got = SSL_read(tls_.get(), data, static_cast<int>(size));
      if (got > 0) return got;
      if (SSL_get_error(tls_.get(), got) == SSL_ERROR_ZERO_RETURN) return 0;
      if (!AwaitTls(got)) return -1;
    } else {
      const ssize_t got = recv(fd_, data, size, 0);
      if (got >= 0) return got;
      if (errno != EAGAIN && errno != EINTR) return -1;
      if (!Await(POLLIN)) return -1;
    }
  }
}

ssize_t Wire::Read(char* data, size_t size) {
  if (begin_ == end_) {
    waiting_.store(false, std::memory_order_relaxed);
    if (receivable_bytes_ == 0) return -1;
    const ssize_t got = Receive(buffer_, std::min(sizeof(buffer_), receivable_bytes_));
    if (got <= 0) return got;
    receivable_bytes_ -= static_cast<size_t>(got);
    begin_ = 0;
    end_ = static_cast<size_t>(got);
  }
  const size_t taken = std::min(size, end_ - begin_);
  std::memcpy(data, buffer_ + begin_, taken);
  begin_ += taken;
  return static_cast<ssize_t>(taken);
}

bool Wire::Write(const char* data, size_t size) {
  while (size > 0) {
    ssize_t sent = 0;
    if (tls_ != nullptr) {
      sent = SSL_write(tls_.get(), data, static_cast<int>(std::min<size_t>(size, 1 << 20)));
      if (sent <= 0 && !AwaitTls(static_cast<int>(sent))) return false;
    } else {
      sent = send(fd_, data, size, MSG_NOSIGNAL);
      if (sent < 0 && ((errno != EAGAIN && errno != EINTR) || !Await(POLLOUT))) return false;
    }
    if (sent <= 0) continue;
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool Wire::AwaitInput() {
  if (begin_ < end_ || (tls_ != nullptr && SSL_pending(tls_.get()) > 0)) return true;
  return Await(POLLIN);
}

bool Wire::HasCertificate() const {
  if (tls_ == nullptr || SSL_get_verify_result(tls_.get()) != X509_V_OK) return false;
  return SSL_get0_peer_certificate(tls_.get()) != nullptr;
}

std::vector<std::string> Wire::CertificateNames() const {
  std::vector<std::string> names;
  if (!HasCertificate()) return names;
  const X509* const certificate = SSL_get0_peer_certificate(tls_.get());
  AddAlternativeNames(certificate, names);
  AddCommonName(certificate, names);
  return names;
}

}  // namespace dt::admin
