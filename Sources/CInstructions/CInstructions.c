// A target of C has to have a source.
#include "CInstructions.h"
