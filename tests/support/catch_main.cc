// The main function of every C++ test program.
#define CATCH_CONFIG_MAIN
#include "tests/support/catch.h"
