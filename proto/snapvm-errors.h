/* The errors of the public contract, for the daemon, the library and every program that uses it.
 * Numbers and kinds are never reused or renumbered. */
#ifndef SNAPVM_ERRORS_H
#define SNAPVM_ERRORS_H

/* X(enumerator, code, kind): the kind is what travels in `data.kind` and what a program tests. */
#define SNAPVM_ERROR_LIST(X)                                   \
    X(SNAPVM_ERROR_PARSE, -32700, "ParseError")                \
    X(SNAPVM_ERROR_INVALID_REQUEST, -32600, "InvalidRequest")  \
    X(SNAPVM_ERROR_METHOD_NOT_FOUND, -32601, "MethodNotFound") \
    X(SNAPVM_ERROR_INVALID_PARAMS, -32602, "InvalidParams")    \
    X(SNAPVM_ERROR_INTERNAL, -32603, "InternalError")          \
    X(SNAPVM_ERROR_NOT_FOUND, 1, "NotFound")                   \
    X(SNAPVM_ERROR_ALREADY_EXISTS, 2, "AlreadyExists")         \
    X(SNAPVM_ERROR_BUSY, 3, "Busy")                            \
    X(SNAPVM_ERROR_INVALID_STATE, 4, "InvalidState")           \
    X(SNAPVM_ERROR_ACCESS_DENIED, 5, "AccessDenied")           \
    X(SNAPVM_ERROR_NOT_READY, 6, "NotReady")                   \
    X(SNAPVM_ERROR_ACTIVE_REQUIRED, 7, "ActiveRequired")       \
    X(SNAPVM_ERROR_AGENT_UNAVAILABLE, 8, "AgentUnavailable")   \
    X(SNAPVM_ERROR_QUIESCE_FAILED, 9, "QuiesceFailed")         \
    X(SNAPVM_ERROR_QEMU, 10, "QemuError")                      \
    X(SNAPVM_ERROR_QEMU_GONE, 11, "QemuGone")                  \
    X(SNAPVM_ERROR_UNSUPPORTED, 12, "Unsupported")             \
    X(SNAPVM_ERROR_IMAGE, 13, "ImageError")                    \
    X(SNAPVM_ERROR_MISMATCH, 14, "Mismatch")                   \
    X(SNAPVM_ERROR_HAS_SNAPSHOTS, 15, "HasSnapshots")          \
    X(SNAPVM_ERROR_TIMEOUT, 16, "Timeout")                     \
    X(SNAPVM_ERROR_LIMIT_EXCEEDED, 17, "LimitExceeded")        \
    X(SNAPVM_ERROR_NO_SPACE, 18, "NoSpace")                    \
    X(SNAPVM_ERROR_SHUTTING_DOWN, 19, "ShuttingDown")

enum snapvm_error_code {
    SNAPVM_ERROR_NONE = 0,
#define SNAPVM_ERROR_ENUM(name, code, kind) name = code,
    SNAPVM_ERROR_LIST(SNAPVM_ERROR_ENUM)
#undef SNAPVM_ERROR_ENUM
};

#endif
