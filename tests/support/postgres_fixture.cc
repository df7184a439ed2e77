#include "tests/support/postgres_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"

namespace dt::testing {

void MustBeOk(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "a test cannot go on: %s\n", status.ToString().c_str());
  std::abort();
}

PostgresFixture& PostgresFixture::Shared() {
  static PostgresFixture fixture{postgres::PrivateClusterOptions()};
  fixture.StartAgain();
  return fixture;
}

PostgresFixture::PostgresFixture(postgres::PrivateClusterOptions options) {
  if (options.data_dir.empty()) {
    std::string path = (std::filesystem::temp_directory_path() / "dt-test-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) MustBeOk(absl::InternalError("mkdtemp " + path));
    // The server runs as another user when the tests run as root.
    if (chmod(path.c_str(), 0711) != 0) MustBeOk(absl::InternalError("chmod " + path));
    directory_ = path;
    options.data_dir = path;
  }
  // Another version than the one of this machine.
  if (const char* programs = std::getenv("DTPG_TEST_POSTGRES")) options.programs = programs;
  options.durable = false;
  options.ends_with_thread = true;
  options.settings.insert(options.settings.begin(), {{"shared_buffers", "64MB"}});
  cluster_ = ValueOf(postgres::PrivateCluster::Start(std::move(options)));
}

PostgresFixture::~PostgresFixture() {
  MustBeOk(cluster_->Kill());  // faster than a shutdown, and nothing is to be kept
  cluster_.reset();
  std::error_code left_over;  // of a temporary directory: no reason to fail a test
  if (!directory_.empty()) std::filesystem::remove_all(directory_, left_over);
}

std::string PostgresFixture::NewDatabase() {
  std::string name = absl::StrCat("test_", ++databases_);
  auto connection = Connect(cluster_->UrlOf("postgres"));
  MustBeOk(connection->RunScript(
      absl::StrCat("create database ", name, " template template0 encoding 'UTF8' locale 'C'")));
  return cluster_->UrlOf(name);
}

std::unique_ptr<postgres::Connection> PostgresFixture::Connect(const std::string& url) {
  postgres::ConnectionOptions options;
  options.url = url;
  // As psql begins, for what tests make themselves.
  options.extra_settings = {{"search_path", "public"}};
  return ValueOf(postgres::Connection::Connect(options));
}

void PostgresFixture::Restart() {
  Stop();
  StartAgain();
}

void PostgresFixture::Stop() { MustBeOk(cluster_->Stop()); }
void PostgresFixture::Kill() { MustBeOk(cluster_->Kill()); }
void PostgresFixture::StartAgain() { MustBeOk(cluster_->StartAgain()); }

}  // namespace dt::testing
