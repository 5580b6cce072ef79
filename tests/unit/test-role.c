/* Who may do what, by the kernel's word alone; and the socket in the file system. The peers are
 * children that take on another identity, connect, and hand the connection back. */
#include <check.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "api/method.h"
#include "api/metrics.h"
#include "base/memory.h"
#include "proto/snapvm-errors.h"
#include "rpc/listener.h"
#include "rpc/role.h"
#include "tests/unit/rpc-fixture.h"
#include "tests/unit/scratch.h"

#define STRANGER_UID 54321

enum { GROUP_ADMIN = 60001, GROUP_OPERATOR, GROUP_READER, GROUP_OTHER };

static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    printf("SKIP: taking on other identities needs root\n");
    return false;
}

static void send_fd(int channel, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    sendmsg(channel, &message, 0);
}

static int receive_fd(int channel)
{
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    int fd;

    ck_assert_int_eq(recvmsg(channel, &message, 0), 1);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

/* A connection to the path by a process with these groups (n counts the supplementary ones). */
static int connect_as(const char *path, gid_t gid, const gid_t *groups, size_t n)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int pair[2], fd, status;
    pid_t child;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    child = fork();
    if (child == 0) {
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (setgroups(n, groups) == 0 && setgid(gid) == 0 && setuid(STRANGER_UID) == 0 &&
            connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            send_fd(pair[1], fd);
            _exit(0);
        }
        _exit(1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    fd = receive_fd(pair[0]);
    close(pair[0]);
    close(pair[1]);
    return fd;
}

static struct fixture *fixture_with_groups(void)
{
    struct fixture *fixture = fixture_new();

    fixture->conf.admin_group = GROUP_ADMIN;
    fixture->conf.operator_group = GROUP_OPERATOR;
    fixture->conf.reader_group = GROUP_READER;
    chmod(fixture->dir, 0755);
    return fixture;
}

static struct client *client_as(struct fixture *fixture, gid_t gid, gid_t other)
{
    return client_adopt(fixture, connect_as(fixture->path, gid, &other, other ? 1 : 0));
}

struct identity {
    gid_t gid, other;
    enum call_role role;
};

static const struct identity identities[] = {
    {GROUP_READER, 0, ROLE_READER},          {GROUP_OTHER, GROUP_READER, ROLE_READER},
    {GROUP_OPERATOR, 0, ROLE_OPERATOR},      {GROUP_READER, GROUP_OPERATOR, ROLE_OPERATOR},
    {GROUP_ADMIN, GROUP_READER, ROLE_ADMIN}, {GROUP_OTHER, GROUP_ADMIN, ROLE_ADMIN},
};

/* Every method of the table, so that none is left open by mistake. */
START_TEST(test_methods)
{
    const struct identity *identity = &identities[_i];
    const struct method *table;
    struct fixture *fixture;
    struct client *client;
    size_t n;

    if (!is_root())
        return;
    fixture = fixture_with_groups();
    client = client_as(fixture, identity->gid, identity->other);
    table = method_table(&n);
    for (size_t i = 0; i < n; i++) {
        _cleanup_json_ json_object *answer = client_call(client, 1, table[i].name, "{\"x\":1}");

        if (identity->role >= table[i].role) {
            ck_assert_str_ne(answer_kind(answer), "AccessDenied");
            continue;
        }
        ck_assert_str_eq(answer_kind(answer), "AccessDenied");
        ck_assert_str_eq(json_string(answer_data(answer), "needs"),
                         method_role_name(table[i].role));
    }
    client_free(client);
    fixture_free(fixture);
}
END_TEST

START_TEST(test_snapshot_current)
{
    struct fixture *fixture;
    struct client *client;

    if (!is_root())
        return;
    fixture = fixture_with_groups();
    client = client_as(fixture, GROUP_READER, 0);
    json_object_put(client_call(client, 1, "snapshot.current", "{\"domain\":\"w\"}"));
    client_send(client, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"snapshot.current\","
                        "\"params\":{\"domain\":\"w\",\"name\":\"s\"}}\n");
    client_expect(client, "AccessDenied");
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* A reload of the groups counts for connections that are open. */
START_TEST(test_reload)
{
    struct fixture *fixture;
    struct client *client;

    if (!is_root())
        return;
    fixture = fixture_with_groups();
    client = client_as(fixture, GROUP_READER, 0);
    json_object_put(client_call(client, 1, "domain.list", NULL));
    fixture->conf.reader_group = CONF_NO_GROUP;
    client_send(client, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"domain.list\"}\n");
    client_expect(client, "AccessDenied");
    client_expect(client, NULL);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

static const char *const stranger_lines[] = {
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.list\"}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no.such\"}\n",
    "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"domain.list\"}]\n",
};

/* A stranger is told so, and nothing else, and then disconnected. */
START_TEST(test_stranger)
{
    struct fixture *fixture;
    struct client *client;

    if (!is_root())
        return;
    fixture = fixture_with_groups();
    client = client_as(fixture, GROUP_OTHER, 0);
    client_send(client, stranger_lines[_i]);
    client_send(client, stranger_lines[_i]);
    client_expect(client, "AccessDenied");
    client_expect(client, NULL);
    ck_assert_uint_eq(fixture->stub.runs, 0);
    client_free(client);
    /* A notification of theirs does not run either. */
    client = client_as(fixture, GROUP_OTHER, 0);
    client_send(client, "{\"jsonrpc\":\"2.0\",\"method\":\"domain.list\"}\n");
    client_expect(client, NULL);
    ck_assert_uint_eq(fixture->stub.runs, 0);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* Strangers cannot take the place of those who have a role. */
START_TEST(test_many_strangers)
{
    struct client *strangers[20], *client;
    struct fixture *fixture;

    if (!is_root())
        return;
    fixture = fixture_with_groups();
    fixture->conf.connections = 20;
    for (int i = 0; i < 20; i++)
        strangers[i] = client_as(fixture, GROUP_OTHER, 0);
    client_expect(strangers[19], "AccessDenied");
    client = client_new(fixture);
    json_object_put(client_call(client, 1, "domain.list", NULL));
    ck_assert_uint_eq(fixture->context.metrics->refused, 12);
    for (int i = 0; i < 20; i++)
        client_free(strangers[i]);
    client_free(client);
    fixture_free(fixture);
}
END_TEST

/* Without groups in the configuration nobody but root and ourselves has a role. */
START_TEST(test_no_groups)
{
    struct peer peer = {.uid = geteuid() + 1, .gid = (gid_t)-1};
    struct conf conf;

    conf_init(&conf);
    ck_assert_int_eq(peer_role(&peer, &conf), ROLE_NONE);
    peer.uid = geteuid();
    ck_assert_int_eq(peer_role(&peer, &conf), ROLE_ADMIN);
    conf_deinit(&conf);
}
END_TEST

/* The socket of a dead daemon is replaced; a live one, or another file, is left alone. */
START_TEST(test_listener)
{
    _cleanup_error_ struct error err = {0};
    char *dir = scratch_new();
    _cleanup_free_ char *path = xasprintf("%s/made/sock", dir);
    struct listener first = {.fd = -1}, second = {.fd = -1};
    struct stat st;
    FILE *file;

    ck_assert_int_eq(listener_open(&first, path, &err), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0666);
    ck_assert_int_lt(listener_open(&second, path, &err), 0);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_BUSY);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(first.fd);
    ck_assert_int_eq(listener_open(&second, path, &err), 0);
    /* Another one listens there now: its file is not removed. */
    first.fd = dup(0);
    listener_close(&first);
    ck_assert_int_eq(access(path, F_OK), 0);
    listener_close(&second);
    ck_assert_int_ne(access(path, F_OK), 0);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    ck_assert_int_lt(listener_open(&first, path, &err), 0);
    ck_assert_int_eq(err.code, SNAPVM_ERROR_INVALID_STATE);
    ck_assert_int_eq(access(path, F_OK), 0);
    scratch_free(dir);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("role");
    TCase *tcase = tcase_create("role");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_methods, 0, sizeof(identities) / sizeof(identities[0]));
    tcase_add_test(tcase, test_snapshot_current);
    tcase_add_test(tcase, test_reload);
    tcase_add_loop_test(tcase, test_stranger, 0,
                        sizeof(stranger_lines) / sizeof(stranger_lines[0]));
    tcase_add_test(tcase, test_many_strangers);
    tcase_add_test(tcase, test_no_groups);
    tcase_add_test(tcase, test_listener);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
