/* SPDX-License-Identifier: MIT
 *
 * For test_unwind: two shared objects of this, of the same layout, but with frames of another size.
 */
void module_call(void (*function)(void));

__attribute__((visibility("default"), noinline)) void module_call(void (*function)(void))
{
	volatile char room[FRAME];

	room[0] = 0;
	function();
	room[FRAME - 1] = room[0];
}
