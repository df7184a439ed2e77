# Run by each build: writes OUTPUT from INPUT with the commit that SOURCE stands on, and leaves the
# file alone where nothing changed. Outside of a git checkout the commit is "unknown", unless
# DT_COMMIT is set in the environment (the Dockerfile does).
set(COMMIT "$ENV{DT_COMMIT}")
if(NOT COMMIT)
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT COMMIT)
  set(COMMIT unknown)
endif()
configure_file(${INPUT} ${OUTPUT} @ONLY)
