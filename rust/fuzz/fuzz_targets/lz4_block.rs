//! Any bytes as an LZ4 block: all the unsafe code of the core is in that decoder, so it has a fast target of its own.
//!
//! The first two bytes are the size that is asked for.

#![no_main]

use libfuzzer_sys::fuzz_target;

use _core::lz4::{decode, SLACK};
use _core::planes::Cpu;

fuzz_target!(|input: &[u8]| {
    let Some((size, packed)) = input.split_first_chunk::<2>() else { return };
    let size = usize::from(u16::from_le_bytes(*size)) % 9000;
    let theirs = lz4_flex::block::decompress(packed, size).ok().filter(|plain| plain.len() == size);
    let mut source = Vec::with_capacity(packed.len() + SLACK);
    source.extend_from_slice(packed);
    source.resize(packed.len() + SLACK, 0xEE);
    for cpu in Cpu::variants() {
        // Not a byte larger than the decoder may ask for: one more is an error of the sanitizer.
        let mut out = vec![0x55; size + SLACK].into_boxed_slice();
        let zeros = decode(cpu, &source, (0, packed.len()), &mut out, size);
        assert!(zeros.clone().map_or(true, |zeros| out[..size][zeros].iter().all(|&byte| byte == 0)));
        let ours = zeros.ok().map(|_| &out[..size]);
        assert!(ours == theirs.as_deref(), "{cpu:?}");
    }
});
