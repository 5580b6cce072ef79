/* The freeze debt: what the journal has, what is on its way to the guest, and what goes wrong: the
 * daemon killed, the guest paused, its agent late, deaf, or started anew without its memory, a thaw
 * that errs, an administrator who thaws.
 *
 * One file system, one command at a time that is waited for. A command is fresh as long as its
 * answer is waited for; a sync before the next one tells the answers of stale ones from it, so that
 * they need not be kept. A thaw goes with the status behind it.
 *
 * What is left out shows what it is for: -DBELIEVE_ANY, the sync; -DBELIEVE_SILENCE, the thaw behind
 * a freeze without an answer; -DBELIEVE_STATUS, the thaw where the agent says that it is thawed;
 * -DRECORD_LATE, the record before the freeze. -DIGNORE_COUNT calls quiesced what counted less. */

#define KILLS 2
#define FREEZES 2
#define TIMEOUTS 2

mtype = { freeze, thaw };                                       /* on the way */
mtype = { none, one, nothing, erred, refused };                 /* answers */

bool debt = false;                      /* the journal's */
bool frozen = false, runs = true;       /* the guest's */
bool memory = false;                    /* the agent's: it says frozen */
bool up = true;
byte kills = 0, freezes = 0, timeouts = 0, on_the_way = 0;
bool restarted = false, lost = false, failed = false, thawed_by_hand = false;
bool froze = false, was_frozen = false, quiesced = false;
mtype answer = none;
chan port = [3] of { mtype, bool };     /* what the socket, QEMU and the guest hold, in order */

#define COVERED (debt || (!frozen && on_the_way == 0))
#define SETTLED (!debt && !frozen)

ltl covered { [] COVERED }
ltl settles { [] (debt -> <> SETTLED) }
ltl honest { [] (quiesced -> was_frozen) }

inline obey(command)
{
    if
    :: command == freeze ->
        on_the_way--;
        if
        :: frozen = true; memory = true; reply = one
        :: reply = refused              /* a hook failed */
        fi
    :: command == thaw ->
        if
        :: reply = (frozen -> one : nothing); frozen = false; memory = false
        :: reply = erred; frozen = false; memory = false        /* a hook is missing */
        :: memory && !failed -> failed = true; reply = refused
        fi
    fi
}

active proctype agent()
{
    mtype command, reply;
    bool fresh;

end:
    do
    :: atomic { runs && nempty(port) -> port ? command, fresh;
        obey(command);
        if
#ifdef BELIEVE_ANY
        :: answer == none -> answer = reply
#else
        :: fresh && answer == none -> answer = reply
#endif
        :: !fresh
        :: fresh && !lost -> lost = true        /* killed before it answers */
        fi;
        reply = none; command = freeze; fresh = false }
    :: atomic { !restarted && memory -> restarted = true; memory = false }
    od
}

active proctype administrator()
{
    if
    :: atomic { runs -> runs = false }
    :: true
    fi;
    runs = true;
end:
    if
    :: atomic { frozen && !thawed_by_hand -> thawed_by_hand = true; frozen = false }
    fi
}

active proctype killer()
{
end:
    do
    :: atomic { up && kills < KILLS -> kills++; up = false }
    od
}

/* The connection is closed: what it held behind a certain command is gone. */
inline cut()
{
    n = len(port);
    whole = true;
    do
    :: n > 0 -> n--; port ? command, fresh;
        if
        :: whole
        :: whole = false
        fi;
        if
        :: whole -> port ! command, false
        :: !whole && command == freeze -> on_the_way--
        :: !whole && command != freeze
        fi
    :: n == 0 -> break
    od;
    answer = none; command = freeze; fresh = false; whole = true
}

/* A sync goes first: answers from before are not waited for any more. */
inline send(what)
{
    atomic {
        n = len(port);
        do
        :: n > 0 -> n--; port ? command, fresh; port ! command, false
        :: n == 0 -> break
        od;
        command = freeze; fresh = false;
#ifndef BELIEVE_ANY
        answer = none;
#endif
        if
        :: nfull(port) ->
            if
            :: what == freeze -> on_the_way++
            :: else
            fi;
            port ! what, true
        :: full(port)
        fi
    }
}

#define TIME_IS_OUT (answer == none && (timeouts < TIMEOUTS || empty(port)))

inline count_timeout()
{
    if
    :: timeouts < TIMEOUTS -> timeouts++
    :: else
    fi
}

inline strike()
{
    atomic {
        debt = false;
#ifdef IGNORE_COUNT
        quiesced = froze;
#else
        quiesced = froze && answer == one;
#endif
        froze = false; errors = 0; answer = none; no = false
    }
}

inline collect()
{
    do
    :: !debt -> break
#ifdef BELIEVE_STATUS
    :: debt && runs && !memory && empty(port) -> strike()
#endif
    :: debt && runs ->
        send(thaw);
        if
        :: answer == one || answer == nothing -> strike()
        :: atomic { answer == erred && (no || errors == 1) -> froze = false }; strike()
        :: atomic { answer == erred && !no && errors == 0 -> errors = 1; answer = none }
        :: atomic { answer == refused -> answer = none }
        :: atomic { TIME_IS_OUT -> count_timeout(); errors = 0 }
        fi
    od
}

inline snapshot()
{
#ifndef RECORD_LATE
    debt = true;
#endif
    send(freeze);
#ifdef RECORD_LATE
    debt = true;
#endif
    if
    :: atomic { answer == one -> answer = none; froze = true };
        was_frozen = frozen;            /* the switch */
    :: atomic { answer == refused -> answer = none; no = true }
    :: atomic { TIME_IS_OUT -> count_timeout() };
#ifdef BELIEVE_SILENCE
        debt = false;
#endif
        if
        :: atomic { !runs -> cut() }
        :: true
        fi
    fi;
    collect();
    atomic { quiesced = false; was_frozen = false }
}

inline serve()
{
    collect();
    do
    :: atomic { freezes < FREEZES && runs -> freezes++ }; snapshot()
    :: break
    od
}

active proctype daemon()
{
    mtype command;
    bool fresh, whole, no;
    byte n, errors;

again:
    { serve(); goto done } unless { !up };
    atomic { cut(); froze = false; errors = 0; no = false; quiesced = false; was_frozen = false;
        up = true };
    goto again;
done:
    skip
}
