/* The measuring client: both contenders in one process and in one loop, in turn and in changing
 * order, each on twins of the same guests. It is started by `run`, and prints a line a pair:
 *
 *     METRIC FLOOR DAEMON        in microseconds
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "bench/contender.h"
#include "bench/fake-agent.h"
#include "bench/guest.h"
#include "bench/raw-qmp.h"

#define WARM_UP 5 /* rounds that are not counted */

enum { FLOOR, DAEMON, N_CONTENDERS };
enum { ONE, EIGHT, DEEP, N_GUESTS }; /* by their number of disks, and one with many layers */

struct bench {
    struct contender contenders[N_CONTENDERS];
    struct guest guests[N_CONTENDERS][N_GUESTS];
    int64_t last[N_CONTENDERS][N_GUESTS]; /* the newest snapshot */
    unsigned round;
};

typedef void (*sample_fn)(const struct contender *contender, struct guest *guest,
                          int64_t samples[]);

static void take_snapshot(const struct contender *contender, struct guest *guest, int64_t samples[])
{
    samples[1] = contender->snapshot(contender->self, guest);
    samples[0] = fake_agent_window(guest->agent);
}

/* Takes n samples of each contender, who begins in turns, and prints those of counted rounds. */
static void measure(struct bench *bench, unsigned which, sample_fn take, unsigned n,
                    const char *const metrics[])
{
    int64_t samples[N_CONTENDERS][2];

    for (unsigned i = 0; i < N_CONTENDERS; i++) {
        unsigned turn = (bench->round + i) % N_CONTENDERS;

        guest_rest(&bench->guests[turn][which]);
        take(&bench->contenders[turn], &bench->guests[turn][which], samples[turn]);
        if (take == take_snapshot)
            bench->last[turn][which] = samples[turn][1];
    }
    for (unsigned i = 0; i < n && bench->round >= WARM_UP; i++)
        printf("%s %lld %lld\n", metrics[i], (long long)samples[FLOOR][i],
               (long long)samples[DAEMON][i]);
}

/* What the depth of a chain costs each of them: its own snapshots of one round. */
static void measure_depth(const struct bench *bench)
{
    static const char *const metrics[] = {"depth-floor", "depth-daemon"};

    for (unsigned i = 0; i < N_CONTENDERS && bench->round >= WARM_UP; i++)
        printf("%s %lld %lld\n", metrics[i], (long long)bench->last[i][ONE],
               (long long)bench->last[i][DEEP]);
}

static void take_commit(const struct contender *contender, struct guest *guest, int64_t samples[])
{
    samples[0] = contender->commit(contender->self, guest, 0);
    guest_clean(guest);
}

static void take_ready(const struct contender *contender, struct guest *guest, int64_t samples[])
{
    contender->ready(contender->self, guest, 0, samples);
    guest_clean(guest);
}

/* "stop" or "cont" to the twins, by the monitor on which nobody else asks. */
static void tell_twins(struct bench *bench, unsigned which, const char *command)
{
    for (unsigned i = 0; i < N_CONTENDERS; i++) {
        struct raw_qmp *witness = bench->guests[i][which].witness;

        raw_qmp_send(witness, "{\"execute\":\"%s\"}\n", command);
        raw_qmp_wait(witness, 1, NULL);
    }
}

/* Back to the bases, unmeasured. */
static void merge_all(struct bench *bench, unsigned which)
{
    for (unsigned i = 0; i < N_CONTENDERS; i++) {
        struct guest *guest = &bench->guests[i][which];

        for (unsigned disk = 0; disk < guest->n_disks; disk++)
            bench->contenders[i].commit(bench->contenders[i].self, guest, disk);
        guest_clean(guest);
    }
}

static void measure_all(struct bench *bench)
{
    static const char *const one[] = {"frozen-1", "snapshot-1"};
    static const char *const eight[] = {"frozen-8", "snapshot-8"};
    static const char *const deep[] = {"frozen-deep", "snapshot-deep"};
    static const char *const commit[] = {"commit"}, *const paused[] = {"paused"};
    static const char *const ready[] = {"ready", "recorded"};

    measure(bench, ONE, take_snapshot, 2, one);
    measure(bench, ONE, take_commit, 1, commit);
    measure(bench, ONE, take_snapshot, 2, one);
    tell_twins(bench, ONE, "stop");
    measure(bench, ONE, take_commit, 1, paused);
    tell_twins(bench, ONE, "cont");
    measure(bench, ONE, take_snapshot, 2, one);
    measure(bench, ONE, take_ready, 2, ready);
    measure(bench, EIGHT, take_snapshot, 2, eight);
    merge_all(bench, EIGHT);
    measure(bench, DEEP, take_snapshot, 2, deep);
    merge_all(bench, DEEP);
    measure_depth(bench);
    fflush(stdout);
}

static struct guest guest_of(const char *root, const char *whose, const char *name,
                             unsigned n_disks)
{
    return (struct guest){
        .name = name,
        .n_disks = n_disks,
        .sockets = xasprintf("%s/%s/%s", root, whose, name),
        .images = xasprintf("%s/%s-images/%s", root, whose, name),
    };
}

int main(int argc, char **argv)
{
    static const char *const folders[N_CONTENDERS] = {"floor", "guests"};
    struct bench bench = {0};
    unsigned rounds;

    if (argc != 4)
        die("usage: measure ROOT SOCKET ROUNDS (see bench/run, which calls it)");
    rounds = (unsigned)strtoul(argv[3], NULL, 10) + WARM_UP;
    for (unsigned i = 0; i < N_CONTENDERS; i++) {
        bench.guests[i][ONE] = guest_of(argv[1], folders[i], "one", 1);
        bench.guests[i][EIGHT] = guest_of(argv[1], folders[i], "eight", GUEST_DISKS);
        bench.guests[i][DEEP] = guest_of(argv[1], folders[i], "deep", 1);
        for (unsigned k = 0; k < N_GUESTS; k++)
            guest_open(&bench.guests[i][k]);
    }
    /* The agents listen: now the daemon can be started, and whoever did it says so. */
    puts("agents");
    fflush(stdout);
    if (getchar() == EOF)
        return 1;
    bench.contenders[FLOOR] = floor_contender(bench.guests[FLOOR], N_GUESTS);
    bench.contenders[DAEMON] = daemon_contender(argv[2]);
    for (bench.round = 0; bench.round < rounds; bench.round++)
        measure_all(&bench);
    return 0;
}
