# Writes a C++ file that holds the files of sql/ as strings:
#   cmake -DSQL_DIR=... -DFILES="a.sql b.sql" -DVERSION=1.2.3 -DOUTPUT=... -P embed_sql.cmake
separate_arguments(FILES)
set(CONTENT "// Generated from sql/ by embed_sql.cmake.\n#include \"storage/postgres/embedded_sql.h\"\n\n")
# With their lengths: clang counts characters in so many steps only.
string(APPEND CONTENT "namespace dt::postgres {\nnamespace {\n\n"
                      "using namespace std::string_view_literals;\n\nconstexpr EmbeddedFile kFiles[] = {\n")
foreach(FILE ${FILES})
  file(READ "${SQL_DIR}/${FILE}" TEXT)
  if(TEXT MATCHES "\\)dtsql\"")
    message(FATAL_ERROR "${FILE} contains the end mark of the string that would hold it")
  endif()
  string(APPEND CONTENT "    {\"${FILE}\", R\"dtsql(" "${TEXT}" ")dtsql\"sv},\n")
endforeach()
string(APPEND CONTENT "};\n\n}  // namespace\n\n")
string(APPEND CONTENT "absl::Span<const EmbeddedFile> EmbeddedSql() { return kFiles; }\n\n")
string(APPEND CONTENT "std::string_view BuildVersion() { return \"${VERSION}\"; }\n\n")
string(APPEND CONTENT "}  // namespace dt::postgres\n")
file(WRITE "${OUTPUT}" "${CONTENT}")
