# A whole guest in one sector, for tests that need hundreds of them: up in 0.3 s.
#
# It writes increasing numbers through the BIOS, for ever. Number n goes to disk n mod DISKS, there
# into slot (n / DISKS) mod 256; a slot is 4 KiB full of the number, and slot 0 starts at LBA 64.
# After the write has completed the number is sent to port 0xe9, four bytes, low byte first. So:
# every number that arrived there is in the image, and no slot may hold an older one.
#
# Counting starts at 1, or after the number that -device loader put at 0x604 behind the mark at
# 0x600: a guest that is started again goes on where the image ends.

    .code16
    .set DISK_COUNT, 0x475          # kept by the BIOS
    .set MARK, 0x600
    .set COUNTER, 0x604
    .set BUFFER, 0x8000
    .set SLOT_SECTORS, 8
    .set FIRST_LBA, 64

    .globl _start
_start:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7000, %sp
    sti
    ljmp $0, $begin
begin:
    cmpl $0x4e594e54, MARK          # "TNYN"
    je next
    movl $0, COUNTER

next:
    incl COUNTER
    movl COUNTER, %eax
    movw $BUFFER, %di
    movw $(SLOT_SECTORS * 512 / 4), %cx
    rep stosl

    xorl %edx, %edx
    movzbl DISK_COUNT, %ecx
    divl %ecx                       # %edx: the disk, %al: the slot
    movzbl %al, %eax
    imull $SLOT_SECTORS, %eax, %eax
    addl $FIRST_LBA, %eax
    movl %eax, packet_lba
    addb $0x80, %dl
    movw $SLOT_SECTORS, packet_sectors
    movw $packet, %si
    movw $0x4300, %ax               # extended write
    int $0x13
    jc failed

    movl COUNTER, %eax
    movw $4, %cx
acknowledge:
    outb %al, $0xe9
    shrl $8, %eax
    loop acknowledge
    jmp next

failed:
    hlt
    jmp failed

packet:
    .byte 16, 0
packet_sectors:
    .word SLOT_SECTORS
    .word BUFFER, 0
packet_lba:
    .long 0, 0

    .org 510
    .word 0xaa55
