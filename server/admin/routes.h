// What the admin listener serves, and to whom. Whoever has something to serve adds a route for it;
// the listener knows none of them.
//
// Threads: all methods may be called from any thread, also while the listener runs. Handlers are
// called on its threads, several at a time.
#ifndef DT_SERVER_ADMIN_ROUTES_H_
#define DT_SERVER_ADMIN_ROUTES_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace dt::admin {

struct Request {
  std::string path;                               // without the query
  std::multimap<std::string, std::string> query;  // decoded
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
};

// Takes no lock that the daemon's work takes for longer than a copy, and waits for nothing: the
// listener has few threads.
using Handler = std::function<Response(const Request& request)>;

// Whom a route is for, where callers must say who they are.
enum class Audience {
  kProbes,   // nobody is asked, unless admin.open-probes is off
  kMetrics,  // nobody is asked if admin.open-metrics is on
  kReaders,  // who may read in all task hubs
};

struct Route {
  Audience audience = Audience::kReaders;
  Handler handler;
};

class Routes {
 public:
  // GET and HEAD of exactly this path. What the handler uses must outlive the listener. A path is
  // added once.
  void Add(std::string path, Audience audience, Handler handler);
  // Null: there is no such path.
  std::shared_ptr<const Route> Find(const std::string& path) const;
  // In alphabetical order.
  std::vector<std::string> Paths() const;

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<const Route>> routes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_ROUTES_H_
