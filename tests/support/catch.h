// The one place that knows the version of Catch2: v2 in Debian 12, v3 elsewhere.
#ifndef DT_TESTS_SUPPORT_CATCH_H_
#define DT_TESTS_SUPPORT_CATCH_H_

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#endif  // DT_TESTS_SUPPORT_CATCH_H_
