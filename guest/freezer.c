// SPDX-License-Identifier: GPL-2.0
/*
 * Freezes and thaws, by two threads, because each may have to wait for a disk:
 *
 *   the worker    freezes, and lets go what was thawed
 *   the dead man  thaws: when it is told to, when the host has been silent for
 *                 too long, and when the worker does not come to an end
 *
 *              freeze                all are frozen
 *     THAWED ---------> FREEZING ------------------------> FROZEN
 *        ^                 |  a failure, a thaw, the time     |  a thaw,
 *        |                 v                                  v  the time
 *        +------------- THAWING <-----------------------------+
 *
 * A file system whose device lies on another file system waits for that one
 * when it is frozen last. So the uppermost are frozen first, and thawed last.
 * Should one wait all the same, then the dead man thaws what is frozen already,
 * upon which the worker gets on, sees that it is not wanted any more, and
 * leaves what it has to the dead man.
 *
 * What is mounted in the middle may lie on what is frozen already. To freeze it
 * then is too late, and its mount may be waiting, with the worker behind it. So
 * the dead man thaws, and the worker begins anew, as long as there is time.
 *
 * Time is the guest's: a step that took far longer than it should was one in
 * which the guest did not run, and does not count.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "compat.h"
#include "fsfreeze.h"
#include "supers.h"

#define STEP_MS		100U		/* of the dead man, while it counts */
#define LEFT_MIN_MS	500U
#define LEFT_MAX_MS	3600000U
#define PASSES_MAX	8		/* walks that found something new */
#define WALK_MAX_MS	300U		/* of a walk, with something frozen */

static unsigned int deadman_ms = 10000;
module_param(deadman_ms, uint, 0644);
MODULE_PARM_DESC(deadman_ms,
		 "Thaw when nothing was heard of the host for so many ms (10000)");

/**
 * struct freezer - there is one, as there is one set of file systems
 * @lock: guards all below. Never held while a file system is frozen or thawed
 * @wake: for all who wait for a change
 * @state: see above
 * @working: the worker has a freeze under way
 * @undo: that freeze is not wanted any more
 * @again: the worker is to begin anew, once the dead man has thawed
 * @walking: the worker looks for what there is
 * @walk_ms: for how long it has, with something frozen
 * @asked: the thaw under way is the host's wish
 * @failed: see &struct fsf_seen
 * @reason: see &struct fsf_seen
 * @paths: what to freeze, each with a NUL behind it; NULL is all
 * @paths_size: bytes of @paths
 * @at: the file system that the worker is at
 * @frozen: the one that was frozen last first
 * @thawed: to be let go
 * @n_frozen: as &fsf_seen.count
 * @n_thawed: as &fsf_seen.count
 * @left_ms: as &fsf_seen.left_ms
 * @worker: thread
 * @dead_man: thread
 * @changed: called with @lock held when @state changes
 * @changed_arg: for @changed
 */
static struct freezer {
	struct mutex lock; /* see above */
	wait_queue_head_t wake;
	enum fsf_state state;
	bool working;
	bool undo;
	bool again;
	bool walking;
	unsigned int walk_ms;
	bool asked;
	bool failed;
	char reason[FSF_TEXT_MAX];
	char *paths;
	size_t paths_size;
	char at[FSF_TEXT_MAX / 2];
	struct list_head frozen;
	struct list_head thawed;
	unsigned int n_frozen;
	unsigned int n_thawed;
	unsigned int left_ms;
	struct task_struct *worker;
	struct task_struct *dead_man;
	void (*changed)(void *arg);
	void *changed_arg;
} freezer = {
	.lock = __MUTEX_INITIALIZER(freezer.lock),
	.wake = __WAIT_QUEUE_HEAD_INITIALIZER(freezer.wake),
	.frozen = LIST_HEAD_INIT(freezer.frozen),
	.thawed = LIST_HEAD_INIT(freezer.thawed),
};

static unsigned int limit_ms(void)
{
	return clamp(READ_ONCE(deadman_ms), LEFT_MIN_MS, LEFT_MAX_MS);
}

static void set_state(enum fsf_state state)
{
	lockdep_assert_held(&freezer.lock);
	freezer.state = state;
	if (freezer.changed)
		freezer.changed(freezer.changed_arg);
	wake_up_all(&freezer.wake);
}

/* The freeze is over, or is not to be: the first reason counts. */
static __printf(1, 2) void fail(const char *format, ...)
{
	va_list args;

	lockdep_assert_held(&freezer.lock);
	if (!freezer.failed) {
		va_start(args, format);
		vscnprintf(freezer.reason, FSF_TEXT_MAX, format, args);
		va_end(args);
	}
	freezer.failed = true;
}

static void begin_anew(void)
{
	lockdep_assert_held(&freezer.lock);
	freezer.again = true;
	wake_up_all(&freezer.wake);
}

static void undo(void)
{
	lockdep_assert_held(&freezer.lock);
	freezer.undo = true;
	wake_up_all(&freezer.wake);
}

/* --- the worker --- */

/* What is not wanted; what is frozen by us already is not found again. */
static bool is_left_out(void *places, const struct super_block *sb)
{
	struct fsf_super *super;
	bool ours = false;

	if (!fsf_places_have(places, sb))
		return true;
	mutex_lock(&freezer.lock);
	list_for_each_entry(super, &freezer.frozen, link)
		ours = ours || super->sb == sb;
	mutex_unlock(&freezer.lock);
	return ours;
}

/*
 * What there is, the uppermost first. Memory that is needed for it is not got
 * by writing to a file system, which may be frozen by now.
 */
static int find_new(struct list_head *list, struct fsf_places *places)
{
	unsigned int flags = memalloc_nofs_save();
	int err;

	mutex_lock(&freezer.lock);
	freezer.walking = true;
	freezer.walk_ms = 0;
	freezer.at[0] = 0;
	mutex_unlock(&freezer.lock);
	err = fsf_supers_collect(list, is_left_out, places);
	fsf_stack_sort(list);
	mutex_lock(&freezer.lock);
	freezer.walking = false;
	if (freezer.n_frozen > 0 && fsf_stack_is_deep(list))
		begin_anew();
	mutex_unlock(&freezer.lock);
	memalloc_nofs_restore(flags);
	return err;
}

static void let_go(void)
{
	LIST_HEAD(list);

	mutex_lock(&freezer.lock);
	list_splice_init(&freezer.thawed, &list);
	mutex_unlock(&freezer.lock);
	fsf_supers_release(&list);
}

/* Whether the worker has to begin anew; nothing is frozen then. */
static bool begins_anew(void)
{
	if (!READ_ONCE(freezer.again))
		return false;
	wait_event_idle(freezer.wake, list_empty(&freezer.frozen));
	let_go();
	mutex_lock(&freezer.lock);
	freezer.again = false;
	freezer.n_frozen = 0;
	freezer.n_thawed = 0;
	mutex_unlock(&freezer.lock);
	return true;
}

/* Whether the freeze is still wanted; then @super is what the worker is at. */
static bool begin_super(const struct fsf_super *super)
{
	bool wanted;

	mutex_lock(&freezer.lock);
	wanted = !freezer.undo;
	scnprintf(freezer.at, sizeof(freezer.at), "%s (%s)",
		  super->sb->s_id, super->sb->s_type->name);
	mutex_unlock(&freezer.lock);
	return wanted;
}

static bool end_super(struct fsf_super *super, int err)
{
	bool wanted;

	mutex_lock(&freezer.lock);
	if (!err) {
		list_move(&super->link, &freezer.frozen);
		freezer.n_frozen++;
	} else if (err == -EBUSY) {
		fail("%s is frozen already by somebody else", freezer.at);
	} else {
		fail("%s cannot be frozen: error %d", freezer.at, -err);
	}
	if (err)
		undo();
	wanted = !freezer.undo;
	if (freezer.undo)
		wake_up_all(&freezer.wake);
	mutex_unlock(&freezer.lock);
	return wanted;
}

static bool freeze_list(struct list_head *list)
{
	struct fsf_super *super, *next;

	list_for_each_entry_safe(super, next, list, link)
		if (!begin_super(super) ||
		    !end_super(super, fsf_compat_freeze(super->sb)))
			return false;
	return true;
}

/*
 * Walks again until nothing new is found: what was mounted meanwhile, or made
 * writable, belongs to it.
 */
static int freeze_places(struct fsf_places *places)
{
	LIST_HEAD(list);
	bool on = true;
	int err = 0;

	for (int pass = 0; on && !err; pass++) {
		err = find_new(&list, places);
		if (begins_anew()) {
			fsf_supers_release(&list);
			on = !READ_ONCE(freezer.undo);
			pass = -1;
			continue;
		}
		if (!err && list_empty(&list))
			break;
		if (!err && pass == PASSES_MAX)
			err = -EAGAIN;
		on = !err && freeze_list(&list);
		fsf_supers_release(&list);
	}
	return err;
}

static void freeze_all(void)
{
	struct fsf_places *places = NULL;
	int err = 0;

	if (freezer.paths) {
		places = fsf_places_find(freezer.paths, freezer.paths_size);
		err = places ? 0 : -ENOMEM;
	}
	if (!err)
		err = freeze_places(places);
	fsf_places_release(places);
	if (!err)
		return;
	mutex_lock(&freezer.lock);
	fail("the file systems cannot be found: error %d", -err);
	undo();
	mutex_unlock(&freezer.lock);
}

static void work(void)
{
	freeze_all();
	mutex_lock(&freezer.lock);
	freezer.working = false;
	freezer.at[0] = 0;
	kvfree(freezer.paths);
	freezer.paths = NULL;
	freezer.left_ms = limit_ms();
	if (freezer.undo)
		set_state(FSF_THAWING);
	else
		set_state(freezer.n_frozen ? FSF_FROZEN : FSF_THAWED);
	mutex_unlock(&freezer.lock);
}

static int worker(void *arg)
{
	while (!kthread_should_stop()) {
		wait_event_idle(freezer.wake,
				READ_ONCE(freezer.working) ||
				(READ_ONCE(freezer.state) == FSF_THAWED &&
				 !list_empty(&freezer.thawed)) ||
				kthread_should_stop());
		let_go();
		if (READ_ONCE(freezer.working))
			work();
	}
	return 0;
}

/* --- the dead man --- */

/* It stays in the list until it is thawed. */
static struct fsf_super *next_frozen(void)
{
	struct fsf_super *super;

	mutex_lock(&freezer.lock);
	super = list_first_entry_or_null(&freezer.frozen, struct fsf_super,
					 link);
	mutex_unlock(&freezer.lock);
	return super;
}

/* The reverse of the order in which they were frozen. */
static void thaw_all(void)
{
	struct fsf_super *super;

	while ((super = next_frozen())) {
		int err = fsf_compat_thaw(super->sb);

		if (err)
			pr_warn("%s (%s) was thawed by somebody else: error %d\n",
				super->sb->s_id, super->sb->s_type->name, -err);
		mutex_lock(&freezer.lock);
		if (!err)
			freezer.n_thawed++;
		list_move_tail(&super->link, &freezer.thawed);
		if (list_empty(&freezer.frozen))
			wake_up_all(&freezer.wake);
		mutex_unlock(&freezer.lock);
	}
}

static void end_thaw(void)
{
	mutex_lock(&freezer.lock);
	if (freezer.state == FSF_THAWING && list_empty(&freezer.frozen)) {
		if (freezer.failed)
			pr_warn("thawed %u file systems: %s\n",
				freezer.n_thawed, freezer.reason);
		if (!freezer.asked)
			freezer.n_thawed = 0;
		set_state(FSF_THAWED);
	}
	mutex_unlock(&freezer.lock);
}

/* Takes what has passed off the time that is left. */
static void count_down(unsigned long *last)
{
	unsigned int passed = min(jiffies_to_msecs(jiffies - *last),
				  2 * STEP_MS);

	*last = jiffies;
	mutex_lock(&freezer.lock);
	freezer.left_ms -= min(freezer.left_ms, passed);
	if (freezer.walking && freezer.n_frozen > 0) {
		freezer.walk_ms += passed;
		if (freezer.walk_ms >= WALK_MAX_MS)
			begin_anew();
	}
	if (freezer.left_ms == 0 && freezer.state == FSF_FREEZING) {
		if (!freezer.undo)
			fail("the freeze took longer than %u ms and was undone, at %s",
			     limit_ms(), freezer.at[0] ? freezer.at : "a mount");
		undo();
	} else if (freezer.left_ms == 0 && freezer.state == FSF_FROZEN) {
		fail("nothing was heard of the host for %u ms", limit_ms());
		set_state(FSF_THAWING);
	}
	mutex_unlock(&freezer.lock);
}

/* Whether there is something to thaw. */
static bool thaw_is_due(void)
{
	return READ_ONCE(freezer.state) == FSF_THAWING ||
	       ((READ_ONCE(freezer.undo) || READ_ONCE(freezer.again)) &&
		!list_empty(&freezer.frozen));
}

static int dead_man(void *arg)
{
	unsigned long last = jiffies;

	while (!kthread_should_stop()) {
		wait_event_idle(freezer.wake,
				READ_ONCE(freezer.state) != FSF_THAWED ||
				kthread_should_stop());
		last = jiffies;
		while (READ_ONCE(freezer.state) != FSF_THAWED) {
			wait_event_idle_timeout(freezer.wake, thaw_is_due(),
						msecs_to_jiffies(STEP_MS));
			count_down(&last);
			if (thaw_is_due()) {
				thaw_all();
				end_thaw();
			}
		}
	}
	return 0;
}

/* --- for the session --- */

/**
 * fsf_freezer_freeze() - begin to freeze
 * @paths: those on which these lie, each with a NUL behind it; NULL is all
 * @paths_size: bytes of @paths
 *
 * Return: 0, and a change of the state tells of the end; -EBUSY if this is not
 * FSF_THAWED; -ENOMEM.
 */
int fsf_freezer_freeze(const char *paths, size_t paths_size)
{
	char *copy = NULL;
	int err = 0;

	if (paths) {
		/* A byte more: no path at all is another thing than NULL. */
		copy = kvzalloc(paths_size + 1, FSF_GFP);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, paths, paths_size);
	}
	mutex_lock(&freezer.lock);
	if (freezer.state != FSF_THAWED) {
		kvfree(copy);
		err = -EBUSY;
	} else {
		freezer.paths = copy;
		freezer.paths_size = paths_size;
		freezer.undo = false;
		freezer.again = false;
		freezer.asked = false;
		freezer.failed = false;
		freezer.n_frozen = 0;
		freezer.n_thawed = 0;
		freezer.left_ms = limit_ms();
		freezer.working = true;
		set_state(FSF_FREEZING);
	}
	mutex_unlock(&freezer.lock);
	return err;
}

/**
 * fsf_freezer_thaw() - thaw, as the host wishes
 *
 * A freeze under way is taken back. A change of the state tells of the end.
 */
void fsf_freezer_thaw(void)
{
	mutex_lock(&freezer.lock);
	if (freezer.state == FSF_FREEZING && !freezer.undo) {
		fail("it was thawed before all was frozen");
		undo();
	} else if (freezer.state == FSF_FROZEN) {
		freezer.asked = true;
		set_state(FSF_THAWING);
	}
	mutex_unlock(&freezer.lock);
}

/**
 * fsf_freezer_feed() - the host was heard
 *
 * A freeze under way has its time from its start, whatever else the host says.
 */
void fsf_freezer_feed(void)
{
	mutex_lock(&freezer.lock);
	if (freezer.state == FSF_FROZEN)
		freezer.left_ms = limit_ms();
	mutex_unlock(&freezer.lock);
}

/**
 * fsf_freezer_look() - how it stands
 * @seen: filled in
 */
void fsf_freezer_look(struct fsf_seen *seen)
{
	mutex_lock(&freezer.lock);
	seen->state = freezer.state;
	seen->count = freezer.state == FSF_THAWED ? freezer.n_thawed :
						    freezer.n_frozen;
	seen->left_ms = freezer.left_ms;
	seen->failed = freezer.failed;
	strscpy(seen->reason, freezer.reason, sizeof(seen->reason));
	mutex_unlock(&freezer.lock);
}

/**
 * fsf_freezer_wait_thawed() - thaw, and wait for it
 */
void fsf_freezer_wait_thawed(void)
{
	fsf_freezer_thaw();
	wait_event(freezer.wake, READ_ONCE(freezer.state) == FSF_THAWED);
}

/**
 * fsf_freezer_watch() - have changes of the state told
 * @changed: called with a lock held; NULL for nobody
 * @arg: for @changed
 */
void fsf_freezer_watch(void (*changed)(void *arg), void *arg)
{
	mutex_lock(&freezer.lock);
	freezer.changed = changed;
	freezer.changed_arg = arg;
	mutex_unlock(&freezer.lock);
}

/**
 * fsf_freezer_start() - start the threads
 *
 * Return: 0, or a negative errno.
 */
int fsf_freezer_start(void)
{
	freezer.worker = kthread_run(worker, NULL, "fsfreeze-work");
	if (IS_ERR(freezer.worker))
		return PTR_ERR(freezer.worker);
	freezer.dead_man = kthread_run(dead_man, NULL, "fsfreeze-deadman");
	if (!IS_ERR(freezer.dead_man))
		return 0;
	kthread_stop(freezer.worker);
	return PTR_ERR(freezer.dead_man);
}

/**
 * fsf_freezer_stop() - thaw, and end the threads
 */
void fsf_freezer_stop(void)
{
	fsf_freezer_wait_thawed();
	kthread_stop(freezer.dead_man);
	kthread_stop(freezer.worker);
	let_go();
}
