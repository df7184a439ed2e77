// DT_CHECK: what must hold if there is no bug. It stays on in release builds, because going on with
// a broken assumption could write wrong data; the process ends and says where.
#ifndef DT_STORAGE_POSTGRES_CHECK_H_
#define DT_STORAGE_POSTGRES_CHECK_H_

#include <cstdio>
#include <cstdlib>

#define DT_CHECK(condition, sentence)                                                          \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      std::fprintf(stderr, "%s:%d: bug: %s (%s)\n", __FILE__, __LINE__, sentence, #condition); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (false)

#endif  // DT_STORAGE_POSTGRES_CHECK_H_
