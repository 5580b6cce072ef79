/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The wire: commands of a guest agent in, answers out. Pure: no allocation,
 * no lock and no kernel interface, so that the same file is compiled in user
 * space, where it is tested and fuzzed.
 */
#ifndef FSF_WIRE_H
#define FSF_WIRE_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

#define FSF_COMMAND_MAX	16384	/* bytes of one command */
#define FSF_ANSWER_MAX	2048	/* bytes of one answer */
#define FSF_DEPTH_MAX	16	/* objects and arrays in one another */

enum fsf_verb {
	FSF_PING,
	FSF_SYNC,
	FSF_SYNC_DELIMITED,
	FSF_INFO,
	FSF_STATUS,
	FSF_FREEZE,
	FSF_FREEZE_LIST,
	FSF_THAW,
	FSF_UNKNOWN,	/* a command, but none of the above */
	FSF_BROKEN,	/* no command, or one with wrong arguments */
	FSF_TOO_LONG,	/* over FSF_COMMAND_MAX */
};

/**
 * struct fsf_command - one command of the host
 * @verb: what is asked for
 * @id: the number of FSF_SYNC and FSF_SYNC_DELIMITED
 * @all: FSF_FREEZE_LIST without a list
 * @paths: the list of FSF_FREEZE_LIST, each with a NUL behind it; it lies in
 *	the wire's buffer and is gone with the next byte
 * @paths_size: bytes of @paths
 */
struct fsf_command {
	enum fsf_verb verb;
	int64_t id;
	bool all;
	const char *paths;
	size_t paths_size;
};

/**
 * struct fsf_wire - the command that is coming in
 * @used: bytes of @line
 * @depth: objects and arrays that are open
 * @string: inside a string
 * @escaped: behind a backslash
 * @skip: the rest of this line is not wanted
 * @line: what there is of the command
 */
struct fsf_wire {
	size_t used;
	unsigned int depth;
	bool string;
	bool escaped;
	bool skip;
	char line[FSF_COMMAND_MAX];
};

void fsf_wire_init(struct fsf_wire *wire);

bool fsf_wire_push(struct fsf_wire *wire, unsigned char byte,
		   struct fsf_command *ret_command);

const char *fsf_verb_name(enum fsf_verb verb);

size_t fsf_say_done(char *answer);
size_t fsf_say_number(char *answer, int64_t number);
size_t fsf_say_delimited(char *answer, int64_t number);
size_t fsf_say_status(char *answer, bool frozen, unsigned int left_ms);
size_t fsf_say_info(char *answer, const char *version, bool frozen);
size_t fsf_say_refused(char *answer, enum fsf_verb verb);
size_t fsf_say_unknown(char *answer);
size_t fsf_say_error(char *answer, const char *text);

#endif
