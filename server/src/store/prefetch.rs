//! Telling the processor what will be read soon.
//!
//! A lookup among many keys is a chain of three or four cache misses: the slot's copy, its index, the entry. One after
//! the other they are most of what a command costs. A batch of commands says beforehand which keys it is about, and the
//! misses of all of them overlap.

/// Fetches the line at this address into the cache, some time.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the intrinsic takes a raw pointer")]
#[inline]
pub(super) fn prefetch(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch is a hint. It changes no memory and does not fault, whatever the address is.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

/// There is no stable intrinsic for other processors: they do without.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn prefetch(_: *const u8) {}

/// The size of a cache line on the processors that this is for.
pub(super) const LINE_BYTES: usize = 64;
