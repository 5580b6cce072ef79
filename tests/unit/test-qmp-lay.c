/* Commands that are laid out before they are sent, against a scripted monitor: a guess that was
 * right, and one that was wrong. */
#include "proto/snapvm-errors.h"
#include "qmp-peer.h"

#define STRAY "{\"error\":{\"class\":\"GenericError\",\"desc\":\"JSON parse error, stray\"}}\n"

static void lay(struct peer *peer, const char *command, struct asked *asked)
{
    qmp_lay(peer->qmp);
    ask(peer, command, true, asked);
    qmp_laid(peer->qmp);
    ck_assert(asked->dropped && !asked->done);
}

static void assert_sent(struct peer *peer, const char *text)
{
    char data[256] = "";

    ck_assert_int_eq(read(peer->fd, data, sizeof(data) - 1), (ssize_t)strlen(text));
    ck_assert_str_eq(data, text);
}

/* A guess that was right: the command is what was laid out and its end. */
START_TEST(laid_out)
{
    struct peer peer;
    struct asked guess = {0}, asked = {0};

    peer_up(&peer, 10000, NULL);
    lay(&peer, "do-a", &guess);
    assert_sent(&peer, "{\"execute\":\"do-a\",\"id\":2");
    lay(&peer, "do-b", &guess);
    ask(&peer, "do-a", true, &asked);
    assert_sent(&peer, "}\n");
    peer_say(&peer, "{\"return\":{},\"id\":2}\n");
    peer_until(&peer, &asked.done);
    ck_assert_uint_eq(guess.n, 0);
    asked_deinit(&asked);
    peer_deinit(&peer);
}
END_TEST

/* One that was wrong: QEMU is made to forget it, and its complaint is nobody's. */
START_TEST(laid_out_in_vain)
{
    struct peer peer;
    struct asked guess = {0}, asked = {0};

    peer_up(&peer, 10000, NULL);
    lay(&peer, "do-a", &guess);
    ask(&peer, "do-b", true, &asked);
    assert_sent(&peer, "{\"execute\":\"do-a\",\"id\":2\xff{\"execute\":\"do-b\",\"id\":2}\n");
    peer_say(&peer, STRAY "{\"return\":7,\"id\":2}\n");
    peer_until(&peer, &asked.done);
    ck_assert_str_eq(asked.result, "7");
    ck_assert(!peer.down);
    /* A second complaint is that of a stranger. */
    peer_say(&peer, STRAY);
    peer_until(&peer, &peer.down);
    ck_assert_uint_eq(guess.n + asked.n, 1);
    asked_deinit(&asked);
    peer_deinit(&peer);
}
END_TEST

/* Complaints are due in their turn, also from a QEMU that ends instead, or numbers them. */
START_TEST(forgotten_and_gone)
{
    struct peer peer;
    struct asked guess = {0}, asked = {0};

    peer_up(&peer, 10000, NULL);
    lay(&peer, "do-a", &guess);
    ask(&peer, "do-b", true, &asked);
    peer_say(&peer, _i ? "{\"return\":{},\"id\":0}\n" : "{\"return\":{}}\n");
    peer_until(&peer, &peer.down);
    ck_assert_int_eq(asked.err.code, SNAPVM_ERROR_QEMU_GONE);
    lay(&peer, "do-a", &guess);
    ck_assert_uint_eq(guess.n, 0);
    asked_deinit(&asked);
    peer_deinit(&peer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("qmp-lay");
    TCase *tcase = tcase_create("lay");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, laid_out);
    tcase_add_test(tcase, laid_out_in_vain);
    tcase_add_loop_test(tcase, forgotten_and_gone, 0, 2);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
