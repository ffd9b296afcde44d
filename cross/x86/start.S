// The last 64 KB below 4 GB, where an x86 processor begins: to 64 bits with all vector registers, then `load`.

    .section .start, "ax"
    // Addresses are themselves, by pages of 1 GB (present, writable, accessed, dirty, large), up to 4 GB.
level4:
    .quad level3 + 0x23
    .balign 4096
level3:
    .quad 0xe3, 0x400000e3, 0x800000e3, 0xc00000e3
    .balign 4096
segments:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
segments_pointer:
    .word 23
    .long segments

    .code16
begin:
    mov $level4, %eax
    mov %eax, %cr3
    mov $0x40620, %eax          // OSXSAVE, OSXMMEXCPT, OSFXSR, PAE
    mov %eax, %cr4
    mov $0xc0000080, %ecx       // EFER: LME, SCE
    mov $0x101, %eax
    xor %edx, %edx
    wrmsr
    lgdtl %cs:segments_pointer - level4
    mov $0x80000033, %eax       // PG, NE, ET, MP, PE
    mov %eax, %cr0
    ljmpl $8, $long

    .code64
long:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $0x400000, %esp
    mov $0xd, %eax              // of the register states that the processor has: x87, SSE, AVX, AVX-512
    xor %ecx, %ecx
    cpuid
    and $0xe7, %eax
    xor %ecx, %ecx
    xor %edx, %edx
    xsetbv
    mov $0xc0000081, %ecx       // STAR: system calls stay in these segments
    xor %eax, %eax
    mov $0x00080008, %edx
    wrmsr
    inc %ecx                    // LSTAR: where they go
    mov $call, %eax
    xor %edx, %edx
    wrmsr
    call load

    // Number in rax, arguments in rdi, rsi, rdx. To return to: rcx. All but rax, rcx and r11 is kept.
call:
    mov %rsp, 0x3ffff8
    mov $0x3ffff0, %esp
    push %rcx
    push %rdi
    push %rsi
    push %rdx
    push %r8
    push %r9
    push %r10
    sub $8, %rsp
    mov %rax, %rcx
    call system_call
    add $8, %rsp
    pop %r10
    pop %r9
    pop %r8
    pop %rdx
    pop %rsi
    pop %rdi
    pop %rcx
    mov 0x3ffff8, %rsp
    jmp *%rcx

    // The first instruction: a jump within the 64 KB.
    .section .reset, "ax"
    .byte 0xe9
    .word (begin - level4 - 0xfff3) & 0xffff

    .section .note.GNU-stack, "", @progbits
