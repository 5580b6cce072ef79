/* Bounds on what a peer may send. Those of the socket are the defaults of [limits]. */
#ifndef SNAPVM_PROTO_LIMITS_H
#define SNAPVM_PROTO_LIMITS_H

#define LIMIT_CONNECTIONS 256
#define LIMIT_REQUEST_BYTES (1024 * 1024)
#define LIMIT_NESTING 32
#define LIMIT_IN_FLIGHT 64
#define LIMIT_OUTPUT_BYTES (8 * 1024 * 1024)

/* QEMU answers query-named-block-nodes on one line: 176 KB at 128 layers, and the schema 240 KB. */
#define LIMIT_QMP_LINE (16 * 1024 * 1024)
/* A chain of 200 layers nests about 400 deep in query-blockstats; QEMU itself stops at 1024. */
#define LIMIT_QMP_NESTING 1024
/* Layers of a disk that a check looks at: headers may name what they like. */
#define LIMIT_CHAIN_LAYERS 512
/* Files that ended jobs touched, and entries of a folder, among which it looks for what is left. */
#define LIMIT_CHECK_FILES 10000

/* A guest's agent is not trusted: the largest honest answer is guest-get-fsinfo's. */
#define LIMIT_AGENT_LINE (64 * 1024)
#define LIMIT_AGENT_NESTING 16

#define LIMIT_REQUEST_ID 128    /* characters */
#define LIMIT_SNAPSHOT_NAME 255 /* bytes */
#define LIMIT_DOMAIN_NAME 64
#define LIMIT_SNAPSHOT_DISKS 26

#endif
