/* The daemon's socket in the file system. */
#ifndef SNAPVM_RPC_LISTENER_H
#define SNAPVM_RPC_LISTENER_H

struct error;

struct listener {
    int fd;     /* listening, non-blocking; -1: closed */
    char *path; /* NULL: handed over by systemd, whose file it is */
};

/* Listens at the path. The socket file that a dead daemon left there is replaced; with a live one
 * behind it the error is Busy, with another kind of file InvalidState. The folder is made if it is
 * missing. Anybody may connect: who may do what is decided by the peer's credentials, which tell
 * three groups apart where a file's mode tells one. */
int listener_open(struct listener *listener, const char *path, struct error *err);

/* Takes over a socket that listens already. */
void listener_adopt(struct listener *listener, int fd);

/* Closes, and removes the socket file unless another daemon listens there by now. */
void listener_close(struct listener *listener);

#endif
