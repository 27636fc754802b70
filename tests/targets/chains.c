/* SPDX-License-Identifier: MIT
 *
 * Two lists of 20,000 blocks of 48 bytes in each of two threads: one is kept, one lost. For samples: what leads to a recorded
 * block was mostly not recorded.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 20000 };

struct node {
	struct node *next;
	char rest[40];
};

struct node *kept[2];

__attribute__((noinline)) static struct node *kept_list(struct node *next)
{
	for (int i = 0; i < LENGTH; i++) {
		struct node *node = calloc(1, sizeof *node);
		node->next = next;
		next = node;
	}
	return next;
}

__attribute__((noinline)) static void lost_list(struct node *next)
{
	for (int i = 0; i < LENGTH; i++) {
		struct node *node = calloc(1, sizeof *node);
		node->next = next;
		next = node;
	}
	__asm__ volatile("" : : "r"(next) : "memory");
}

__attribute__((noinline)) static void clear_stack(void)
{
	char stack[4096];
	memset(stack, 0, sizeof stack);
	__asm__ volatile("" : : "r"(stack) : "memory");
}

static void *work(void *number)
{
	lost_list(NULL);
	kept[(size_t)number] = kept_list(NULL);
	clear_stack();
	return NULL;
}

int main(void)
{
	pthread_t thread;
	work((void *)0);
	if (pthread_create(&thread, NULL, work, (void *)1) || pthread_join(thread, NULL))
		return 1;
	return 0;
}
