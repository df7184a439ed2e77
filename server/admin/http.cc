#include "server/admin/http.h"

#include <httplib.h>

#include <utility>

#include "absl/strings/str_join.h"
#include "fmt/format.h"
#include "server/rpc/bearer_token.h"

namespace dt::admin {
namespace {

constexpr int kUnauthorized = 401;
constexpr int kForbidden = 403;
constexpr int kNotFound = 404;
constexpr int kMethodNotAllowed = 405;

// What the pre-routing handler has of the connection: httplib calls it on the thread of Serve.
thread_local const Wire* current_wire = nullptr;

class WireStream final : public httplib::Stream {
 public:
  explicit WireStream(Wire* wire) : wire_(*wire) {}

  bool is_readable() const override { return wire_.AwaitInput(); }
  bool is_writable() const override { return true; }
  ssize_t read(char* data, size_t size) override { return wire_.Read(data, size); }
  ssize_t write(const char* data, size_t size) override {
    return wire_.Write(data, size) ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  int socket() const override { return wire_.fd(); }

 private:
  Wire& wire_;
};

}  // namespace

// What httplib makes of the bytes.
class Http::Parser : public httplib::Server {
 public:
  explicit Parser(const Http* http) {
    set_payload_max_length(0);
    set_pre_routing_handler([http](const httplib::Request& request, httplib::Response& response) {
      Response answer;
      if (request.method != "GET" && request.method != "HEAD") {
        answer = {kMethodNotAllowed, "only GET and HEAD\n"};
        response.set_header("Allow", "GET, HEAD");
      } else {
        const auto header = request.headers.find("Authorization");
        answer = http->Answer({request.path, {request.params.begin(), request.params.end()}},
                              header == request.headers.end() ? nullptr : &header->second,
                              *current_wire);
      }
      if (answer.status == kUnauthorized) response.set_header("WWW-Authenticate", "Bearer");
      response.set_header("Cache-Control", "no-store");
      response.set_header("X-Content-Type-Options", "nosniff");
      response.status = answer.status;
      response.set_content(std::move(answer.body), answer.content_type);
      return HandlerResponse::Handled;
    });
  }

  void Serve(Wire& wire) {
    WireStream stream(&wire);
    bool closed = false;
    current_wire = &wire;
    process_request(stream, /*close_connection=*/true, closed, nullptr);
    current_wire = nullptr;
  }
};

Http::Http(HttpOptions options, const Routes* routes, const rpc::AccessControl* access)
    : options_(options),
      routes_(*routes),
      access_(*access),
      parser_(std::make_unique<Parser>(this)) {}

Http::~Http() = default;

void Http::Serve(Wire& wire) { parser_->Serve(wire); }

Response Http::Answer(const Request& request, const std::string* authorization,
                      const Wire& wire) const {
  const std::shared_ptr<const Route> route = routes_.Find(request.path);
  if (route == nullptr) {
    return {kNotFound,
            fmt::format("no such page; there are: {}\n", absl::StrJoin(routes_.Paths(), " "))};
  }
  const absl::Status allowed = Check(route->audience, authorization, wire);
  if (!allowed.ok()) {
    return {absl::IsUnauthenticated(allowed) ? kUnauthorized : kForbidden,
            std::string(allowed.message()) + "\n"};
  }
  return route->handler(request);
}

absl::Status Http::Check(Audience audience, const std::string* authorization,
                         const Wire& wire) const {
  if (access_.open()) return absl::OkStatus();
  if (audience == Audience::kProbes && options_.open_probes) return absl::OkStatus();
  if (audience == Audience::kMetrics && options_.open_metrics) return absl::OkStatus();
  rpc::Caller caller;
  if (authorization != nullptr) {
    caller.has_authorization = true;
    const auto token = rpc::TokenOfHeader(*authorization);
    if (token.has_value()) caller.token = rpc::DigestOf(*token);
  } else if (wire.HasCertificate()) {
    caller.certificate = true;
    caller.certificate_names = wire.CertificateNames();
  }
  // What these routes tell is of all hubs: of the patterns of rules only `*` matches this one.
  return access_.Check(caller, "GetInstance", "*");
}

}  // namespace dt::admin
