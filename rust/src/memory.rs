//! How this process holds memory, and is served by it.

/// Bytes of blocks that are taken from memory that is held, not asked of the system one by one.
const LARGEST: i32 = 32 << 20;
/// Bytes at the end of the memory that is held that may lie idle.
const IDLE: i32 = 64 << 20;

/// Holds memory that is free, up to a limit. Images of a megabyte come and go hundreds of times a second: to give the memory of each
/// back, and to be given other memory, which the system fills with zeros, takes longer than to copy the image.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn hold() {
    // SAFETY: these settings may be changed at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST);
        libc::mallopt(libc::M_TRIM_THRESHOLD, IDLE);
    }
}

/// Does nothing: other systems have other ways.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn hold() {
    let _ = (LARGEST, IDLE);
}

/// Bytes that the processor's caches hold together.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks the memory for bytes that are read soon.
#[cfg(target_arch = "x86_64")]
pub fn ask_for(bytes: &[u8]) {
    use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
    for line in bytes.chunks(LINE) {
        // SAFETY: every x86-64 processor has the instruction, and it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Does nothing: the processor finds out by itself what it reads next.
#[cfg(not(target_arch = "x86_64"))]
pub fn ask_for(_: &[u8]) {}
