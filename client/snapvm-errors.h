/* Once installed, snapvm.h and the errors lie in one folder; in this tree the errors belong to the
 * protocol. This file stands in for the installed one and is not installed itself. */
#ifndef SNAPVM_CLIENT_SNAPVM_ERRORS_H
#define SNAPVM_CLIENT_SNAPVM_ERRORS_H

#include "proto/snapvm-errors.h"

#endif
