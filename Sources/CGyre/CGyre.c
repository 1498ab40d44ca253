// The functions are those of the Swift module CInterface; here is only what makes the header a module.
#include "gyre.h"
