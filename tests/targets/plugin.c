/* SPDX-License-Identifier: MIT
 *
 * The two plugins of reload.c: the same layout, so that one lands where the other was; they differ in names and sizes.
 */
#include "target.h"

void *PLUGIN_FUNCTION(void);

SITE __attribute__((visibility("default"))) void *PLUGIN_FUNCTION(void)
{
	void *block = malloc(PLUGIN_SIZE);
	KEEP_FRAME();
	return block;
}
