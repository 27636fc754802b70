/* SPDX-License-Identifier: MIT
 *
 * Which R is this? Found out without running any of its code.
 */
#ifndef LT_R_VERSION_H
#define LT_R_VERSION_H

#include <stddef.h>
#include <stdint.h>

/* The version (40202 is R 4.2.2) that stands as a constant in the machine code of R_Serialize(), which writes it into every
 * serialised object. 0: none found, or more than one. */
uint32_t lt_r_version_in_code(const unsigned char *code, size_t size);

/* The version of package base that belongs to the object at `path` (R_HOME/lib/libR.so, R_HOME/bin/exec/R, each perhaps with
 * a directory for the CPU), or to `home` (may be NULL) if there is none at that path. 0: none found. */
uint32_t lt_r_version_in_home(const char *path, const char *home);

/* "Version: 4.2.2" in the text of a DESCRIPTION file; 0 if there is none. */
uint32_t lt_r_version_in_text(const char *text);

#endif
