// One HTTP request on one connection: who may make it, which route it means, the answer.
//
// cpp-httplib reads and writes HTTP. Its own server is not used: it has no limit on connections, on
// headers, or on the time that a request may take as a whole, and its threads wait for whoever
// sends slowly (deploy/OPERATIONS.md, section 10).
//
// Threads: Serve may be called from any number of threads.
#ifndef DT_SERVER_ADMIN_HTTP_H_
#define DT_SERVER_ADMIN_HTTP_H_

#include <memory>
#include <string>

#include "server/admin/routes.h"
#include "server/admin/wire.h"
#include "server/rpc/access_control.h"

namespace dt::admin {

struct HttpOptions {
  // Where callers must say who they are: routes that answer everybody.
  bool open_probes = true;
  bool open_metrics = false;
};

class Http {
 public:
  // Both must outlive it.
  Http(HttpOptions options, const Routes* routes, const rpc::AccessControl* access);
  ~Http();

  // Reads one request and answers it. Returns when that is done or the connection has ended.
  void Serve(Wire& wire);

 private:
  class Parser;
  // `authorization`: the header; null when there is none.
  Response Answer(const Request& request, const std::string* authorization, const Wire& wire) const;
  absl::Status Check(Audience audience, const std::string* authorization, const Wire& wire) const;

  const HttpOptions options_;
  const Routes& routes_;
  const rpc::AccessControl& access_;
  const std::unique_ptr<Parser> parser_;
};

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_HTTP_H_
