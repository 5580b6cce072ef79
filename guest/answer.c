// SPDX-License-Identifier: GPL-2.0
/*
 * The answers, in the form that clients of the QEMU guest agent know. What an
 * older client does not know, such as the time that is left, is a member beside
 * the one that it looks at.
 */
#include "wire.h"

#ifdef __KERNEL__
#include <linux/kernel.h>
#else
#include <stdio.h>
#endif

/* Each answer is far shorter than the room that there is for it. */
static size_t said(int length)
{
	return length > 0 && length < FSF_ANSWER_MAX ? (size_t)length : 0;
}

/**
 * fsf_say_done() - the answer of a command that returns nothing
 * @answer: room for FSF_ANSWER_MAX bytes
 *
 * Return: the size of the answer. The same holds for those below.
 */
size_t fsf_say_done(char *answer)
{
	return said(snprintf(answer, FSF_ANSWER_MAX, "{\"return\": {}}\n"));
}

/**
 * fsf_say_number() - the answer of a command that returns a number
 * @answer: room for FSF_ANSWER_MAX bytes
 * @number: the number
 */
size_t fsf_say_number(char *answer, int64_t number)
{
	return said(snprintf(answer, FSF_ANSWER_MAX, "{\"return\": %lld}\n",
			     (long long)number));
}

/**
 * fsf_say_delimited() - the answer of guest-sync-delimited
 * @answer: room for FSF_ANSWER_MAX bytes
 * @number: the number of the command
 *
 * What stands before it on the host's side of the wire is dead.
 */
size_t fsf_say_delimited(char *answer, int64_t number)
{
	return said(snprintf(answer, FSF_ANSWER_MAX,
			     "\xff{\"return\": %lld}\n", (long long)number));
}

/**
 * fsf_say_status() - whether file systems are frozen
 * @answer: room for FSF_ANSWER_MAX bytes
 * @frozen: some are
 * @left_ms: after how much more silence of the host they are thawed
 */
size_t fsf_say_status(char *answer, bool frozen, unsigned int left_ms)
{
	if (!frozen)
		return said(snprintf(answer, FSF_ANSWER_MAX,
				     "{\"return\": \"thawed\"}\n"));
	return said(snprintf(answer, FSF_ANSWER_MAX,
			     "{\"return\": \"frozen\", \"thaw-in-ms\": %u}\n",
			     left_ms));
}

/**
 * fsf_say_info() - who answers here, and what it can do
 * @answer: room for FSF_ANSWER_MAX bytes
 * @version: of the module, without a character that JSON would escape
 * @frozen: no second freeze is taken now
 */
size_t fsf_say_info(char *answer, const char *version, bool frozen)
{
	int used = snprintf(answer, FSF_ANSWER_MAX,
			    "{\"return\": {\"version\": \"virtio-fsfreeze %.32s\", \"supported_commands\": [",
			    version);

	for (enum fsf_verb i = FSF_PING; i < FSF_UNKNOWN; i++) {
		bool freezes = i == FSF_FREEZE || i == FSF_FREEZE_LIST;

		used += snprintf(answer + used, FSF_ANSWER_MAX - (size_t)used,
				 "%s{\"name\": \"%s\", \"enabled\": %s, \"success-response\": true}",
				 i ? ", " : "",
				 fsf_verb_name(i),
				 frozen && freezes ? "false" : "true");
	}
	used += snprintf(answer + used, FSF_ANSWER_MAX - (size_t)used,
			 "]}}\n");
	return said(used);
}

static size_t say_failure(char *answer, const char *class, const char *desc)
{
	return said(snprintf(answer, FSF_ANSWER_MAX,
			     "{\"error\": {\"class\": \"%s\", \"desc\": \"%s\"}}\n",
			     class, desc));
}

/**
 * fsf_say_refused() - the answer of a freeze while file systems are frozen
 * @answer: room for FSF_ANSWER_MAX bytes
 * @verb: the command
 */
size_t fsf_say_refused(char *answer, enum fsf_verb verb)
{
	char desc[128];

	snprintf(desc, sizeof(desc),
		 "Command %s has been disabled: the agent is in frozen state",
		 fsf_verb_name(verb));
	return say_failure(answer, "CommandNotFound", desc);
}

/**
 * fsf_say_unknown() - the answer of a command that is not one of these
 * @answer: room for FSF_ANSWER_MAX bytes
 */
size_t fsf_say_unknown(char *answer)
{
	return say_failure(answer, "CommandNotFound",
			   "The command has not been found: this agent freezes and thaws, no more");
}

/**
 * fsf_say_error() - the answer of a command that failed
 * @answer: room for FSF_ANSWER_MAX bytes
 * @text: why; what JSON would have to escape is left out of it
 */
size_t fsf_say_error(char *answer, const char *text)
{
	char clean[256];
	size_t size = 0;

	for (; *text && size < sizeof(clean) - 1; text++)
		clean[size++] = *text < 0x20 || *text > 0x7e || *text == '"' ||
				*text == '\\' ? '?' : *text;
	clean[size] = 0;
	return say_failure(answer, "GenericError", clean);
}
