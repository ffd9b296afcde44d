// What the emulated machine runs instead of an operating system: loads one static, position-independent Linux program
// into memory, and answers the few system calls that a test makes. It has no threads, no files but one of
// random bytes, and the time is the number of instructions. What the program writes goes to the emulator's port.
#include <stdint.h>

enum { READ, WRITE, OPEN, POLL = 7, MMAP = 9, MPROTECT, MUNMAP, BRK, SIGACTION, SIGPROCMASK, IOCTL = 16, WRITEV = 20,
       SCHED_YIELD = 24, MREMAP, MADVISE = 28, CLONE = 56, EXIT = 60, SIGALTSTACK = 131, ARCH_PRCTL = 158, FUTEX = 202,
       SET_TID_ADDRESS = 218, CLOCK_GETTIME = 228, EXIT_GROUP = 231, OPENAT = 257, GETRANDOM = 318 };
enum { ENOENT = 2, EBADF = 9, EAGAIN = 11, ENOMEM = 12, ENOTTY = 25, ENOSYS = 38 };

enum { RANDOM_FILE = 3 }; // the descriptor

typedef struct { uint8_t ident[16]; uint16_t type, machine; uint32_t version; uint64_t entry, segments, sections;
                 uint32_t flags; uint16_t size, segment_size, segment_count; } File;
typedef struct { uint32_t type, flags; uint64_t offset, address, physical, bytes, memory_bytes, align; } Segment;

// Memory, besides the program's file and the words of its command line, which the emulator loads.
static struct { uint64_t heap, maps, random; } *const state = (void *)0x200000;
static char *const words = (char *)0x1000000;
static const File *const file = (const File *)0x2000000;
static const uint64_t program = 0x10000000, stack = 0x18000000, heap = 0x18000000, maps = 0x20000000, end = 0x3c000000;

static void copy(uint64_t to, uint64_t from, uint64_t count) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
}
static void clear(uint64_t to, uint64_t count) {
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0) : "memory");
}
static void out(uint16_t port, const char *bytes, uint64_t count) {
    while (count--) __asm__ volatile("outb %0, %1" ::"a"(*bytes++), "d"(port));
}
static uint64_t instructions(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static int64_t map(uint64_t length) { // never given back
    uint64_t at = state->maps;
    length = (length + 4095) & ~4095ul;
    if (length > end - at) return -ENOMEM;
    clear(at, length);
    state->maps = at + length;
    return at;
}

static int64_t fill(uint8_t *bytes, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        state->random = state->random * 6364136223846793005 + 1442695040888963407; // Knuth's MMIX generator
        bytes[i] = state->random >> 56;
    }
    return count;
}

static int starts_with(const char *text, const char *with) {
    while (*with && *text == *with) text++, with++;
    return !*with;
}

static int64_t open(const char *path) {
    return starts_with(path, "/dev/random") || starts_with(path, "/dev/urandom") ? RANDOM_FILE : -ENOENT;
}

int64_t system_call(uint64_t a, uint64_t b, uint64_t c, uint64_t number) {
    switch (number) {
    case WRITE: out(0xe9, (const char *)b, c); return c;
    case WRITEV: {
        int64_t all = 0;
        for (const uint64_t *part = (const uint64_t *)b; c--; part += 2) {
            out(0xe9, (const char *)part[0], part[1]);
            all += part[1];
        }
        return all;
    }
    case MMAP: return map(b);
    case MREMAP: {
        int64_t to = map(c);
        if (to > 0) copy(to, a, b < c ? b : c);
        return to;
    }
    case BRK:
        if (a > state->heap && a < maps) clear(state->heap, a - state->heap), state->heap = a;
        return state->heap;
    case ARCH_PRCTL: // of all that it does only ARCH_SET_FS
        if (a != 0x1002) return -ENOSYS;
        __asm__ volatile("wrmsr" ::"c"(0xc0000100), "a"((uint32_t)b), "d"((uint32_t)(b >> 32)));
        return 0;
    case CLOCK_GETTIME:
        ((uint64_t *)b)[0] = instructions() / 1000000000;
        ((uint64_t *)b)[1] = instructions() % 1000000000;
        return 0;
    case READ: return a == RANDOM_FILE ? fill((uint8_t *)b, c) : -EBADF;
    case GETRANDOM: return fill((uint8_t *)a, b);
    case CLONE: return -EAGAIN; // Rust's test runner then does without threads
    case OPENAT: return open((const char *)b);
    case OPEN: return open((const char *)a);
    case IOCTL: return -ENOTTY;
    case SET_TID_ADDRESS: return 1;
    case EXIT: case EXIT_GROUP:
        out(0xe9, a ? "\nSTATUS 1\n" : "\nSTATUS 0\n", 10);
        out(0x8900, "Shutdown", 8);
        for (;;);
    case POLL: case MPROTECT: case MUNMAP: case SIGACTION: case SIGPROCMASK: case SCHED_YIELD: case MADVISE:
    case SIGALTSTACK: case FUTEX: return 0;
    default: return -ENOSYS;
    }
}

// Those of the command line's words, each ended by a zero, that have a '=' in them, or none; and a zero.
static uint64_t *push_words(uint64_t *top, int assigning) {
    for (const char *word = words; *word; word++) {
        const char *start = word;
        int assigns = 0;
        for (; *word; word++) assigns |= *word == '=';
        if (assigns == assigning) *top++ = (uint64_t)start;
    }
    *top++ = 0;
    return top;
}

// Loads the program and builds the stack that it starts with: its arguments, its environment, and what it must know of
// itself. Never returns.
void load(void) {
    state->heap = heap, state->maps = maps, state->random = instructions();
    const Segment *segments = (const Segment *)((uint64_t)file + file->segments);
    for (const Segment *at = segments; at < segments + file->segment_count; at++) {
        if (at->type != 1) continue;
        copy(program + at->address, (uint64_t)file + at->offset, at->bytes);
        clear(program + at->address + at->bytes, at->memory_bytes - at->bytes);
    }
    uint64_t *start = (uint64_t *)(stack - 0x10000), *top = push_words(start + 1, 0);
    *start = top - start - 2;
    top = push_words(top, 1);
    // AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_ENTRY, AT_RANDOM
    const uint64_t known[] = {3, program + file->segments, 4, sizeof *segments, 5, file->segment_count, 6, 4096,
                              9, program + file->entry, 25, (uint64_t)file, 0, 0};
    copy((uint64_t)top, (uint64_t)known, sizeof known);
    __asm__ volatile("mov %0, %%rsp; xor %%edx, %%edx; jmp *%1" ::"a"(start), "c"(program + file->entry) : "memory");
}
