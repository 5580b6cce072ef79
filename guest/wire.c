// SPDX-License-Identifier: GPL-2.0
/*
 * The wire of the QEMU guest agent, as far as freezing goes. A command is one
 * JSON object on one line; it is complete with its closing brace, so that a
 * client need not send the end of the line. A byte 0xFF, which no UTF-8 has,
 * says that what stands before it is dead: the half of a command that a former
 * client left. Whatever is no command is answered by one error, and what
 * follows is dropped up to the end of the line or the next 0xFF.
 *
 * The host is trusted with this guest's disks anyway, but its bytes are not:
 * lengths, nesting and numbers are bounded.
 */
#include "wire.h"

#ifdef __KERNEL__
#include <linux/string.h>
#else
#include <string.h>
#endif

#define FSF_RESET	0xff
#define FSF_NAME_MAX	40	/* bytes of a name that are compared */

static const char * const verb_names[] = {
	[FSF_PING] = "guest-ping",
	[FSF_SYNC] = "guest-sync",
	[FSF_SYNC_DELIMITED] = "guest-sync-delimited",
	[FSF_INFO] = "guest-info",
	[FSF_STATUS] = "guest-fsfreeze-status",
	[FSF_FREEZE] = "guest-fsfreeze-freeze",
	[FSF_FREEZE_LIST] = "guest-fsfreeze-freeze-list",
	[FSF_THAW] = "guest-fsfreeze-thaw",
};

/* What is still to be read of a command. Strings are decoded in place. */
struct json {
	char *at;
	char *end;
};

/* What a command holds, in whatever order it says so. */
struct reading {
	char *line;
	struct fsf_command *command;
	bool has_verb;
	bool has_id;
	bool has_list;
};

const char *fsf_verb_name(enum fsf_verb verb)
{
	return verb < FSF_UNKNOWN ? verb_names[verb] : "?";
}

static enum fsf_verb verb_of(const char *name)
{
	for (unsigned int i = 0; i < FSF_UNKNOWN; i++)
		if (strcmp(name, verb_names[i]) == 0)
			return (enum fsf_verb)i;
	return FSF_UNKNOWN;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The next character that means something; 0 at the end. */
static char json_peek(struct json *json)
{
	while (json->at < json->end && is_space(*json->at))
		json->at++;
	return json->at < json->end ? *json->at : 0;
}

static bool json_take(struct json *json, char c)
{
	if (json_peek(json) != c)
		return false;
	json->at++;
	return true;
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The four digits of a \u; -1 if they are not there. */
static long json_unit(struct json *json)
{
	long unit = 0;

	for (int i = 0; i < 4; i++) {
		int digit = json->at < json->end ? hex_digit(*json->at) : -1;

		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
		json->at++;
	}
	return unit;
}

/* The character of a \u, which may be made of two; -1 if it is none. */
static long json_unicode(struct json *json)
{
	long high = json_unit(json);
	long low;

	if (high < 0xd800 || high > 0xdfff)
		return high > 0 ? high : -1;
	if (high > 0xdbff || json->end - json->at < 2 ||
	    json->at[0] != '\\' || json->at[1] != 'u')
		return -1;
	json->at += 2;
	low = json_unit(json);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static unsigned int utf8_write(long c, char *out)
{
	unsigned int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };

	for (unsigned int i = more; i > 0; i--) {
		out[i] = (char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	out[0] = (char)(lead[more] | c);
	return more + 1;
}

/* What a backslash stands for: bytes written to @out, 0 if it is wrong. */
static unsigned int json_escape(struct json *json, char *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *found;
	char c;

	if (json->at == json->end)
		return 0;
	c = *json->at++;
	if (c == 'u') {
		long wide = json_unicode(json);

		return wide < 0 ? 0 : utf8_write(wide, out);
	}
	found = c ? strchr(from, c) : NULL;
	if (!found)
		return 0;
	*out = to[found - from];
	return 1;
}

/*
 * Reads a string into @out, a NUL behind it. What goes over @room is dropped,
 * so such a string equals none that is looked for. @out may lie in the text
 * itself, before the string: decoding never makes it longer.
 */
static bool json_string(struct json *json, char *out, size_t room,
			size_t *ret_size)
{
	size_t size = 0;

	if (!json_take(json, '"'))
		return false;
	while (json->at < json->end && *json->at != '"') {
		unsigned char c = (unsigned char)*json->at++;
		char decoded[4] = { (char)c };
		unsigned int n = 1;

		if (c < 0x20)
			return false;
		if (c == '\\')
			n = json_escape(json, decoded);
		if (n == 0)
			return false;
		for (unsigned int i = 0; i < n; i++)
			if (size < room - 1)
				out[size++] = decoded[i];
	}
	if (json->at == json->end)
		return false;
	json->at++;
	out[size] = 0;
	if (ret_size)
		*ret_size = size;
	return true;
}

static bool json_integer(struct json *json, int64_t *ret_number)
{
	bool negative = json_peek(json) == '-';
	uint64_t most = (~(uint64_t)0 >> 1) + negative;
	uint64_t number = 0;
	const char *first;

	if (negative)
		json->at++;
	first = json->at;
	for (; json->at < json->end && is_digit(*json->at); json->at++) {
		unsigned int digit = (unsigned int)(*json->at - '0');

		if (number > (most - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	if (json->at == first || json_peek(json) == '.' ||
	    json_peek(json) == 'e' || json_peek(json) == 'E')
		return false;
	*ret_number = (int64_t)(negative ? 0 - number : number);
	return true;
}

/* A number of any kind, or true, false, null: nobody looks at it. */
static bool json_skip_word(struct json *json)
{
	const char *first;

	json_peek(json);
	first = json->at;
	while (json->at < json->end &&
	       (is_digit(*json->at) || (*json->at >= 'a' && *json->at <= 'z') ||
		*json->at == 'E' || *json->at == '-' || *json->at == '+' ||
		*json->at == '.'))
		json->at++;
	return json->at > first;
}

static bool json_skip_string(struct json *json)
{
	char dropped[FSF_NAME_MAX];

	return json_string(json, dropped, sizeof(dropped), NULL);
}

/*
 * Passes over a value of any kind. No recursion: what is open is a bit each,
 * and the wire has counted already that they are no more than there are bits.
 */
static bool json_skip(struct json *json)
{
	unsigned int depth = 0;
	uint32_t objects = 0;

	do {
		char c = json_peek(json);
		bool opens = c == '{' || c == '[';

		if (opens) {
			json->at++;
			if (++depth > FSF_DEPTH_MAX)
				return false;
			objects = objects << 1 | (c == '{');
		} else if (c == '"' ? !json_skip_string(json) :
				      !json_skip_word(json)) {
			return false;
		}
		/* Up to the next value: what closes, and what comes behind. */
		while (depth > 0) {
			if (json_take(json, objects & 1 ? '}' : ']')) {
				objects >>= 1;
				depth--;
				opens = false;
				continue;
			}
			if (!opens && !json_take(json, ','))
				return false;
			if (objects & 1 && (!json_skip_string(json) ||
					    !json_take(json, ':')))
				return false;
			break;
		}
	} while (depth > 0);
	return true;
}

/* Calls @member for each member of an object, which has to read its value. */
static bool json_object(struct json *json, struct reading *reading,
			bool (*member)(struct json *json, const char *name,
				       struct reading *reading))
{
	char name[FSF_NAME_MAX];

	if (!json_take(json, '{'))
		return false;
	if (json_take(json, '}'))
		return true;
	do {
		if (!json_string(json, name, sizeof(name), NULL) ||
		    !json_take(json, ':') || !member(json, name, reading))
			return false;
	} while (json_take(json, ','));
	return json_take(json, '}');
}

/* The strings are put at the start of the line, which has been read by now. */
static bool read_list(struct json *json, struct reading *reading)
{
	char *out = reading->line;
	size_t size;

	if (!json_take(json, '['))
		return false;
	reading->has_list = true;
	reading->command->paths = reading->line;
	if (!json_take(json, ']')) {
		do {
			if (!json_string(json, out,
					 (size_t)(json->end - out), &size))
				return false;
			out += size + 1;
		} while (json_take(json, ','));
		if (!json_take(json, ']'))
			return false;
	}
	reading->command->paths_size = (size_t)(out - reading->line);
	return true;
}

static bool read_argument(struct json *json, const char *name,
			  struct reading *reading)
{
	if (strcmp(name, "id") == 0) {
		reading->has_id = true;
		return json_integer(json, &reading->command->id);
	}
	if (strcmp(name, "mountpoints") == 0)
		return read_list(json, reading);
	return json_skip(json);
}

static bool read_member(struct json *json, const char *name,
			struct reading *reading)
{
	char verb[FSF_NAME_MAX];

	if (strcmp(name, "arguments") == 0)
		return json_object(json, reading, read_argument);
	if (strcmp(name, "execute") != 0)
		return json_skip(json);
	if (!json_string(json, verb, sizeof(verb), NULL))
		return false;
	reading->has_verb = true;
	reading->command->verb = verb_of(verb);
	return true;
}

static bool read_command(struct json *json, struct reading *reading)
{
	struct fsf_command *command = reading->command;

	if (!json_object(json, reading, read_member) || json_peek(json) ||
	    !reading->has_verb)
		return false;
	if (command->verb == FSF_SYNC || command->verb == FSF_SYNC_DELIMITED)
		return reading->has_id;
	command->all = !reading->has_list;
	return true;
}

static void wire_restart(struct fsf_wire *wire)
{
	wire->used = 0;
	wire->depth = 0;
	wire->string = false;
	wire->escaped = false;
	wire->skip = false;
}

/**
 * fsf_wire_init() - begin with nothing
 * @wire: the wire
 */
void fsf_wire_init(struct fsf_wire *wire)
{
	wire_restart(wire);
}

/* Drops the rest of the line, and says why. */
static bool wire_refuse(struct fsf_wire *wire, enum fsf_verb why,
			struct fsf_command *ret_command)
{
	wire_restart(wire);
	wire->skip = true;
	*ret_command = (struct fsf_command){ .verb = why };
	return true;
}

/* Whether the object is complete with this byte. */
static bool wire_ends(struct fsf_wire *wire, unsigned char byte)
{
	if (wire->escaped) {
		wire->escaped = false;
	} else if (wire->string) {
		wire->escaped = byte == '\\';
		wire->string = byte != '"';
	} else if (byte == '"') {
		wire->string = true;
	} else if (byte == '{' || byte == '[') {
		wire->depth++;
	} else if (byte == '}' || byte == ']') {
		return --wire->depth == 0;
	}
	return false;
}

/**
 * fsf_wire_push() - take one byte of the host
 * @wire: the wire
 * @byte: the byte
 * @ret_command: set when this returns true
 *
 * Return: whether the byte has completed a command, or shown that what came is
 * none: each is to be answered once.
 */
bool fsf_wire_push(struct fsf_wire *wire, unsigned char byte,
		   struct fsf_command *ret_command)
{
	struct reading reading = {
		.line = wire->line,
		.command = ret_command,
	};
	struct json json = { .at = wire->line };
	bool idle = wire->skip || !wire->used;

	if (byte == FSF_RESET || (byte == '\n' && idle)) {
		wire_restart(wire);
		return false;
	}
	if (wire->skip || (!wire->used && is_space((char)byte)))
		return false;
	if (byte == '\n') {
		wire_refuse(wire, FSF_BROKEN, ret_command);
		wire->skip = false;
		return true;
	}
	if (wire->used == FSF_COMMAND_MAX)
		return wire_refuse(wire, FSF_TOO_LONG, ret_command);
	wire->line[wire->used++] = (char)byte;
	if (wire->line[0] != '{')
		return wire_refuse(wire, FSF_BROKEN, ret_command);
	if (!wire_ends(wire, byte))
		return wire->depth > FSF_DEPTH_MAX &&
		       wire_refuse(wire, FSF_BROKEN, ret_command);

	json.end = wire->line + wire->used;
	*ret_command = (struct fsf_command){ .verb = FSF_BROKEN };
	if (!read_command(&json, &reading))
		return wire_refuse(wire, FSF_BROKEN, ret_command);
	wire_restart(wire);
	return true;
}
