/* The pivot as two-phase commit: what the journal has, what QEMU does, and the kills between.
 *
 * "Whole" means that an image holds every write that the guest saw completed. If QEMU died now, the
 * record alone would name the disk: at every instant that image is whole. The commands of a daemon
 * that died may still be executed or not, but not behind the next one's first look.
 *
 * -DPAUSE_NEVER leaves the vCPUs running over the switch (job.pivot with pause: never): then QEMU
 * may fail to switch, the guest write on to the source, and QEMU die before that is recorded. */

#define KILLS 3

mtype = { nothing, running, ready, pending, concluded };        /* the job in QEMU */
mtype = { source, target };                                     /* the disk's root */
mtype = { undecided, decided, reversed, ended };                /* the journal's word */
mtype = { start, complete, stop, finalize, cont, dismiss };

bool alive = true, vcpus = true, user_paused = false;
bool source_whole = true, target_whole = false, completing = false;
mtype job = nothing, root = source;

mtype word = undecided, disk = source;  /* `disk` is what "ended" names */
bool held = false;                      /* recorded: the vCPUs are to be held by us */

bool up = true;
byte kills = 0;
chan qmp = [4] of { mtype };

#define NAMED_TARGET ((word == decided) || (word == ended && disk == target))
#define RIGHT ((NAMED_TARGET && target_whole) || (!NAMED_TARGET && source_whole))
#define SETTLED (word == ended && (!alive || (job == nothing && (vcpus || user_paused))))

ltl right { [] RIGHT }
ltl settles { <> SETTLED }

active proctype guest()
{
    do
    :: atomic { alive && vcpus && job != pending ->
        if
        :: root == source -> target_whole = false
        :: root == target -> source_whole = false
        fi }
    :: word == ended -> break
    :: !alive -> break
    od
}

/* The administrator may pause the guest at any time; that is never ours to undo. */
active proctype administrator()
{
    if
    :: atomic { alive && vcpus -> vcpus = false; user_paused = true }
    :: word == ended
    fi
}

active proctype qemu()
{
    mtype command;

    do
    :: !alive -> break
    :: atomic { alive && job == running -> job = ready; target_whole = true }
    :: atomic { alive && job == ready && !target_whole -> target_whole = true }
    :: atomic { alive && job == ready && completing && target_whole -> job = pending }
    :: atomic { alive && nempty(qmp) -> qmp ? command;
        if
        :: command == start && job == nothing -> job = running
        :: command == complete && job == ready -> completing = true
        :: command == stop -> vcpus = false
        :: command == finalize && job == pending -> job = concluded; root = target
        :: command == finalize && job == pending -> job = concluded     /* it failed */
        :: command == cont -> vcpus = true
        :: command == dismiss && job == concluded -> job = nothing
        :: else
        fi }
    :: word == ended && empty(qmp) -> break
    od
}

active proctype killer()
{
    do
    :: atomic { kills < KILLS && up && word != ended -> kills++; up = false }
    :: atomic { alive && word != ended -> alive = false; break }
    :: word == ended -> break
    od
}

inline settle()
{
    atomic {
        if
        :: word == decided -> disk = target
        :: else
        fi;
        word = ended
    }
}

/* One walk: each look at QEMU is one at which nothing is under way. */
inline walk()
{
    do
    :: !alive -> settle()
    :: word == ended -> break
    :: alive && empty(qmp) && word == undecided && job == nothing -> qmp ! start
    :: alive && empty(qmp) && word == undecided && job == ready && !completing -> qmp ! complete
    :: atomic { alive && empty(qmp) && word == undecided && job == pending ->
#ifndef PAUSE_NEVER
        held = vcpus;
#endif
        word = decided }
    :: alive && empty(qmp) && word == decided && job == pending ->
        if
        :: held -> qmp ! stop
        :: else
        fi;
        qmp ! finalize
    :: atomic { alive && empty(qmp) && word == decided && job != pending && root == source ->
        word = reversed }
    :: alive && empty(qmp) && job != pending && (word == reversed || root == target) &&
        (word == reversed || word == decided) ->
        if
        :: held && !vcpus && !user_paused -> qmp ! cont
        :: else
        fi;
        qmp ! dismiss;
        empty(qmp) || !alive;
        if
        :: alive && (vcpus || user_paused) && job == nothing -> settle()
        :: else
        fi
    od
}

active proctype daemon()
{
    mtype lost;

again:
    { walk(); goto done } unless { !up };
    /* The connection is cut: QEMU executes what it had taken, in order, and drops the rest. */
    if
    :: empty(qmp) || !alive
    :: atomic {
        do
        :: nempty(qmp) -> qmp ? lost
        :: empty(qmp) -> break
        od }
    fi;
    up = true;
    goto again;
done:
    skip
}
