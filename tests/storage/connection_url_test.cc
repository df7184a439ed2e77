// Which texts name a database, and that none of them gives its password away.
#include "storage/postgres/connection_url.h"

#include "storage/postgres/connection.h"
#include "tests/support/catch.h"

namespace dt::postgres {
namespace {

std::string UrlError(const std::string& url) {
  const absl::Status status = CheckConnectionUrl(url);
  CHECK((status.ok() || absl::IsInvalidArgument(status)));
  return std::string(status.message());
}

TEST_CASE("connection_url_good: all forms that libpq takes without guessing") {
  for (const char* url :
       {"", "orders", "postgresql://", "postgres://h", "postgresql://h/d", "postgresql://u@h/d",
        "postgresql://u:p@h:5432/d", "postgresql://u:p%40%25%2F%3A%3Fx@h/d",
        "postgresql://u:p?x=y@h/d", "postgresql://u:p:q@h/d", "postgresql://u:p@h1:1,h2:65535/d",
        "postgresql://u:p@[::1]:5432/d?sslmode=require", "postgresql:///d?host=/tmp/x&port=5433",
        "postgresql://u:p@%2Ftmp%2Fx/d", "postgresql://h/d?user=u@server&application_name=a",
        "host=h password=p@s/s%zz dbname=d", "host=h password='my \\' secret'"}) {
    INFO(url);
    CHECK(UrlError(url).empty());
  }
}

TEST_CASE("connection_url_malformed: what is wrong, what to do, and nothing of the password") {
  // Each password holds "secret" on both sides of what goes wrong.
  for (const char* url : {"postgresql://u:secret%zzsecret@h/d",
                          "postgresql://u:secret%@h/d",
                          "postgresql://u:secret%00secret@h/d",
                          "postgresql://u:secret\"%zz\"secret@h/d",
                          "postgresql://u:secret@secret@h/d",
                          "postgresql://u:secret/secret@h/d",
                          "postgresql://u:secret?a@secret@h/d",
                          "postgresql://u:12/secret@h/d",
                          "postgresql://u:secret/secret?secret=x@h/d",
                          "postgresql://u:p@h/d?password=secret%zz",
                          "postgresql://u:secret@h:port/d",
                          "postgresql://u:secret@h/d?colour=blue",
                          "postgresql://u:secret@[h/d",
                          "postgresq://u:secret@h/d",
                          "postgresq://u:secret@h/d?sslmode=require",
                          "u:secret@h/d",
                          "//u:secret@h",
                          "host=h password=my secret",
                          "host=h password=my secret dbname=d",
                          "host=h password=my secret=x",
                          "host=h password='secret",
                          "host=h dbname=postgresql://u:secret@h/d"}) {
    INFO(url);
    const std::string error = UrlError(url);
    INFO(error);
    CHECK(error.find("the database URL is malformed: ") == 0);
    CHECK(error.find("; ") != std::string::npos);
    CHECK(error.find("secret") == std::string::npos);
    // The same for who connects without asking.
    ConnectionOptions options;
    options.url = url;
    CHECK(std::string(Connection::Connect(options).status().message()) == error);
  }
  CHECK(UrlError("postgresql://u:p%zz@h/d") ==
        "the database URL is malformed: invalid percent-encoded token; write special characters in "
        "user name, password and database percent-encoded (% as %25, @ as %40, / as %2F, : as %3A, "
        "? as %3F)");
  CHECK(UrlError("host=h password=my secret") ==
        "the database URL is malformed: missing '='; put values that hold spaces in single "
        "quotes, with \\ before ' and \\");
  // Where no password can be meant, libpq says it all.
  CHECK(UrlError("postgresql://h/d?colour=blue").find("\"colour\"") != std::string::npos);
  CHECK(UrlError("host=h colour=blue").find("\"colour\"") != std::string::npos);
}

TEST_CASE("mask_passwords: of URLs and of key=value strings, anywhere in a text") {
  CHECK(MaskPasswords("nothing here") == "nothing here");
  CHECK(MaskPasswords("'postgresql://u:secret@h/d' is no verb") ==
        "'postgresql://u:***@h/d' is no verb");
  CHECK(MaskPasswords("postgresql://u:se@c re/t@h:1/d") == "postgresql://u:***@h:1/d");
  CHECK(MaskPasswords("postgresql://h:5432/d and http://u:x@h") ==
        "postgresql://h:5432/d and http://u:***@h");
  CHECK(MaskPasswords("host=h password=secret dbname=d") == "host=h password=*** dbname=d");
  CHECK(MaskPasswords("password='my \\' secret' x") == "password=*** x");
  CHECK(MaskPasswords("postgresql://h/d?password=secret&x=y") ==
        "postgresql://h/d?password=***&x=y");
  CHECK(MaskPasswords("password=") == "password=***");
}

}  // namespace
}  // namespace dt::postgres
