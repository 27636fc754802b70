/* SPDX-License-Identifier: MIT
 *
 * No target: kills for kills.sh. Starts COMMAND, and adopts whatever of it is orphaned. Three times it waits 1 to 120 ms and kills (SIGKILL)
 * one of all its descendants, whichever it is: the first one (more seldom), a child in fork or exec, one at its end, a classifier. Then
 * all of them; and ends when all are gone. Prints what it killed by chance: the number of generations below COMMAND and its command's name.
 * usage: killer SEED COMMAND [ARGUMENT...]
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 4096 };

struct process {
	pid_t pid, parent;
	char name[32];
	int depth; /* -1: no descendant */
};

static struct process all[MOST];
static unsigned count;
static pid_t first;

/* False: it is gone, or dead already. */
static int look_at(const char *pid, struct process *process)
{
	char path[64], line[512], state;
	snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	char *read = fgets(line, sizeof line, file), *open = read ? strchr(line, '(') : NULL, *close = read ? strrchr(line, ')') : NULL;
	fclose(file);
	if (!open || !close || sscanf(close + 1, " %c %d", &state, &process->parent) != 2 || state == 'Z' || state == 'X')
		return 0;
	*close = '\0';
	process->pid = (pid_t)atoi(pid);
	snprintf(process->name, sizeof process->name, "%s", open + 1);
	return 1;
}

static int depth_of(pid_t parent)
{
	if (parent == getpid())
		return 0;
	for (unsigned i = 0; i < count; i++)
		if (all[i].pid == parent) {
			int depth = all[i].parent == parent ? -1 : depth_of(all[i].parent);
			return depth < 0 ? -1 : depth + 1;
		}
	return -1;
}

/* All that live, those that descend from us first. Their number. */
static unsigned descendants(void)
{
	unsigned n = 0;
	DIR *proc = opendir("/proc");
	count = 0;
	for (struct dirent *entry; proc && (entry = readdir(proc));)
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && count < MOST && look_at(entry->d_name, &all[count]))
			count++;
	if (proc)
		closedir(proc);
	for (unsigned i = 0; i < count; i++)
		all[i].depth = depth_of(all[i].parent);
	for (unsigned i = 0; i < count; i++)
		if (all[i].depth >= 0) {
			struct process process = all[i];
			all[i] = all[n];
			all[n++] = process;
		}
	return n;
}

static void bury(void)
{
	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	unsigned seed = (unsigned)atoi(argv[1]) * 2654435761u;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	first = fork();
	if (!first) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	for (int kills = 0; kills < 3; kills++) {
		seed = seed * 1664525u + 1013904223u;
		usleep(1000 + (seed >> 8) % 120000);
		bury();
		unsigned n = descendants();
		if (!n)
			break;
		seed = seed * 1664525u + 1013904223u;
		const struct process *victim = &all[(seed >> 8) % n];
		if (n > 1 && victim->pid == first && seed >> 30) /* with the first one all others end */
			victim = &all[(victim - all + 1) % n];
		if (kill(victim->pid, SIGKILL) == 0)
			printf("%d %s%s\n", victim->depth, victim->name, victim->pid == first ? " first" : "");
	}
	for (unsigned n; (n = descendants()) > 0;) {
		while (n--)
			kill(all[n].pid, SIGKILL);
		usleep(1000);
		bury();
	}
	return 0;
}
