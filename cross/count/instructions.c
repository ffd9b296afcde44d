// A plugin of qemu's user-mode emulation that counts the instructions a program executes.
//
//   gcc -O2 -shared -fPIC -o instructions.so instructions.c
//   qemu-aarch64 -plugin ./instructions.so,out=FILE,symbols=N PROGRAM…
//
// FILE gets "total N", and for the N functions that executed most "symbol COUNT NAME". The interface is declared here,
// as distributions do not package qemu's header; it is version 1, which qemu 6 to 9 have.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

// What a function executed. Functions are few and looked up once for each translated block: a list will do.
struct function {
    char *name;
    uint64_t count;
    struct function *next;
};

static struct function *functions;
static uint64_t total;
static size_t symbols;
static const char *path;

static struct function *function(const char *name) {
    name = name ? name : "?";
    for (struct function *f = functions; f; f = f->next)
        if (!strcmp(f->name, name)) return f;
    struct function *f = calloc(1, sizeof *f);
    if (!f || !(f->name = strdup(name))) abort();
    f->next = functions;
    return functions = f;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    size_t length = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &total, length);
    if (symbols) {
        struct function *f = function(qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(block, 0)));
        qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &f->count, length);
    }
}

static void finished(qemu_plugin_id_t id, void *data) {
    FILE *out = path ? fopen(path, "w") : stderr;
    if (!out) {
        perror(path);
        return;
    }
    fprintf(out, "total %llu\n", (unsigned long long)total);
    for (size_t shown = 0; shown < symbols; shown++) {
        struct function *most = NULL;
        for (struct function *f = functions; f; f = f->next)
            if (f->count && (!most || f->count > most->count)) most = f;
        if (!most) break;
        fprintf(out, "symbol %llu %s\n", (unsigned long long)most->count, most->name);
        most->count = 0;
    }
    if (out != stderr) fclose(out);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4)) path = strdup(argv[i] + 4);
        if (!strncmp(argv[i], "symbols=", 8)) symbols = strtoul(argv[i] + 8, NULL, 10);
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
