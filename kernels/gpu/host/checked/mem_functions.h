#pragma once

// Included before everything else in instrumented files: copies of constant size are otherwise expanded where they
// stand and seen by nobody. The declarations repeat the C library's, with another name for the linker.

#include <stddef.h>

extern "C" {
void* memcpy(void* to, const void* from, size_t bytes) noexcept __asm__("striate_checked_memcpy");
void* memmove(void* to, const void* from, size_t bytes) noexcept __asm__("striate_checked_memmove");
void* memset(void* to, int value, size_t bytes) noexcept __asm__("striate_checked_memset");
}
