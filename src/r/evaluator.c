/* SPDX-License-Identifier: MIT
 *
 * The code of R's evaluator. bcEval(), the byte-code interpreter, has no symbol in a stripped libR, but byte code is threaded: its
 * instructions are addresses of labels in bcEval(), or from R 4.4 on in bcEval_loop() (eval.c, opinfo). Any byte code will do;
 * most functions of R's base package are compiled.
 *
 * Failure: no byte code in any active call: byte_code is 0.
 */
#include "r/r.h"
#include "r/runtime.h"

#define CALLS_MAX 10000

/* The first instruction is behind the version; both take a pointer's room. 0: it is no address in R's object. */
static uintptr_t first_label(const struct lt_r_node *body)
{
	if (!lt_r_is(body, LT_R_BYTE_CODE) || !lt_r_is_plain(body->list.car, LT_R_INTEGER) || body->list.car->vector.length < 4)
		return 0;
	uintptr_t label = ((const uintptr_t *)((const char *)body->list.car + LT_R_VECTOR_DATA))[1];
	return label >= lt_r.object.start && label < lt_r.object.end ? label : 0;
}

uintptr_t lt_r_stack_top(void)
{
	return lt_r.stack_top;
}

bool lt_r_evaluator(struct lt_r_evaluator *evaluator)
{
	const struct lt_r_layout *layout = lt_load_acquire(&lt_r.layout); /* pairs with lt_r_locate() */
	if (!lt_r_present() || !layout || !*lt_r.global_context)
		return false;
	*evaluator = lt_r.evaluator;
	const char *context = *lt_r.global_context;
	for (unsigned i = 0; context && i < CALLS_MAX && !evaluator->byte_code; i++, context = lt_r_field(context, 0)) {
		const struct lt_r_node *function = lt_r_field(context, layout->callfun);
		if (*(const int *)(context + layout->callflag) & LT_R_CONTEXT_FUNCTION && lt_r_is(function, LT_R_CLOSURE))
			evaluator->byte_code = first_label(function->closure.body);
	}
	return true;
}
