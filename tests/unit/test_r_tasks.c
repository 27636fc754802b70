/* SPDX-License-Identifier: MIT
 *
 * Task borders, on the call stacks that real workers and masters have.
 */
#include "r_world.h"

enum { RETURN = 12 };

/* `stack`: "name@package", innermost first; no package: global environment. */
static void enter(struct contexts *contexts, const char *const *stack)
{
	unsigned n = 0;

	world_create(40202);
	node base = world.base, parallel = new_package("parallel", 1), snow = new_package("snow", 2);
	while (stack[n])
		n++;
	while (n--) {
		char name[64];
		const char *at = strchr(stack[n], '@');
		node environment = world.global;

		strcpy(name, stack[n]);
		if (at) {
			name[at - stack[n]] = 0;
			environment = !strcmp(at, "@base") ? base : !strcmp(at, "@snow") ? snow : parallel;
		}
		push(contexts, RETURN, new_call(name), new_closure(environment));
	}
}

#define STACK(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define TRY_CATCH "doTryCatch@base", "tryCatchOne@base", "tryCatchList@base", "tryCatch@base"

static void expect(const char *const *stack, bool receives, bool sends)
{
	struct contexts contexts = { .pushed = 0 };

	enter(&contexts, stack);
	assert_int_equal(lt_r_receives_task(), receives);
	assert_int_equal(lt_r_sends_result(), sends);
	assert_null(lt_r_note());
}

static void psock_workers_have_tasks(void **state)
{
	expect(STACK("unserialize@base", "recvData.SOCKnode@parallel", "recvData@parallel", TRY_CATCH, "workCommand@parallel",
	             "workLoop@parallel", ".workRSOCK@parallel"),
	       true, false);
	expect(STACK("serialize@base", "sendData.SOCKnode@parallel", "sendData@parallel", TRY_CATCH, "workCommand@parallel",
	             "workLoop@parallel", "workRSOCK@parallel"),
	       false, true);
}

static void workers_of_older_r_have_tasks(void **state)
{
	expect(STACK("unserialize@base", "recvData.SOCKnode@parallel", "recvData@parallel", TRY_CATCH, "slaveLoop@parallel",
	             ".slaveRSOCK@parallel"),
	       true, false);
	expect(STACK("serialize@base", "sendData.SOCK0node@parallel", "sendData@parallel", TRY_CATCH, "slaveLoop@parallel"), false,
	       true);
}

static void fork_cluster_workers_have_tasks(void **state)
{
	expect(STACK("unserialize@base", "recvData.SOCK0node@parallel", "recvData@parallel", TRY_CATCH, "workCommand@parallel",
	             "workLoop@parallel", "newForkNode@parallel", TRY_CATCH, "makeForkCluster@parallel"),
	       true, false);
}

static void mpi_workers_have_tasks(void **state)
{
	expect(STACK("unserialize@base", "mpi.unserialize", "mpi.recv.Robj", "recvData.MPInode@snow", "recvData@snow", TRY_CATCH,
	             "workCommand@snow", "workLoop@snow"),
	       true, false);
}

static void children_send_by_send_master(void **state)
{
	expect(STACK("serialize@base", "sendMaster@parallel", "mclapply@parallel"), false, true);
}

static bool leaves(const char *const *stack)
{
	struct contexts contexts = { .pushed = 0 };

	enter(&contexts, stack);
	return lt_r_leaves_child();
}

static void children_leave_by_mcexit(void **state)
{
	assert_true(leaves(STACK("mcexit@parallel", "FUN@parallel", "lapply@base", "mclapply@parallel")));
	assert_false(leaves(STACK("mcexit", "f"))); /* the user's own */
	assert_false(leaves(STACK("q@base", "FUN", "sendMaster@parallel", "FUN@parallel", "mclapply@parallel")));
	assert_false(leaves(STACK("f@parallel", "mcexit@parallel")));
}

static void the_message_is_an_argument_of_serialize(void **state)
{
	struct contexts contexts = { .pushed = 0 };

	enter(&contexts, STACK("serialize@base", "sendData.SOCKnode@parallel"));
	node environment = new_environment(world.base, 0), value = new_string("sent");
	char *context = contexts.memory[63 - (contexts.pushed - 1)];

	put_pointer(context, world.layout->cloenv, environment);
	assert_null(lt_r_message());
	bind_in(environment, 0, new_symbol("object"), new_cell(LT_R_PROMISE, value, world.nil, world.nil));
	bind_in(environment, 0, new_symbol("connection"), new_string("other"));
	assert_ptr_equal(lt_r_message(), value);
	((node)environment->environment.frame->list.cdr)->list.car = value; /* assigned to */
	assert_ptr_equal(lt_r_message(), value);
}

static void masters_have_no_tasks(void **state)
{
	expect(STACK("unserialize@base", "recvData.SOCKnode@parallel", "recvData@parallel", "recvResult@parallel", "lapply@base"),
	       false, false);
	expect(STACK("serialize@base", "sendData.SOCKnode@parallel", "sendData@parallel", "postNode@parallel",
	             "sendCall@parallel"),
	       false, false);
	expect(STACK("unserialize@base", "recvOneData.SOCKcluster@parallel", "recvOneData@parallel"), false, false);
	expect(STACK("unserialize@base", "mccollect@parallel"), false, false);
}

static void masters_inside_a_task_have_none(void **state)
{
	expect(STACK("unserialize@base", "recvData.SOCKnode@parallel", "recvData@parallel", "recvResult@parallel",
	             "clusterApply@parallel", "FUN", "do.call@base", TRY_CATCH, "workCommand@parallel", "workLoop@parallel"),
	       false, false);
	expect(STACK("serialize@base", "sendData.SOCKnode@parallel", "sendData@parallel", "postNode@parallel", "FUN", TRY_CATCH,
	             "workCommand@parallel", "workLoop@parallel"),
	       false, false);
}

static void the_handshake_is_no_task(void **state)
{
	expect(STACK("unserialize@base", "recvData.SOCKnode@parallel", "recvData@parallel", TRY_CATCH, "workCommand@parallel",
	             TRY_CATCH, "makeSOCKmaster@parallel", "workLoop@parallel", ".workRSOCK@parallel"),
	       false, false);
}

static void the_tasks_own_calls_are_not_borders(void **state)
{
	expect(STACK("unserialize@base", "readState", "FUN", "do.call@base", TRY_CATCH, "workCommand@parallel", "workLoop@parallel"),
	       false, false);
	expect(STACK("serialize@base", "FUN", "lapply@base", "try@base", "sendMaster@parallel", "mclapply@parallel"), false, false);
	expect(STACK("unserialize", "recvData@parallel", TRY_CATCH, "workCommand@parallel", "workLoop@parallel"), false, false);
	expect(STACK("serialize@base"), false, false);
	expect(STACK("readRDS@base", "f"), false, false);
}

int main(void)
{
	if (!lt_r_layout_of(40202))
		return 77; /* not a CPU that has layouts */

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(psock_workers_have_tasks),        cmocka_unit_test(workers_of_older_r_have_tasks),
		cmocka_unit_test(fork_cluster_workers_have_tasks), cmocka_unit_test(mpi_workers_have_tasks),
		cmocka_unit_test(children_leave_by_mcexit),        cmocka_unit_test(the_message_is_an_argument_of_serialize),
		cmocka_unit_test(children_send_by_send_master),    cmocka_unit_test(masters_have_no_tasks),
		cmocka_unit_test(masters_inside_a_task_have_none), cmocka_unit_test(the_handshake_is_no_task),
		cmocka_unit_test(the_tasks_own_calls_are_not_borders),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(world.node_stack);
	return failed;
}
